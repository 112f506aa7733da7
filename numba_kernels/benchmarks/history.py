"""The results of earlier runs: each goal by date, commit and processor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from numba_kernels.benchmarks.goals import goals
from numba_kernels.benchmarks.measurements import Measurements

NAME = "history.json"


@dataclass(frozen=True)
class Run:
    """One run of the whole benchmark.

    Attributes
    ----------
    date : str
        The day, as in "2026-11-23".
    commit : str
        The beginning of the hash; empty where it is not known.
    processor : str
        The name of the processor.
    values : mapping of str to float
        For each goal that was measured, in words, the number, with three digits.
    """

    date: str
    commit: str
    processor: str
    values: Mapping[str, float]


def run_of(found: Measurements, commit: str) -> Run:
    """Return what is remembered of a run."""
    values = {goal.words: float(f"{goal.value:.3g}") for goal in goals(found) if goal.value is not None}
    return Run(found.machine.get("date", ""), commit, found.machine.get("processor", ""), values)


def remembered(folder: Path) -> list[Run]:
    """Return the runs that a folder remembers, in the order in which they were made.

    Raises
    ------
    ValueError
        If the file is not what `remember` writes.
    """
    file = folder / NAME
    if not file.is_file():
        return []
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, list):
            raise TypeError(type(content).__name__)
        return [Run(**run) for run in content]
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{file} must be a list of runs of the benchmark, got another content") from problem


def remember(folder: Path, run: Run) -> list[Run]:
    """Add a run to the file of a folder, and return all runs; a run of the same day and commit is replaced.

    Raises
    ------
    OSError, ValueError
        If the file cannot be written, or has another content.
    """
    key = run.date, run.commit, run.processor
    others = [old for old in remembered(folder) if (old.date, old.commit, old.processor) != key]
    runs = [*others, run]
    text = json.dumps([asdict(one) for one in runs], indent=1) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")
    return runs


def latest(runs: Sequence[Run], count: int) -> list[Run]:
    """Return the last runs of each processor, in their order.

    >>> runs = [Run(str(day), "", processor, {}) for day in range(3) for processor in ("A", "B")]
    >>> [(run.date, run.processor) for run in latest(runs, 1)]
    [('2', 'A'), ('2', 'B')]
    """
    of_each: dict[str, list[Run]] = {}
    for run in runs:
        of_each.setdefault(run.processor, []).append(run)
    kept = {id(run) for of_one in of_each.values() for run in of_one[-count:]}
    return [run for run in runs if id(run) in kept]
