"""Durations and memory of steps."""

from __future__ import annotations

import gc
import sys
import time

import numpy as np
import pytest

from numba_kernels.bench.timing import FEWEST, MOST, WARM_UP, peak_growth, time_steps

SIZE = 2**26


def test_every_step_is_timed_but_the_first_ones() -> None:
    calls = []

    def step() -> None:
        time.sleep(0.2 if len(calls) < WARM_UP else 0.01)
        calls.append(1)

    samples = time_steps(step, 0.0)
    assert len(samples) == FEWEST == len(calls) - WARM_UP
    assert 0.01 <= min(samples) < 0.15


def test_as_many_steps_as_fit() -> None:
    assert FEWEST < len(time_steps(lambda: time.sleep(0.002), 0.05)) <= 25
    assert len(time_steps(lambda: None, 60.0)) == MOST


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
