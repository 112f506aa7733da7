"""Durations, by a clock that is made up, and memory of steps."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from itertools import chain, repeat

import numpy as np
import pytest

from numba_kernels.benchmarks.timing import FEWEST, MOST, WARM_UP, peak_growth, time_steps

SIZE = 2**26


class Clock:
    """Stands still but while somebody passes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, *seconds: float) -> Callable[[], None]:
        """Return a step of which each call takes the next of these times, and further calls the last."""
        durations = chain(seconds, repeat(seconds[-1]))

        def step() -> None:
            self.now += next(durations)

        return step


def test_every_step_is_timed_but_the_first_ones() -> None:
    clock = Clock()
    samples = time_steps(clock.takes(*[200.0] * WARM_UP, 1.0, 2.0, 4.0), 0.0, clock)
    assert samples == [1.0, 2.0, 4.0]
    assert len(samples) == FEWEST


def test_as_many_steps_as_fit() -> None:
    clock = Clock()
    assert time_steps(clock.takes(2.0), 49.0, clock) == [2.0] * 25
    assert len(time_steps(clock.takes(0.0), 60.0, clock)) == MOST


def test_no_collection_disturbs_a_step() -> None:
    states: list[bool] = []
    time_steps(lambda: states.append(gc.isenabled()), 0.0)
    assert states[WARM_UP:] == [False] * FEWEST
    assert gc.isenabled()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="no system but Linux tells the peak")
def test_what_a_step_allocates_is_seen_though_it_is_given_back() -> None:
    allocating = peak_growth(lambda: np.ones(SIZE, np.uint8).sum())
    assert allocating is not None
    assert 0.9 * SIZE < allocating < 1.2 * SIZE
    # The peak of the step before must not count.
    array = np.ones(SIZE // 64, np.uint8)
    in_place = peak_growth(lambda: np.add(array, 1, out=array))
    assert in_place is not None
    assert in_place < 0.1 * SIZE
