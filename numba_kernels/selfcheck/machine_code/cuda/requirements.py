"""The requirements on the machine code of the kernels: one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from numba_kernels.selfcheck.machine_code.cuda.building import Code
from numba_kernels.selfcheck.machine_code.cuda.kinds import Kind, kind_of

REGISTERS = 65536
"""The number of registers of a multiprocessor, on all devices from compute capability 7.0 on."""

BYTES_IN_FLIGHT = 32 * 1024
"""The bytes that a multiprocessor must have requested at any time to use the whole bandwidth of the memory.

This is bandwidth times latency. An H200 moves 4.8 TB/s to 132 multiprocessors, 36 bytes per nanosecond to
each; a load is assumed to take 0.9 microseconds while the memory is busy. Slower memory needs less.
"""

PACKET_BYTES = 16

MOST_REGISTERS = 128
"""The largest number of registers of a thread that leaves room for 512 threads, two blocks of 256, so that
one block computes while the other waits."""


def registers_for_full_bandwidth(kind: Kind) -> int:
    """Return how many registers a thread may have, so that enough threads fit into a multiprocessor.

    Each thread waits for one packet of each array that it reads.

    >>> registers_for_full_bandwidth(kind_of("update_float32_momentum_plain"))
    96
    """
    return min(REGISTERS * PACKET_BYTES * kind.reads // BYTES_IN_FLIGHT, MOST_REGISTERS)


class Requirement(NamedTuple):
    """A bound on one measure.

    Attributes
    ----------
    measure : str
        One of ``Code.measures``.
    holds_for : callable
        Whether it is required of a kernel.
    why : str
        The fault that a broken bound would mean.
    least, most : callable
        The bounds.
    """

    measure: str
    holds_for: Callable[[Kind], bool]
    why: str
    least: Callable[[Kind], int] = lambda kind: 0
    most: Callable[[Kind], float] = lambda kind: float("inf")


def _none(kind: Kind) -> int:
    return 0


def _any(kind: Kind) -> bool:
    return True


def _plain(kind: Kind) -> bool:
    return kind.rounds_plainly


def _narrow(kind: Kind) -> bool:
    return not kind.has_float64


def _elementwise(kind: Kind) -> bool:
    return kind.is_elementwise


FUSED = "a product and a sum are rounded once, where the rule rounds twice"

REQUIREMENTS = (
    Requirement("FFMA", _plain, FUSED, most=_none),
    Requirement("DFMA", _plain, FUSED, most=_none),
    Requirement("float64", _narrow, "float64 is slow, and rounds where the rule does not", most=_none),
    Requirement("FTZ", _plain, "subnormal numbers are flushed to zero", most=_none),
    Requirement("half", _any, "the half types are computed in float32, then rounded", most=_none),
    Requirement(
        "LDG.128", _elementwise, "an array is not read 16 bytes at a time", least=lambda kind: kind.reads
    ),
    Requirement(
        "STG.128", _elementwise, "an array is not written 16 bytes at a time", least=lambda kind: kind.writes
    ),
    Requirement(
        "registers",
        _elementwise,
        "too few threads have room on a multiprocessor for the whole bandwidth",
        most=registers_for_full_bandwidth,
    ),
    Requirement("stack", _any, "numbers are kept in memory instead of registers", most=_none),
    Requirement("local", _any, "numbers are kept in memory instead of registers", most=_none),
    Requirement("LDL", _any, "numbers are read back from where registers were spilled", most=_none),
    Requirement("STL", _any, "registers are spilled", most=_none),
    Requirement("generic", _any, "a load or store finds out while it runs which memory it is of", most=_none),
)


def broken(code: Code) -> Iterator[str]:
    """Yield the requirements that the machine code of a kernel breaks, with their reasons."""
    kind = kind_of(code.kernel)
    for requirement in REQUIREMENTS:
        if not requirement.holds_for(kind):
            continue
        least, most = requirement.least(kind), requirement.most(kind)
        found = code.measures[requirement.measure]
        if not least <= found <= most:
            bound = f"at least {least}" if found < least else f"at most {most}"
            yield f"{requirement.measure} must be {bound}, got {found}: {requirement.why}"
