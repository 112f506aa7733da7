"""The goals of the kernels on a device, each with the number that was measured."""

from __future__ import annotations

from collections.abc import Iterator

from numba_kernels.benchmarks.device.comparing import speed_over, steps
from numba_kernels.benchmarks.device.peers import KERNELS, ROOFS, TORCH
from numba_kernels.benchmarks.device.suite import DTYPES, LARGE, SETTINGS, SINGLE, SMALL
from numba_kernels.benchmarks.goals import Goal
from numba_kernels.benchmarks.measurements import Measurements, measured
from numba_kernels.benchmarks.workload import Workload

COPY, OF_EVERYTHING = 0.92, 0.9
TIMES_EVERYTHING = 1.55
SECONDS_OF_SMALL = 15e-6

CALLED = ("kernels",)
GRAPH = "kernels graph"
NOT_COMPILED = tuple(peer for peer in TORCH if peer != "torch compiled")
NOT_CAPTURED = tuple(peer for peer in TORCH if peer != "torch graph")


def goals(found: Measurements) -> list[Goal]:
    """Return all goals, each with the number that a run measured."""
    return [*_of_the_copy(found), *_over_torch(found), *_everything(found), *_small(found)]


def _of_the_copy(found: Measurements) -> Iterator[Goal]:
    models = {"momentum": (SINGLE,), "everything": LARGE}
    for settings, bound in (("momentum", COPY), ("everything", OF_EVERYTHING)):
        for model in models[settings]:
            for dtype in DTYPES:
                workload = Workload(model, settings, dtype)
                share = speed_over(steps(found, workload), KERNELS, ROOFS)
                yield Goal(f"{workload}: speed over that of a copy of as many bytes", bound, share)


def _over_torch(found: Measurements) -> Iterator[Goal]:
    for model in (*LARGE, SMALL):
        for dtype in DTYPES:
            for settings in SETTINGS:
                workload = Workload(model, settings, dtype)
                result = steps(found, workload)
                words = f"{workload}: speed over that of PyTorch's best"
                yield Goal(words, 1.0, speed_over(result, KERNELS, TORCH))
                captured = speed_over(result, CALLED, NOT_CAPTURED)
                yield Goal(f"{words}, both without a graph", 1.0, captured)


def _everything(found: Measurements) -> Iterator[Goal]:
    for model in LARGE:
        for dtype in DTYPES:
            workload = Workload(model, "everything", dtype)
            result = steps(found, workload)
            words = f"{workload}: speed over that of PyTorch's fastest composition"
            yield Goal(words, TIMES_EVERYTHING, speed_over(result, KERNELS, TORCH))
            eager = speed_over(result, KERNELS, NOT_COMPILED)
            yield Goal(f"{words} without a compiler", TIMES_EVERYTHING, eager)


def _small(found: Measurements) -> Iterator[Goal]:
    for dtype in DTYPES:
        for settings in SETTINGS:
            workload = Workload(SMALL, settings, dtype)
            entry = measured(steps(found, workload), GRAPH)
            microseconds = None if entry is None else entry.seconds * 1e6
            words = f"{workload}: microseconds of a step in a graph"
            yield Goal(words, SECONDS_OF_SMALL * 1e6, microseconds, at_most=True)
