"""What ``sgd-ref bench`` does: measure, show the page, and write it if that is asked for."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from numba_kernels import machine
from numba_kernels.benchmarks import measurements, page, plans, plots
from numba_kernels.benchmarks.contest import Workers, contest
from numba_kernels.benchmarks.first_steps import PROGRAMS, first_steps
from numba_kernels.benchmarks.measurements import Measurements
from numba_kernels.benchmarks.plans import Plan
from sgd_ref.conformance.grading.progress import progress_bar

PAGES = Path(__file__).with_name("results")
PAGE, RAW = "benchmarks.md", "benchmarks.json"


def plan(is_quick: bool, pattern: re.Pattern[str] | None) -> Plan:
    """Return what to measure.

    Parameters
    ----------
    is_quick : bool
        A minute's worth, instead of all.
    pattern : pattern or None
        Only workloads whose name it matches somewhere, and no first steps.

    Raises
    ------
    ValueError
        If it matches none.
    """
    chosen = plans.quick() if is_quick else plans.full()
    if pattern is None:
        return chosen
    races = [race for race in chosen.races if pattern.search(str(race.workload))]
    if not races:
        raise ValueError(f"-k must match the name of a workload, got {pattern.pattern!r}")
    return replace(chosen, races=races, first_steps=0)


def run(chosen: Plan, folder: Path | None, console: Console) -> str:
    """Measure everything of a plan and return the page.

    Parameters
    ----------
    chosen : Plan
        What to measure.
    folder : Path or None
        Where to write the page, the raw samples and the plots; nowhere if None.
    console : Console
        Shows the progress, on a terminal.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    if folder is not None:
        folder.mkdir(exist_ok=True)
    found = _measure(chosen, console)
    if folder is None:
        return page.render(found)
    (folder / RAW).write_text(measurements.to_json(found), encoding="utf-8")
    text = page.render(found, plots.draw(found, folder))
    (folder / PAGE).write_text(text, encoding="utf-8")
    return text


def _measure(chosen: Plan, console: Console) -> Measurements:
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
