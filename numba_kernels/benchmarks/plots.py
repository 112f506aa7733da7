"""Plots of how the cost of a step grows, if matplotlib is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numba_kernels.benchmarks.history import Run
from numba_kernels.benchmarks.measurements import Measurements, measured
from numba_kernels.benchmarks.peers import FAMILIES

SPEED = ": speed over that of "
AXES = {"size": "elements of one tensor", "count": "tensors of 100 elements"}


def draw(found: Measurements, folder: Path, runs: Sequence[Run] = ()) -> list[str]:
    """Write the plots as SVG into a folder, and return their names. Without matplotlib, there are none.

    The same measurements give the same bytes.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return []
    names = []

    def write(figure: Figure, name: str) -> None:
        names.append(f"benchmarks-{name}.svg")
        with rc_context({"svg.hashsalt": name}):
            FigureCanvasSVG(figure).print_svg(folder / names[-1], metadata={"Date": None})

    for section, label in AXES.items():
        races = found.section(section)
        if not races:
            continue
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
        for peer in FAMILIES:
            points = [
                (int(workload.model.split(" x ")[1 if section == "size" else 0]), measurement.seconds * 1e6)
                for workload, result in races
                if (measurement := measured(result, peer)) is not None
            ]
            if points:
                axes.loglog(*zip(*points, strict=True), marker="o", label=peer)
        axes.set_xlabel(label)
        axes.set_ylabel("microseconds of a step of momentum, float32")
        axes.grid(True, alpha=0.3)
        axes.legend()
        write(figure, section)
    for number, processor in enumerate(dict.fromkeys(run.processor for run in runs)):
        own = [run for run in runs if run.processor == processor]
        if len(own) > 1:
            figure = Figure(figsize=(7, 4.5), layout="constrained")
            _over_time(figure.subplots(), own)
            write(figure, f"history-{number}")
    return names


def _over_time(axes: Any, runs: Sequence[Run]) -> None:
    """Draw the speeds of the runs on one processor, over those of others, in the order of the runs."""
    for words in dict.fromkeys(name for run in runs for name in run.values if SPEED in name):
        points = [(place, run.values[words]) for place, run in enumerate(runs) if words in run.values]
        axes.semilogy(*zip(*points, strict=True), marker="o", label=words.replace(SPEED, " over "))
    axes.set_xticks(range(len(runs)), [f"{run.date}\n{run.commit}" for run in runs])
    axes.set_title(runs[0].processor)
    axes.set_ylabel("speed of the kernels over that of others")
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize="x-small")
