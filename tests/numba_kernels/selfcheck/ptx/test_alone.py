"""What kernels are compared with that are launched by themselves: offsets of elements, and counts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import sgd_ref
from numba_kernels.selfcheck.ptx.checks.alone import COPIED, LONG, SCALE, Counts, _lengths, _offsets
from sgd_ref.arithmetic.formats import FLOAT32


def test_offsets_are_those_of_numpy_and_of_whole_divisions() -> None:
    for lengths in _lengths():
        count = min(COPIED, math.prod(lengths))
        strides, offsets = _offsets(lengths, 4, count)
        assert len(set(offsets)) == count
        if LONG not in lengths:
            array = np.lib.stride_tricks.as_strided(np.zeros(1, FLOAT32), lengths, strides)
            start = array.__array_interface__["data"][0]
            places = itertools.islice(np.ndindex(*lengths), count)
            addresses = [array[(*place, None)].__array_interface__["data"][0] - start for place in places]
            assert addresses == offsets
        else:
            after = np.prod(lengths[lengths.index(LONG) + 1 :], dtype=int)
            assert offsets[-1] // strides[lengths.index(LONG)] == (count - 1) // after


@pytest.mark.parametrize(("steps", "frequency"), [(1, 0), (1, 2), (2, 2), (3, 1)])
def test_counts_are_those_of_the_reference(steps: int, frequency: int) -> None:
    settings = {"gradient_accumulation_steps": steps} if steps > 1 else {}
    inner = sgd_ref.SGD(use_ema=True, ema_overwrite_frequency=frequency or None, **settings)
    optimizer = sgd_ref.LossScaleOptimizer(inner, SCALE, 2)
    variables = [np.ones(3, FLOAT32)]
    optimizer.build(variables)
    counts = Counts(steps, frequency, 2, True, FLOAT32.type(SCALE), dict.fromkeys(range(20), 0.5))
    generator = np.random.default_rng(3)
    for _ in range(20):
        is_finite = bool(generator.random() < 0.7)
        updates = inner.iterations
        if counts.calls_of_window + 1 == steps and frequency:
            assert counts.overwrites == ((updates + 1) % frequency == 0)
        optimizer.apply([np.full(3, 1.0 if is_finite else np.inf, FLOAT32)], variables)
        counts.advance(is_finite)
        assert counts.words()[:2] == [inner.calls, inner.iterations]
        assert counts.words()[5:7] == [int((inner.calls + 1) % steps != 0), int(inner.iterations == 0)]
        assert (counts.scale, counts.growth_counter) == (optimizer.loss_scale, optimizer.growth_counter)


def test_a_call_without_a_rate_is_not_counted() -> None:
    counts = Counts(1, 0, 2, True, FLOAT32.type(SCALE), {0: 0.5})
    counts.advance(True)
    before = counts.words()
    assert before[-1] == 1
    for is_finite in (True, False):
        counts.advance(is_finite)
        assert (counts.words(), counts.scale) == (before, SCALE)
