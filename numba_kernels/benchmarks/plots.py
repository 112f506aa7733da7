"""Plots of how the cost of a step grows, if matplotlib is installed."""

from __future__ import annotations

from pathlib import Path

from numba_kernels.benchmarks.measurements import Measurements, measured
from numba_kernels.benchmarks.peers import FAMILIES

AXES = {"size": "elements of one tensor", "count": "tensors of 100 elements"}


def draw(found: Measurements, folder: Path) -> list[str]:
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
        names.append(f"benchmarks-{section}.svg")
        with rc_context({"svg.hashsalt": section}):
            FigureCanvasSVG(figure).print_svg(folder / names[-1], metadata={"Date": None})
    return names
