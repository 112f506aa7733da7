"""What ``sgd-ref bench --device cuda`` does: measure, show the page, and write it if that is asked for."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from numba_kernels.benchmarks import measurements
from numba_kernels.benchmarks.contest import contest
from numba_kernels.benchmarks.device import machine, page, plans
from numba_kernels.benchmarks.device.workers import DeviceTurns, DeviceWorkers
from numba_kernels.benchmarks.measurements import Measurements
from numba_kernels.benchmarks.plans import Plan
from numba_kernels.selfcheck.device.why_not import is_simulated, why_no_device
from sgd_ref.conformance.grading.progress import progress_bar

PAGES = Path(__file__).parents[1] / "results"
PAGE, RAW = "benchmarks_cuda.md", "benchmarks_cuda.json"

ONE_THREAD = (1,)


def why_not() -> str | None:
    """Return why nothing can be timed here; None if it can."""
    reason = why_no_device()
    if reason is None and is_simulated():
        return "there is no CUDA device, and the time that the simulator takes says nothing"
    return reason


def plan(is_quick: bool, pattern: re.Pattern[str] | None) -> Plan:
    """Return what to measure.

    Parameters
    ----------
    is_quick : bool
        Some minutes' worth, instead of all.
    pattern : pattern or None
        Only workloads whose name it matches somewhere.

    Raises
    ------
    ValueError
        If it matches none.
    """
    chosen = plans.quick() if is_quick else plans.full()
    races = [race for race in chosen.races if pattern is None or pattern.search(str(race.workload))]
    if pattern is not None and not races:
        raise ValueError(f"-k must match the name of a workload, got {pattern.pattern!r}")
    return replace(chosen, races=races)


def run(chosen: Plan, folder: Path | None, console: Console) -> str:
    """Measure everything of a plan and return the page.

    Parameters
    ----------
    chosen : Plan
        What to measure.
    folder : Path or None
        Where to write the page and the raw samples, after each workload anew; nowhere if None.
    console : Console
        Shows the progress, on a terminal.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    if folder is not None:
        folder.mkdir(exist_ok=True)
    found = Measurements(machine.description())
    with DeviceWorkers() as workers, progress_bar(console) as bar:
        task = bar.add_task("", total=len(chosen.races))
        for race in chosen.races:
            bar.update(task, description=f"{race.section}, {race.workload}")
            turns = DeviceTurns(workers, "calls" if race.section == plans.CALLS else "steps")
            result = contest(turns, race.workload, race.peers, chosen.rounds, chosen.seconds, ONE_THREAD)
            found.races.append((race, result))
            # Half an hour on a borrowed card may end before its time.
            _write(found, folder)
            bar.advance(task)
    return page.render(found)


def _write(found: Measurements, folder: Path | None) -> None:
    if folder is not None:
        (folder / RAW).write_text(measurements.to_json(found), encoding="utf-8")
        (folder / PAGE).write_text(page.render(found), encoding="utf-8")
