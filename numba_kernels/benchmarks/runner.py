"""The work of ``sgd-ref bench``: measure, show the page, and write it if requested."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from numba_kernels import machine
from numba_kernels.benchmarks import history, measurements, page, plots
from numba_kernels.benchmarks.contest import Workers, contest
from numba_kernels.benchmarks.first_steps import PROGRAMS, first_steps
from numba_kernels.benchmarks.measurements import Measurements
from numba_kernels.benchmarks.repository import commit_here
from numba_kernels.benchmarks.suite import Suite
from sgd_ref.conformance.grading.progress import progress_bar

PAGES = Path(__file__).with_name("results")
PAGE, RAW = "benchmarks.md", "benchmarks.json"


def run(chosen: Suite, folder: Path | None, console: Console) -> str:
    """Measure a suite and return the page.

    Parameters
    ----------
    chosen : Suite
        The suite to measure.
    folder : Path or None
        The folder for the page, the raw samples, the plots and the history; None writes nothing. Only a whole
        benchmark is remembered.
    console : Console
        The console, which shows the progress if it is a terminal.

    Raises
    ------
    OSError, ValueError
        If the folder cannot be written, or has another history; nothing was timed then.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        history.remembered(folder)
    found = _measure(chosen, console)
    if folder is None:
        return page.render(found)
    (folder / RAW).write_text(measurements.to_json(found), encoding="utf-8")
    runs = history.remember(folder, history.run_of(found, commit_here())) if chosen.is_whole else []
    text = page.render(found, plots.draw(found, folder, runs), runs)
    (folder / PAGE).write_text(text, encoding="utf-8")
    return text


def _measure(chosen: Suite, console: Console) -> Measurements:
    found = Measurements(machine.description())
    with Workers() as workers, progress_bar(console) as bar:
        task = bar.add_task("", total=len(chosen.races) + (len(PROGRAMS) if chosen.first_steps else 0))
        for race in chosen.races:
            bar.update(task, description=str(race.workload))
            result = contest(workers, race.workload, race.peers, chosen.rounds, chosen.seconds)
            found.races.append((race, result))
            bar.advance(task)
        for peer in PROGRAMS if chosen.first_steps else ():
            bar.update(task, description=f"first step, {peer}")
            found.first_steps = {**found.first_steps, peer: first_steps(peer, chosen.first_steps)}
            bar.advance(task)
    return found
