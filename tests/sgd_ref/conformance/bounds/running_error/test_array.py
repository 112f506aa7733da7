"""Arrays that know their terms have the bits of plain ones, and terms that bound every other evaluation."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgd_ref.arithmetic.exact import exact
from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.conformance.bounds.running_error.array import TermedArray, allowance, termed

FINITE = st.floats(-1e3, 1e3, width=16)


def numbers(values: list[float], dtype: Any) -> Any:
    return np.array(values, np.float64).astype(dtype)


@pytest.mark.parametrize("dtype", FORMATS, ids=lambda dtype: dtype.name)
@given(values=st.lists(FINITE, min_size=4, max_size=4))
def test_sums_of_products_lie_within_the_allowance_of_the_exact_ones(dtype: Any, values: list[float]) -> None:
    w, v, g, rate = (numbers([value], dtype) for value in values)
    with np.errstate(all="ignore"):
        result = termed(w) + (termed(v) * rate - rate * termed(g))
        plain = w + (v * rate - rate * g)
    assert isinstance(result, TermedArray)
    assert np.asarray(result).tobytes() == plain.tobytes()
    a, b, c, d = (exact(number.astype(np.float64))[0] for number in (w, v, g, rate))
    if np.isfinite(plain.astype(np.float64)).all():
        distance = abs(a + (b * d - d * c) - Fraction(float(plain[0])))
        assert distance <= Fraction(float(allowance(result)[0]))


@pytest.mark.parametrize("dtype", FORMATS, ids=lambda dtype: dtype.name)
def test_special_values_keep_their_bits(dtype: Any) -> None:
    smallest = float(FORMATS[dtype].smallest_normal)
    special = numbers([np.nan, np.inf, -np.inf, 0.0, -0.0, smallest / 2, 1.0], dtype)
    with np.errstate(all="ignore"):
        for plain, made in (
            (special + special, termed(special) + special),
            (special * special, special * termed(special)),
            (special / special, termed(special) / termed(special)),
            (-special, -termed(special)),
            (
                np.where(special > 0, special, special[::-1]),
                np.where(special > 0, termed(special), special[::-1]),
            ),
        ):
            assert np.asarray(made).tobytes() == plain.tobytes()


def test_what_cancels_is_still_as_large_as_its_terms() -> None:
    w = termed(np.array([1.0], np.float32))
    difference = (w + np.float32(3)) - np.float32(4)
    assert float(difference[0]) == 0
    assert difference.terms.tolist() == [8.0]


def test_a_number_less_itself_is_no_rounding() -> None:
    norm = termed(np.array([1000.0]))
    assert (norm - norm).terms.tolist() == [0.0]


def test_what_overflows_on_the_way_keeps_its_terms_and_what_is_infinite_does_not() -> None:
    large = termed(np.array([60000.0, np.inf], np.float16))
    doubled = large + large
    assert np.isinf(np.asarray(doubled)).all()
    assert np.isfinite(doubled.terms).tolist() == [True, False]


def test_terms_go_where_elements_go() -> None:
    made = termed(np.array([[1.0, -1.0], [2.0, 3.0]])) - 1.0
    assert made.terms.tolist() == [[2.0, 2.0], [3.0, 4.0]]
    assert made[1].terms.tolist() == [3.0, 4.0]
    assert made.reshape(4).terms.tolist() == made.ravel().terms.tolist() == made.flatten().terms.tolist()
    assert np.transpose(made).terms.tolist() == [[2.0, 3.0], [2.0, 4.0]]
    assert np.concatenate([made, made]).terms.shape == (4, 2)
    assert made.copy().terms.tolist() == made.terms.tolist()
    assert made.astype(np.float32).terms.tolist() == made.terms.tolist()
    target = termed(np.zeros((2, 2)))
    target[0] = made[0]
    assert target.terms.tolist() == [[2.0, 2.0], [0.0, 0.0]]
    target += made
    assert target.terms.tolist() == [[4.0, 4.0], [3.0, 4.0]]
    assert not isinstance(made > 0, TermedArray)
