"""All checks in several processes, each of which does some of the work."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from functools import partial
from typing import NamedTuple

from numba_kernels.selfcheck import forms, golden_data, norms, product, sizes, special, threads_check
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.machine_code import compiling
from numba_kernels.selfcheck.machine_code import cpu as machine_code
from numba_kernels.selfcheck.result import Result

Part = Callable[[], Result]
Parts = list[tuple[str, Part]]
Advance = Callable[[int, int], None]
"""Is told how many parts are done, and how many there are."""

CHECKS = {
    sizes.NAME: sizes.check,
    forms.NAME: forms.check,
    special.NAME: special.check,
    threads_check.NAME: threads_check.check,
    norms.NAME: norms.check,
    machine_code.NAME: machine_code.check,
    golden_data.NAME: golden_data.check,
}


class Findings(NamedTuple):
    """What all checks found.

    Attributes
    ----------
    results : list of Result
        In the order of the table.
    not_run : list of str
        What could not be run, and why.
    """

    results: list[Result]
    not_run: list[str]


def run(extent: Extent, advance: Advance = lambda done, parts: None) -> Findings:
    """Compile all kernels of an extent, then check them.

    Parameters
    ----------
    extent : Extent
        With more than one process, each takes parts of the work; one that dies stops all others.
    advance : callable, optional
        Is told how far it is.
    """
    findings = Findings([], [])
    if extent.processes == 1:
        _compile(extent, findings, None, advance)
        _check(extent, findings, None, advance)
        return findings
    try:
        # A process that is forked while threads run may hang.
        with ProcessPoolExecutor(extent.processes, multiprocessing.get_context("spawn")) as pool:
            _compile(extent, findings, pool, advance)
            _check(extent, findings, pool, advance)
    except BrokenExecutor as failure:
        findings.not_run.append(f"what was left: {failure}")
    return findings


def _compile(extent: Extent, findings: Findings, pool: Executor | None, advance: Advance) -> None:
    # For chosen cases few kernels are needed; what nobody else can read, nobody else need compile.
    if extent.pattern is not None or (pool is not None and not compiling.is_kept()):
        return
    shares = compiling.shares(list(compiling.kernels_of(extent)), 8 * extent.processes)
    parts: Parts = [(compiling.NAME, partial(compiling.compile_all, share)) for share in shares]
    run_parts(parts, findings, pool, advance)


def _check(extent: Extent, findings: Findings, pool: Executor | None, advance: Advance) -> None:
    parts: Parts = [(name, partial(check, extent)) for name, check in CHECKS.items()]
    parts += [(product.NAME, partial(product.check_share, share, extent)) for share in product.shares(extent)]
    run_parts(parts, findings, pool, advance)
    if extent.pattern is None and not findings.not_run:
        empty = [result.name for result in findings.results if not result.cases and not result.skipped]
        findings.not_run.extend(f"{name}: it had no cases" for name in empty)


def run_parts(parts: Parts, findings: Findings, pool: Executor | None, advance: Advance) -> None:
    """Add the results of all parts to what was found, one for each name.

    Parameters
    ----------
    parts : list of tuple
        The name of a check, and what runs a part of it.
    findings : Findings
        A part that fails is among what was not run.
    pool : Executor or None
        Runs the parts; this process does, in their order, if None.
    advance : callable
        Is told how far it is.
    """
    by_name = {name: Result(name) for name, _ in parts}
    for number, (name, answer) in enumerate(_answers(parts, pool), start=1):
        try:
            by_name[name].include(answer())
        # A check may fail in any way; the others are still worth their while.
        except Exception as failure:  # noqa: BLE001
            findings.not_run.append(f"{name}: {type(failure).__name__}: {failure}")
        advance(number, len(parts))
    findings.results.extend(by_name.values())


def _answers(parts: Parts, pool: Executor | None) -> Iterable[tuple[str, Part]]:
    if pool is None:
        return parts
    submitted: dict[Future[Result], str] = {pool.submit(part): name for name, part in parts}
    return ((submitted[future], future.result) for future in as_completed(submitted))
