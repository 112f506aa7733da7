"""What the device counts by itself: calls, windows, periods, the loss scale, calls without a rate."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

import sgd_ref
from numba_kernels.cuda import simulated
from numba_kernels.cuda.device import layout
from numba_kernels.cuda.device.counting import LARGEST, PREPARATION, SMALLEST_NORMAL, advance, is_last_block
from numba_kernels.cuda.host.buffers import Buffer
from numba_kernels.cuda.toolkit import IS_SIMULATED, cuda, kernel

RATES_AHEAD = 4


@kernel("advance_in_a_test")
def advancing(counts: int, numbers: int, is_dynamic: int) -> None:
    if cuda.grid(1) == 0:
        advance(counts, numbers, is_dynamic)


@kernel("ticket_in_a_test")
def marking(counts: int, marks: int) -> None:
    if cuda.threadIdx.x == 0 and is_last_block(counts, cuda.gridDim.x):
        layout.set_word(marks, 0, layout.word(marks, 0) + 1)
        layout.set_word(marks, 1, cuda.blockIdx.x)


class Counts:
    """The counts of an optimizer, without the rest of it."""

    def __init__(self, steps: int = 1, frequency: int = 0, growth: int = 2, rates: int = 1) -> None:
        self.values = Buffer(np.zeros(RATES_AHEAD, np.float32))
        self.calls_of_rates = Buffer(np.full(RATES_AHEAD, -1, np.int64))
        limits = np.zeros(layout.LIMIT_WORDS, np.int64)
        limits[layout.ACCUMULATION_STEPS], limits[layout.OVERWRITE_FREQUENCY] = steps, frequency
        limits[layout.GROWTH_STEPS], limits[layout.RATE_COUNT] = growth, rates
        limits[layout.RATES], limits[layout.CALLS_OF_RATES] = self.values.address, self.calls_of_rates.address
        self.limits = Buffer(limits)
        counts = np.zeros(layout.COUNT_WORDS, np.int64)
        counts[layout.LIMITS] = self.limits.address
        self.counts = Buffer(counts)
        self.numbers = Buffer(np.ones(layout.NUMBER_COUNT, np.float32))

    def launch(self, chosen: Any, *more: int) -> None:
        if IS_SIMULATED:
            buffers = (self.values, self.calls_of_rates, self.limits, self.counts, self.numbers)
            simulated.allow(buffer.region for buffer in buffers)
        chosen.launch(1, 2, 0, self.counts.address, self.numbers.address, *more)

    def prepare(self) -> None:
        self.launch(PREPARATION)

    def advance(self, is_dynamic: int = 0, is_finite: bool = True) -> None:
        if not is_finite:
            self.write(layout.NOT_FINITE, 1)
        self.launch(advancing, is_dynamic)

    def write(self, place: int, value: int) -> None:
        self.counts.download()[place] = value
        self.counts.upload(0)

    def set_scale(self, scale: float) -> None:
        self.numbers.download()[layout.SCALE] = scale
        self.numbers.upload(0)

    def provide(self, rates: dict[int, float]) -> None:
        for call, rate in rates.items():
            self.values.host[call % RATES_AHEAD], self.calls_of_rates.host[call % RATES_AHEAD] = rate, call
        self.values.upload(0)
        self.calls_of_rates.upload(0)

    def __getitem__(self, place: int) -> int:
        return int(self.counts.download()[place])

    @property
    def scale(self) -> float:
        return float(self.numbers.download()[layout.SCALE])

    @property
    def rate(self) -> float:
        return float(self.numbers.download()[layout.RATE])


@pytest.mark.parametrize(("steps", "frequency"), list(itertools.product((1, 2, 3), range(4))))
def test_windows_and_periods_are_those_of_the_reference(steps: int, frequency: int) -> None:
    counts = Counts(steps, frequency)
    counts.prepare()
    for call in range(13):
        updates = call // steps
        is_update = (call + 1) % steps == 0
        assert (counts[layout.CALLS], counts[layout.UPDATES]) == (call, updates)
        assert counts[layout.ACCUMULATES] == (0 if is_update else 1)
        assert counts[layout.IS_FIRST_AVERAGE] == (1 if updates == 0 else 0)
        if is_update:
            wanted = frequency != 0 and (updates + 1) % max(frequency, 1) == 0
            assert counts[layout.OVERWRITES] == int(wanted)
        counts.advance()


@pytest.mark.parametrize("growth", [1, 2, 3])
def test_the_loss_scale_is_that_of_the_reference(growth: int) -> None:
    counts, generator = Counts(growth=growth), np.random.default_rng(1)
    counts.prepare()
    for start in (1.0, 8.0, float(LARGEST), float(LARGEST) / 2, 2.0**127, float(SMALLEST_NORMAL), 3e-38):
        wanted = sgd_ref.LossScaleOptimizer(sgd_ref.SGD(), start, growth)
        counts.set_scale(start)
        counts.write(layout.GROWTH_COUNTER, 0)
        for _ in range(8):
            is_finite, before = bool(generator.random() < 0.6), counts[layout.CALLS]
            if is_finite:
                wanted.grow()
            else:
                wanted.shrink()
            counts.advance(1, is_finite)
            assert (counts.scale, counts[layout.GROWTH_COUNTER]) == (wanted.loss_scale, wanted.growth_counter)
            assert counts[layout.CALLS] - before == int(is_finite)
            # The next call is looked at afresh.
            assert counts[layout.NOT_FINITE] == 0


def test_a_skipped_call_moves_nothing_but_the_loss_scale() -> None:
    counts = Counts(steps=2, frequency=2, growth=5)
    counts.prepare()
    for _ in range(3):
        counts.advance(1)
    before = counts.counts.download().copy()
    counts.advance(1, is_finite=False)
    after = counts.counts.download().copy()
    changed = np.flatnonzero(before != after).tolist()
    assert changed == [layout.GROWTH_COUNTER]
    assert after[layout.GROWTH_COUNTER] == 0


def test_the_scale_stays_where_it_is_not_dynamic() -> None:
    counts = Counts(growth=1)
    counts.prepare()
    for _ in range(3):
        counts.advance()
    assert (counts.scale, counts[layout.GROWTH_COUNTER]) == (1.0, 0)


def test_rates_are_found_by_the_count_of_calls() -> None:
    counts = Counts(rates=RATES_AHEAD)
    counts.provide({0: 0.5, 1: 0.25, 2: 0.125, 3: 1.0})
    counts.prepare()
    for call in range(3):
        assert (counts.rate, counts[layout.IS_EXHAUSTED]) == ([0.5, 0.25, 0.125][call], 0)
        counts.advance()
    counts.provide({4: 2.0, 5: 3.0})
    for call in range(3, 6):
        assert (counts.rate, counts[layout.IS_EXHAUSTED]) == ([1.0, 2.0, 3.0][call - 3], 0)
        counts.advance()


@pytest.mark.parametrize("is_finite", [True, False])
def test_a_call_without_a_rate_changes_nothing(is_finite: bool) -> None:
    counts = Counts(steps=2, growth=1, rates=RATES_AHEAD)
    counts.provide({0: 0.5, 1: 0.25})
    counts.prepare()
    for _ in range(2):
        counts.advance(1)
    before, scale = counts.counts.download().copy(), counts.scale
    assert before[layout.IS_EXHAUSTED] == 1
    for _ in range(2):
        counts.advance(1, is_finite)
        assert counts.counts.download().tolist() == before.tolist()
        assert counts.scale == scale
    # Rates of calls that are over are no rates.
    counts.provide({2: 0.75})
    counts.prepare()
    assert (counts.rate, counts[layout.IS_EXHAUSTED]) == (0.75, 0)


def test_one_rate_serves_every_call() -> None:
    counts = Counts()
    counts.values.host[0] = 0.75
    counts.values.upload(0)
    counts.prepare()
    for _ in range(3 * RATES_AHEAD):
        assert (counts.rate, counts[layout.IS_EXHAUSTED]) == (0.75, 0)
        counts.advance()


@pytest.mark.parametrize("blocks", [1, 2, 3, 7])
def test_one_block_of_each_launch_is_the_last(blocks: int) -> None:
    counts, marks = Counts(), Buffer(np.zeros(2, np.int64))
    for launch in range(1, 4):
        if IS_SIMULATED:
            simulated.allow([counts.counts.region, marks.region])
        marking.launch(blocks, 2, 0, counts.counts.address, marks.address)
        assert marks.download()[0] == launch
        # The next launch begins from nothing.
        assert counts[layout.TICKET] == 0
        if IS_SIMULATED:
            assert marks.host[1] == blocks - 1
