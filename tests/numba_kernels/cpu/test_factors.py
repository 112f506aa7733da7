"""The factor of all gradients is that of the rule, in every dtype."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numba_kernels.cpu import addresses
from numba_kernels.cpu.addresses import IS_X86, _mode_of_rounding, _set_mode_of_rounding
from numba_kernels.cpu.factors import factor_kernel, global_factor
from numba_kernels.selfcheck.machine_code import cpu as machine_code
from sgd_ref import rule
from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.arithmetic.rounded import convert, setting

DTYPES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)


def by_the_rule(norm: Any, clipnorm: float, dtype: Any) -> Any:
    with np.errstate(all="ignore"):
        return rule.global_clip_factor(norm, setting(clipnorm, dtype), setting(1 / clipnorm, dtype))


def assert_equal(found: float, expected: Any) -> None:
    wanted = float(expected)
    assert np.float64(found).tobytes() == np.float64(wanted).tobytes() or np.isnan([found, wanted]).all()


@every_dtype
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_the_factor_of_any_norm(dtype: Any, data: st.DataObject) -> None:
    clipnorm = data.draw(st.floats(0.001, 1000))
    norm = convert(np.array(clipnorm * data.draw(st.floats(0, 50))), dtype)[()]
    assert_equal(global_factor(clipnorm, dtype)(float(norm)), by_the_rule(norm, clipnorm, dtype))


@every_dtype
def test_the_factors_of_many_norms(dtype: Any) -> None:
    generator = np.random.default_rng(3)
    for clipnorm in (0.1, 1.0, 3.3, 0.007):
        factor = global_factor(clipnorm, dtype)
        for norm in convert(clipnorm * generator.uniform(0.5, 20, 500), dtype):
            assert_equal(factor(float(norm)), by_the_rule(norm, clipnorm, dtype))


@every_dtype
def test_norms_at_the_ends_of_the_range(dtype: Any) -> None:
    form = FORMATS[dtype]
    smallest = float(form.smallest_normal) * 2.0 ** (1 - form.precision)
    for norm in (0.0, smallest, float(form.smallest_normal), float(form.largest), np.inf, np.nan):
        rounded = convert(np.array(norm), dtype)[()]
        assert_equal(global_factor(1.5, dtype)(norm), by_the_rule(rounded, 1.5, dtype))


@numba.njit
def _set_mode(mode: int) -> None:
    _set_mode_of_rounding(mode)


@numba.njit
def _mode() -> Any:
    return _mode_of_rounding()


@pytest.mark.skipif(not IS_X86, reason="how the mode of this processor is set is not known here")
@pytest.mark.parametrize("towards", [0x2000, 0x4000, 0x6000])
@every_dtype
def test_the_factor_is_rounded_to_nearest_in_any_mode(dtype: Any, towards: int) -> None:
    norms = convert(np.random.default_rng(4).uniform(1.5, 20, 100), dtype)
    numbers = norms.astype(np.float64).tolist()
    factor = global_factor(1.3, dtype)
    expected = [factor(norm) for norm in numbers]
    _set_mode(addresses.DEFAULT_MODE | towards)
    try:
        found = [factor(norm) for norm in numbers]
        after = _mode() & ~0x3F
    finally:
        _set_mode(addresses.DEFAULT_MODE)
    assert found == expected
    assert after == addresses.DEFAULT_MODE | towards


@pytest.mark.skipif(
    machine_code.processor() is None, reason="machine code of this processor is not known here"
)
@every_dtype
def test_the_product_and_the_sum_are_not_fused(dtype: Any) -> None:
    assert not machine_code.instructions(machine_code.assembly(factor_kernel(dtype)), dtype).fused
