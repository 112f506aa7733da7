"""Tuples made place by place."""

from __future__ import annotations

import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda.device.tuples import each


# They are what Numba compiles, and functions of Python as well.
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_each_place_has_its_own_function_and_all_arguments(count: int) -> None:
    asked = []

    def function_of(place: int) -> object:
        asked.append(place)
        return lambda numbers, more: (place, numbers, more)

    made = each(count, function_of)
    assert asked == list(range(count))
    assert made("numbers", "more") == tuple((place, "numbers", "more") for place in range(count))


def test_a_first_place_leaves_out_those_before() -> None:
    assert each(4, lambda place: lambda numbers, more: place, 2)(0, 0) == (2, 3)
