"""Time the steps of one peer in this process, and measure the memory that a step allocates."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

from numba_kernels.benchmarks.peers import Step

WARM_UP = 2
FEWEST, MOST = 3, 300

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")
RESET_OF_THE_PEAK = "5"


def time_steps(step: Step, seconds: float, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Return the durations of as many steps as fit into some seconds, after two steps that are not timed.

    The clock counts seconds from some fixed moment.

    >>> len(time_steps(lambda: None, 0.0))
    3
    """
    for _ in range(WARM_UP):
        step()
    samples: list[float] = []
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        while len(samples) < FEWEST or (sum(samples) < seconds and len(samples) < MOST):
            started = clock()
            step()
            samples.append(clock() - started)
    finally:
        if is_collecting:
            gc.enable()
    return samples


def peak_growth(step: Step) -> int | None:
    """Return the largest growth of resident memory during a step, in bytes.

    The result is None on systems other than Linux, which do not report it.
    """
    try:
        RESET.write_text(RESET_OF_THE_PEAK)
        before = _kibibytes("VmRSS")
        step()
        return (_kibibytes("VmHWM") - before) * 1024
    except OSError:
        return None


def _kibibytes(name: str) -> int:
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
