"""The half types in the simulator, where storing changes no bit either, and refuses what it would change."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda.device.storage import storage
from numba_kernels.cuda.toolkit import IS_SIMULATED
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16

pytestmark = pytest.mark.skipif(not IS_SIMULATED, reason="calls functions of kernels as Python")

both_dtypes = pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16], ids=lambda dtype: dtype.name)

pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))

RATE = np.float32(0.3)
"""Rounded up in both half types, so that cutting its digits off would give another number."""


@both_dtypes
def test_every_number_is_loaded_and_stored(dtype: Any) -> None:
    stored = storage(dtype)
    every = np.arange(2**16, dtype=np.uint16)
    loaded = [stored.load(bits) for bits in every]
    assert all(type(x) is np.float32 for x in loaded)
    wanted = every.view(dtype).astype(np.float32)
    np.testing.assert_array_equal(loaded, wanted)
    numbers = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(loaded)[numbers], np.signbit(wanted)[numbers])
    for bits, x in zip(every[numbers], np.array(loaded)[numbers], strict=True):
        assert stored.store(x) == bits
        assert stored.rounded(x) == x
    for x in np.array(loaded)[~numbers]:
        assert np.isnan(stored.load(stored.store(x)))


@both_dtypes
def test_what_is_not_rounded_is_not_stored(dtype: Any) -> None:
    stored = storage(dtype)
    for x in (RATE, -RATE, np.float32(1e-45), np.float32(3.4e38)):
        refused = pytest.raises(ValueError, match=rf"^store must be given a number of {dtype}, got")
        with np.errstate(over="ignore"), refused:
            stored.store(x)
        with np.errstate(over="ignore"):
            wanted, rounded = x.astype(dtype), stored.rounded(x)
        assert stored.load(stored.store(rounded)) == wanted


@both_dtypes
@pytest.mark.parametrize("clipping", [{}, {"clipnorm": 0.7}, {"global_clipnorm": 0.7}], ids=str)
def test_rates_and_norms_that_are_no_numbers_of_the_dtype_are_rounded(dtype: Any, clipping: Any) -> None:
    generator = np.random.default_rng(1)
    pair = pairs.Pair([pairs.numbers(generator, (45,), dtype)], learning_rate=float(RATE), **clipping)
    for _ in range(3):
        pair.apply([pairs.numbers(generator, (45,), dtype)])
