"""Batches between synchronisations, and calls without any, of a device and a clock that are made up."""

from __future__ import annotations

import gc

import pytest

from numba_kernels.benchmarks.device import memory, timing
from numba_kernels.benchmarks.device.peers import Prepared


class Device:
    """Needs some time for a step, and the host some other to start it; time passes for nothing else."""

    def __init__(self, step_seconds: float, call_seconds: float = 0.0) -> None:
        self.step_seconds, self.call_seconds = step_seconds, call_seconds
        self.now = 0.0
        self.waiting = 0
        self.batches: list[int] = []
        self.is_collecting: list[bool] = []

    def step(self) -> None:
        self.waiting += 1
        self.now += self.call_seconds

    def synchronise(self) -> None:
        self.batches.append(self.waiting)
        self.is_collecting.append(gc.isenabled())
        self.now += self.waiting * self.step_seconds
        self.waiting = 0

    def prepared(self) -> Prepared:
        return Prepared(self.step, self.synchronise)

    def clock(self) -> float:
        return self.now


def test_a_step_is_timed_in_batches_that_are_waited_for() -> None:
    device = Device(0.002)
    samples = timing.time_steps(device.prepared(), 0.0, device.clock)
    assert samples == pytest.approx([0.002] * timing.FEWEST)
    # Ten milliseconds of steps at a time, between two synchronisations.
    assert device.batches[-1] == device.batches[-3] == 5
    assert device.batches[-2] == 0
    assert device.batches[0] == timing.WARM_UP


def test_a_long_step_is_a_batch_of_its_own() -> None:
    device = Device(0.03)
    samples = timing.time_steps(device.prepared(), 0.0, device.clock)
    assert device.batches[-1] == 1
    assert len(samples) == timing.FEWEST


def test_short_steps_make_no_endless_batch() -> None:
    device = Device(0.0)
    timing.time_steps(device.prepared(), 0.0, device.clock)
    assert max(device.batches) <= timing.LONGEST_BATCH


def test_as_many_batches_as_fit() -> None:
    device = Device(0.002)
    assert len(timing.time_steps(device.prepared(), 0.095, device.clock)) == 10


def test_calls_are_timed_without_waiting() -> None:
    device = Device(0.005, call_seconds=0.001)
    samples = timing.time_calls(device.prepared(), 0.0, device.clock)
    assert samples == pytest.approx([0.001] * timing.FEWEST)
    # Each batch begins with an empty queue.
    assert device.batches[-1] == timing.CALLS


def test_no_collection_disturbs_a_step() -> None:
    device = Device(0.0)
    timing.time_steps(device.prepared(), 0.0, device.clock)
    assert device.is_collecting[-2 * timing.FEWEST :] == [False] * 2 * timing.FEWEST
    assert gc.isenabled()
    with memory.without_collection(), memory.without_collection():
        pass
    assert gc.isenabled()
