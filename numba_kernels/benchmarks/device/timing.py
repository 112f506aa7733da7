"""Durations of steps on a device, and of the calls that start them."""

from __future__ import annotations

import time
from collections.abc import Callable

from numba_kernels.benchmarks.device.memory import without_collection
from numba_kernels.benchmarks.device.peers import Prepared

WARM_UP = 3

BATCH_SECONDS = 0.01
"""The duration of a batch in seconds: long in comparison with the wait at its end."""

LONGEST_BATCH = 2000
FEWEST, MOST = 3, 300

Clock = Callable[[], float]
"""A function that returns the time in seconds since some fixed moment."""

CALLS = 10
"""The number of calls in a batch whose starts are timed: few enough that no queue is full."""


def time_steps(prepared: Prepared, seconds: float, clock: Clock = time.perf_counter) -> list[float]:
    """Return the mean duration of a step in each of several batches, each between two synchronisations.

    >>> len(time_steps(Prepared(lambda: None, lambda: None), 0.0))
    3
    """
    _warm_up(prepared)
    count = _steps_of_a_batch(prepared, clock)
    with without_collection():
        samples: list[float] = []
        while _wants_more(samples, count, seconds):
            samples.append(_batch(prepared, count, clock) / count)
    return samples


def time_calls(prepared: Prepared, seconds: float, clock: Clock = time.perf_counter) -> list[float]:
    """Return how long the host is busy with a call, in batches that do not wait for the device."""
    _warm_up(prepared)
    with without_collection():
        samples: list[float] = []
        while _wants_more(samples, CALLS, seconds):
            prepared.synchronise()
            started = clock()
            for _ in range(CALLS):
                prepared.step()
            samples.append((clock() - started) / CALLS)
    prepared.synchronise()
    return samples


def _warm_up(prepared: Prepared) -> None:
    for _ in range(WARM_UP):
        prepared.step()
    prepared.synchronise()


def _steps_of_a_batch(prepared: Prepared, clock: Clock) -> int:
    count = 1
    while (duration := _batch(prepared, count, clock)) < BATCH_SECONDS / 2 and count < LONGEST_BATCH:
        count = min(2 * count, LONGEST_BATCH)
    if not duration:
        # A coarse clock may measure 0 for such a short batch.
        return count
    return max(1, min(LONGEST_BATCH, round(count * BATCH_SECONDS / duration)))


def _batch(prepared: Prepared, count: int, clock: Clock) -> float:
    prepared.synchronise()
    started = clock()
    for _ in range(count):
        prepared.step()
    prepared.synchronise()
    return clock() - started


def _wants_more(samples: list[float], count: int, seconds: float) -> bool:
    return len(samples) < FEWEST or (len(samples) < MOST and sum(samples) * count < seconds)
