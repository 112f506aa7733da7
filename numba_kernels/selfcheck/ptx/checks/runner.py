"""All checks of executed PTX, in parts that a pool of processes runs, and the coverage of each kernel."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.processes import processes
from numba_kernels.selfcheck.ptx import session
from numba_kernels.selfcheck.ptx.checks import alone, cases, coverage
from numba_kernels.selfcheck.ptx.checks.coverage import Covered
from numba_kernels.selfcheck.ptx.checks.reasons import reason_for
from numba_kernels.selfcheck.ptx.checks.working import run_cases
from numba_kernels.selfcheck.runner import COMPARING, Advance, Outcome, Part, run_parts

CASES_OF_PART = 24

SHOWN = 0.95
"""Kernels with a smaller executed share than this are listed."""


def run(
    extent: Extent, advance: Advance = lambda doing, done, parts: None, dump: Path | None = None
) -> Outcome:
    """Check the kernels of an extent by executing their PTX.

    Parameters
    ----------
    extent : Extent
        The extent.
    advance : callable, optional
        Called with the progress.
    dump : Path, optional
        The folder that all launches are written into; see ``dumping.py``.
    """
    outcome = Outcome([], [])
    reason = session.why_not()
    if reason is not None:
        outcome.not_run.append(reason)
        return outcome
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = list(_parts(extent, folder, dump))
        finished = partial(_tell, advance, len(parts))
        # A pool of its own, since a process that has begun a session cannot end it.
        with processes(extent.processes, outcome.not_run) as pool:
            run_parts(parts, outcome, pool, finished)
        covered = coverage.read(folder)
    return outcome._replace(notes=tuple(_lines(covered, every=extent.tier != QUICK)))


def _tell(advance: Advance, parts: int, done: int) -> None:
    advance(COMPARING, done, parts)


def _parts(extent: Extent, folder: Path, dump: Path | None) -> Iterator[tuple[str, Part]]:
    for group in cases.groups(extent):
        for start in range(0, len(group.cases), CASES_OF_PART):
            some = group.cases[start : start + CASES_OF_PART]
            yield group.name, partial(run_cases, group.name, some, group.way, extent, folder, dump)
    chosen = [identifier for identifier in alone.identifiers() if extent.wants(identifier)]
    if extent.tier == QUICK and extent.pattern is None:
        chosen = random.Random(extent.seed).sample(chosen, len(chosen) // cases.SHARE_OF_QUICK)
    for start in range(0, len(chosen), CASES_OF_PART):
        some_alone = chosen[start : start + CASES_OF_PART]
        yield alone.NAME, partial(alone.run_alone, some_alone, extent, folder, dump)


def _lines(covered: list[Covered], every: bool) -> Iterator[str]:
    """Yield the table of coverage, of all kernels or of those with an executed share below `SHOWN`."""
    executed = sum(kernel.executed for kernel in covered)
    instructions = sum(kernel.instructions for kernel in covered)
    if not instructions:
        return
    yield (
        f"coverage: {executed} of {instructions} instructions of {len(covered)} kernels "
        f"({executed / instructions:.1%}) were executed"
    )
    for kernel in sorted(covered, key=lambda kernel: kernel.share):
        if every or kernel.share < SHOWN:
            missed = ", ".join(str(line.line) for line in kernel.missed[:8])
            more = f"; not executed: {len(kernel.missed)}, lines {missed}" if kernel.missed else ""
            # Only all cases together leave out what has a reason.
            why = f" ({reason_for(kernel.kernel)})" if every and kernel.missed else ""
            yield f"  {kernel.share:>6.1%} of {kernel.instructions:>5} {kernel.kernel}{more}{why}"
