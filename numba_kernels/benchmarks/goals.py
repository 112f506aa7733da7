"""The goals of the kernels, each with the number that was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from numba_kernels.benchmarks.measurements import Measurements, measured, median
from numba_kernels.benchmarks.peers import KERNELS, ROOFS
from numba_kernels.benchmarks.suite import MANY, NORM_SIZES, OWN_ROOF, TORCH
from numba_kernels.benchmarks.workload import NORM, Workload, dtype_of

OF_ITS_SIZE = "a roof of its size"

OF_THE_MODEL = 0.01
"""The largest share of the model's bytes that a step may allocate."""


@dataclass(frozen=True)
class Goal:
    """One goal.

    Attributes
    ----------
    words : str
        The goal in words.
    bound : float
        The number to be reached.
    value : float or None
        The number that was measured; None if nothing was measured.
    at_most : bool
        Whether the bound is an upper limit of the number; otherwise, it is a lower limit.
    """

    words: str
    bound: float
    value: float | None
    at_most: bool = False

    @property
    def status(self) -> str:
        """Whether the goal is reached.

        >>> Goal("twice as fast", 2.0, 1.9).status, Goal("under a second", 1.0, 0.9, at_most=True).status
        ('missed', 'reached')
        """
        if self.value is None:
            return "not measured"
        is_reached = self.value <= self.bound if self.at_most else self.value >= self.bound
        return "reached" if is_reached else "missed"


def goals(found: Measurements) -> list[Goal]:
    """Return all goals, each with the number that a run measured."""
    return [*_speed(found), *_norms(found), *_memory(found), *_start(found)]


def _speed(found: Measurements) -> Iterator[Goal]:
    single, resnet = "one of 32 M", "ResNet-50"
    for model, settings, dtype, peers, name, bound in (
        (single, "momentum", "float32", ROOFS, "the roof", 0.95),
        (single, "momentum", "float32", ("torch fused",), "PyTorch fused", 0.97),
        (resnet, "momentum", "float32", TORCH, "the faster one of PyTorch", 1.0),
        (resnet, "everything", "float32", TORCH, "the faster one of PyTorch", 1.6),
        (resnet, "everything", "float32", ROOFS, "the roof", 0.95),
        ("200 of 1,000", "momentum", "float32", OWN_ROOF, OF_ITS_SIZE, 0.9),
        (MANY, "momentum", "float32", OWN_ROOF, OF_ITS_SIZE, 0.9),
        ("1 x 262144", "momentum", "float32", OWN_ROOF, OF_ITS_SIZE, 0.9),
        ("1 x 2097152", "momentum", "float32", OWN_ROOF, OF_ITS_SIZE, 0.9),
        (single, "momentum", "bfloat16", ROOFS, "the roof", 0.85),
        (resnet, "everything", "bfloat16", ROOFS, "the roof", 0.85),
    ):
        workload = Workload(model, settings, dtype)
        yield Goal(f"{workload}: speed over that of {name}", bound, found.times_as_long(workload, peers))


def _norms(found: Measurements) -> Iterator[Goal]:
    for dtype in ("float32", "float64"):
        for size in NORM_SIZES:
            workload = Workload(f"1 x {size}", NORM, dtype)
            words = f"the norm of {size:,} {dtype}: speed over that of numpy.dot(g, g)"
            yield Goal(words, 0.9, found.times_as_long(workload, ("numpy",)))


def _memory(found: Measurements) -> Iterator[Goal]:
    for workload, result in found.section("steps"):
        measurement = measured(result, KERNELS)
        size = workload.elements * dtype_of(workload.dtype).itemsize
        # The interpreter may allocate some memory pages in any step.
        if size < 2**24:
            continue
        share = None if measurement is None or measurement.growth is None else measurement.growth / size
        yield Goal(
            f"{workload}: memory allocated in a step over that of the model", OF_THE_MODEL, share, True
        )


def _start(found: Measurements) -> Iterator[Goal]:
    warm = median(found.first_steps.get(KERNELS, {}).get("warm"))
    yield Goal("seconds to the first step of ResNet-50 with a filled cache", 1.5, warm, at_most=True)
