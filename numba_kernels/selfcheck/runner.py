"""All checks of the kernels for CPUs, in parts that a pool of processes runs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, as_completed
from functools import partial
from typing import NamedTuple

from numba_kernels.selfcheck import golden_data, gradient_forms, norms, product, sizes, special, threads_check
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.machine_code import compiling
from numba_kernels.selfcheck.machine_code import cpu as machine_code
from numba_kernels.selfcheck.processes import processes
from numba_kernels.selfcheck.result import Result
from sgd_ref.conformance.grading.sweep.interrupts import ignoring_interrupts

Part = Callable[[], Result]
Parts = list[tuple[str, Part]]
Advance = Callable[[str, int, int], None]
"""A function of the name of the present part, the number of finished parts, and the number of all parts."""

COMPILING, COMPARING = "compiling kernels", "comparing bits"

CHECKS = {
    sizes.NAME: sizes.check,
    gradient_forms.NAME: gradient_forms.check,
    special.NAME: special.check,
    threads_check.NAME: threads_check.check,
    norms.NAME: norms.check,
    machine_code.NAME: machine_code.check,
    golden_data.NAME: golden_data.check,
}


class Outcome(NamedTuple):
    """The outcome of all checks.

    Attributes
    ----------
    results : list of Result
        The results in the order of the table.
    not_run : list of str
        The checks that could not be run, with the reasons.
    notes : tuple of str
        Lines to print after the table.
    """

    results: list[Result]
    not_run: list[str]
    notes: tuple[str, ...] = ()


def run(extent: Extent, advance: Advance = lambda doing, done, parts: None) -> Outcome:
    """Compile all kernels of an extent, then check them.

    Parameters
    ----------
    extent : Extent
        The extent; if it has several processes, each takes parts of the work. A process that dies ends the
        run.
    advance : callable, optional
        Called with the progress.
    """
    outcome = Outcome([], [])
    if extent.processes == 1:
        _run_all(extent, outcome, None, advance)
        return outcome
    with processes(extent.processes, outcome.not_run) as pool:
        try:
            _run_all(extent, outcome, pool, advance)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    return outcome


def _run_all(extent: Extent, outcome: Outcome, pool: Executor | None, advance: Advance) -> None:
    compiled, checked = _parts_to_compile(extent, pool is not None), _parts_to_check(extent)
    total = len(compiled) + len(checked)
    # Kernels are compiled first: otherwise several checks would compile the same kernel.
    for doing, parts, before in ((COMPILING, compiled, 0), (COMPARING, checked, len(compiled))):
        run_parts(parts, outcome, pool, _counted_on(advance, doing, before, total))
    outcome.not_run.extend(checks_without_cases(extent, outcome))


def checks_without_cases(extent: Extent, outcome: Outcome) -> list[str]:
    """Return the checks of an outcome that had no cases, in words, unless only some cases were chosen."""
    if extent.pattern is not None or outcome.not_run:
        return []
    empty = [result.name for result in outcome.results if not result.cases and not result.skipped]
    return [f"{name}: it had no cases" for name in empty]


def _counted_on(advance: Advance, doing: str, before: int, total: int) -> Callable[[int], None]:
    return lambda done: advance(doing, before + done, total)


def _parts_to_compile(extent: Extent, has_pool: bool) -> Parts:
    # Chosen cases need few kernels. Without a cache on disk, no process can use the kernels that another one
    # compiled.
    if extent.pattern is not None or (has_pool and not compiling.is_kept()):
        return []
    shares = compiling.shares(list(compiling.kernels_of(extent)), 8 * extent.processes)
    return [(compiling.NAME, partial(compiling.compile_all, share)) for share in shares]


def _parts_to_check(extent: Extent) -> Parts:
    parts: Parts = [(name, partial(check, extent)) for name, check in CHECKS.items()]
    return parts + [
        (product.NAME, partial(product.check_share, share, extent)) for share in product.shares(extent)
    ]


def run_parts(parts: Parts, outcome: Outcome, pool: Executor | None, advance: Callable[[int], None]) -> None:
    """Add the results of all parts to the outcome, one result for each name.

    Parameters
    ----------
    parts : list of tuple
        The name of a check, and the function that runs a part of it.
    outcome : Outcome
        The outcome, which is changed: a part that fails is added to `not_run`.
    pool : Executor or None
        Runs the parts; if None, this process runs them in order.
    advance : callable
        Called with the number of finished parts, 0 at first.
    """
    by_name = {name: Result(name) for name, _ in parts}
    for name, answer in _answers(parts, pool, advance):
        try:
            by_name[name].include(answer())
        # A check may fail in any way; the other checks still go on.
        except Exception as failure:  # noqa: BLE001
            outcome.not_run.append(f"{name}: {type(failure).__name__}: {failure}")
    outcome.results.extend(by_name.values())


def _answers(
    parts: Parts, pool: Executor | None, advance: Callable[[int], None]
) -> Iterator[tuple[str, Part]]:
    """Yield the parts with their answers in the order of the parts, whichever of them ends first."""
    advance(0)
    if pool is None:
        for number, part in enumerate(parts, start=1):
            yield part
            advance(number)
        return
    with ignoring_interrupts():
        submitted: list[Future[Result]] = [pool.submit(part) for _, part in parts]
    for number, _ in enumerate(as_completed(submitted), start=1):
        advance(number)
    for (name, _), future in zip(parts, submitted, strict=True):
        yield name, future.result
