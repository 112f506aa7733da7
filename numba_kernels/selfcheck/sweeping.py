"""The checks of the kernels for CPUs as a sweep: in small units, by a cluster or a pool of processes."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from numba_kernels import machine
from numba_kernels.cpu.target import target
from numba_kernels.selfcheck import (
    golden_data,
    gradient_forms,
    norms,
    page,
    product,
    sizes,
    special,
    threads_check,
)
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.machine_code import compiling
from numba_kernels.selfcheck.machine_code import cpu as machine_code
from numba_kernels.selfcheck.result import Result
from numba_kernels.selfcheck.runner import (
    CHECKS,
    COMPARING,
    COMPILING,
    Advance,
    Outcome,
    Part,
    checks_without_cases,
)
from sgd_ref.conformance.grading.sweep.running import Sweep
from sgd_ref.conformance.grading.sweep.unit import Engine, Interrupted, Json, Unit, done
from sgd_ref.conformance.grading.sweep.unit import Outcome as Finished

SHARES = {
    sizes.NAME: 48,
    gradient_forms.NAME: 8,
    special.NAME: 8,
    threads_check.NAME: 8,
    norms.NAME: 16,
    machine_code.NAME: 8,
    golden_data.NAME: 1,
}
"""The number of units of each check, so that each takes some seconds; another check is one unit."""

KERNELS, COMBINATIONS = 32, 50
"""The number of units that compile, and the number of combinations in a unit."""


def run(extent: Extent, sweep: Sweep, advance: Advance = lambda doing, done, parts: None) -> Outcome:
    """Compile all kernels of an extent, then check them, with the results of `runner.run`.

    Parameters
    ----------
    extent : Extent
        The extent. Its number of processes does not matter.
    sweep : Sweep
        The journal, and the engine that does the units.
    advance : callable, optional
        Called with the progress.

    Raises
    ------
    Refused, Interrupted
        If a worker has other software, or the sweep cannot go on.
    """
    compiled, checked = units_to_compile(extent), units_to_check(extent)
    every = [*compiled, *checked]
    for doing, units, before in ((COMPILING, compiled, 0), (COMPARING, checked, len(compiled))):
        # Kernels are compiled first: otherwise several units would compile the same kernel.
        sweep.run(units, lambda done, doing=doing, before=before: advance(doing, before + done, len(every)))  # type: ignore[misc]
    by_name = {_name_of(unit): Result(_name_of(unit)) for unit in every}
    for unit, result in sweep.results(every):
        by_name[_name_of(unit)].include(from_json(result))
    outcome = Outcome(list(by_name.values()), [f"{failed.unit}: {failed.reason}" for failed in sweep.failed])
    outcome.not_run.extend(checks_without_cases(extent, outcome))
    return outcome


def asked(extent: Extent) -> dict[str, str]:
    """Return everything in an extent that decides the results, by name, for the journal.

    >>> asked(Extent("full"))["tier"]
    'full'
    """
    return {
        "command": "check",
        "tier": extent.tier,
        "seed": str(extent.seed),
        "-k": "" if extent.pattern is None else extent.pattern.pattern,
        "units": f"{KERNELS} {COMBINATIONS} {' '.join(map(str, SHARES.values()))}",
    }


def units_to_compile(extent: Extent) -> list[Unit]:
    """Return the units that compile kernels; chosen cases need few of them, which they compile themselves."""
    if extent.pattern is not None:
        return []
    shares = compiling.shares(list(compiling.kernels_of(extent)), KERNELS)
    return [_unit(compiling.NAME, i, partial(compiling.compile_all, share)) for i, share in enumerate(shares)]


def units_to_check(extent: Extent) -> list[Unit]:
    """Return the units that compare bits."""
    return [
        _unit(name, position, partial(check, replace(extent, processes=1, share=(position, shares))))
        for name, check in CHECKS.items()
        for shares in [SHARES.get(name, 1)]
        for position in range(shares)
    ] + [
        _unit(product.NAME, position, partial(product.check_share, share, replace(extent, processes=1)))
        for position, share in enumerate(product.shares(extent, COMBINATIONS))
    ]


def pool(processes: int) -> Engine:
    """Return an engine that does units in processes of this machine, without a cluster.

    Parameters
    ----------
    processes : int
        How many processes work at once.
    """

    def engine(units: Sequence[Unit]) -> Iterator[Finished]:
        try:
            # A process that is forked while other threads run may hang.
            with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as executor:
                for future in as_completed([executor.submit(done, unit, "a process") for unit in units]):
                    yield future.result()
        except BrokenExecutor as failure:
            raise Interrupted(str(failure)) from failure

    return engine


def to_json(result: Result) -> Json:
    """Return a result as an object of JSON."""
    return asdict(result)


def from_json(document: Mapping[str, Any]) -> Result:
    """Return the result that `to_json` was given.

    >>> from_json(to_json(Result("sizes", cases=3))).cases
    3
    """
    return Result(**{**document, "reasons": Counter(document["reasons"])})


def _unit(name: str, position: int, part: Part) -> Unit:
    return Unit(f"{name}/{position:05}", partial(_worked, part))


def _worked(part: Callable[[], Result]) -> Json:
    """Do a part, and say of what differs on which processor it does."""
    result = part()
    features = " ".join(name for name in page.VECTORS if name in target().present())
    where = f"\n  on {machine.description()['processor']} ({features})"
    result.differences = [f"{difference}{where}" for difference in result.differences]
    return to_json(result)


def _name_of(unit: Unit) -> str:
    return unit.id.rpartition("/")[0]
