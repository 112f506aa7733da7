"""The work of ``sgd-ref bench --device cuda``: measure, show the page, and write it if requested."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from numba_kernels.benchmarks import measurements
from numba_kernels.benchmarks.contest import contest
from numba_kernels.benchmarks.device import machine, page, suite
from numba_kernels.benchmarks.device.workers import DeviceTurns, DeviceWorkers
from numba_kernels.benchmarks.measurements import Measurements
from numba_kernels.benchmarks.suite import Suite
from numba_kernels.selfcheck.device.availability import is_simulated, why_no_device
from sgd_ref.conformance.grading.progress import progress_bar

PAGES = Path(__file__).parents[1] / "results"
PAGE, RAW = "benchmarks_cuda.md", "benchmarks_cuda.json"

ONE_THREAD = (1,)


def why_not() -> str | None:
    """Return the reason why nothing can be timed on this machine, or None if steps can be timed."""
    reason = why_no_device()
    if reason is None and is_simulated():
        return "there is no CUDA device, and the time that the simulator takes says nothing"
    return reason


def run(chosen: Suite, folder: Path | None, console: Console) -> str:
    """Measure a suite and return the page.

    Parameters
    ----------
    chosen : Suite
        The suite to measure.
    folder : Path or None
        The folder for the page and the raw samples, which are written again after each workload; None writes
        nothing.
    console : Console
        The console, which shows the progress if it is a terminal.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    found = Measurements(machine.description())
    with DeviceWorkers() as workers, progress_bar(console) as bar:
        task = bar.add_task("", total=len(chosen.races))
        for race in chosen.races:
            bar.update(task, description=f"{race.section}, {race.workload}")
            turns = DeviceTurns(workers, "calls" if race.section == suite.CALLS else "steps")
            result = contest(turns, race.workload, race.peers, chosen.rounds, chosen.seconds, ONE_THREAD)
            found.races.append((race, result))
            # Results are written early, since time on a rented device may end before the run does.
            _write(found, folder)
            bar.advance(task)
    return page.render(found)


def _write(found: Measurements, folder: Path | None) -> None:
    if folder is not None:
        (folder / RAW).write_text(measurements.to_json(found), encoding="utf-8")
        (folder / PAGE).write_text(page.render(found), encoding="utf-8")
