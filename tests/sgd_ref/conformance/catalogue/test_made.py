"""Big arrays are made as the page says, in Python integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.conformance.catalogue.made import LARGEST_SIZE, MODULUS, made


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize(("multiplier", "offset"), [(0, 0), (3, 5), (MODULUS - 1, MODULUS - 1), (48271, 1)])
def test_elements_follow_the_rule(dtype: np.dtype[Any], multiplier: int, offset: int) -> None:
    array = made(multiplier, offset, (40, 25), dtype)
    expected = [2 * ((multiplier * i + offset) % (2**31 - 1) % 8) - 7 for i in range(1000)]
    assert array.astype(np.float64).reshape(-1).tolist() == expected
    assert (array.dtype, array.shape) == (dtype, (40, 25))
    assert not array.flags.writeable


def test_the_last_element_of_the_largest_array() -> None:
    array = made(MODULUS - 2, MODULUS - 1, (LARGEST_SIZE,), np.dtype(np.float32))
    last = (MODULUS - 2) * (LARGEST_SIZE - 1) + MODULUS - 1
    assert last < 2**53
    assert array[-1] == 2 * (last % MODULUS % 8) - 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0, (2,)), "multiplier must be from 0 and below 2147483647, got -1"),
        ((0, MODULUS, (2,)), "offset must be from 0 and below 2147483647, got 2147483647"),
        ((0, 0, (LARGEST_SIZE + 1,)), "shape must have at most 2097152 elements"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(*arguments, np.dtype(np.float32))
