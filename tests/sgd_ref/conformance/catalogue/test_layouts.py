"""Layouts: the same elements, elsewhere in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.conformance.catalogue.case import Case, Layouts
from sgd_ref.conformance.catalogue.layouts import (
    BROADCAST,
    LAYOUTS,
    OFFSET,
    checked_layouts,
    laid_out,
    own_variables,
    with_layouts,
)
from sgd_ref.conformance.grading.check import private_copy
from sgd_ref.gradients import SparseRows

MATRIX = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (2, 3), (2, 0, 3), (2, 3, 4, 1)])
def test_elements_are_the_same(layout: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    given = laid_out(array, layout)
    assert (given.dtype, given.shape) == (array.dtype, array.shape)
    assert given.tobytes() == array.tobytes()
    assert not np.shares_memory(given, array)


@pytest.mark.parametrize(
    ("layout", "strides"),
    [
        ("contiguous", (24, 8)),
        ("transposed", (8, 16)),
        ("strided", (96, 16)),
        ("reversed", (-24, -8)),
        ("offset", (24, 8)),
    ],
)
def test_strides_are_those_of_the_layout(layout: str, strides: tuple[int, ...]) -> None:
    given = laid_out(MATRIX, layout)
    assert given.strides == strides
    assert given.flags.writeable


def test_an_offset_array_begins_within_its_memory() -> None:
    given = laid_out(MATRIX, "offset")
    memory = given.base
    assert isinstance(memory, np.ndarray)
    assert memory.size == MATRIX.size + 2 * OFFSET
    assert np.shares_memory(given.reshape(-1)[:1], memory[OFFSET : OFFSET + 1])


def test_what_is_equal_along_an_axis_is_in_memory_once() -> None:
    assert laid_out(np.ones((2, 3)), BROADCAST).strides == (0, 0)
    assert laid_out(np.array([[1.0, 2.0], [1.0, 2.0]]), BROADCAST).strides == (0, 8)
    assert laid_out(np.array([[1.0, 1.0], [2.0, 2.0]]), BROADCAST).strides == (8, 0)
    assert laid_out(MATRIX, BROADCAST).strides == (24, 8)
    assert not laid_out(np.ones(3), BROADCAST).flags.writeable


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layout must be one of contiguous, .*, got 'diagonal'"):
        laid_out(MATRIX, "diagonal")


def case_with(layouts: Layouts | None) -> Case:
    rows = SparseRows([1, 0], np.ones((2, 3)), (2, 3))
    return Case("a", {}, ("v", "w"), (MATRIX, MATRIX), ((MATRIX, rows), (None, MATRIX)), layouts=layouts)


def test_a_case_is_laid_out_as_it_states() -> None:
    case = with_layouts(case_with(Layouts(("transposed", "contiguous"), ("reversed", "strided"))))
    assert [variable.strides for variable in case.variables] == [(8, 16), (24, 8)]
    (first, rows), (missing, last) = case.gradients
    assert isinstance(first, np.ndarray)
    assert isinstance(last, np.ndarray)
    assert (first.strides, last.strides) == ((-24, -8), (96, 16))
    assert isinstance(rows, SparseRows)
    assert missing is None


def test_a_private_copy_keeps_the_layouts_and_is_writable() -> None:
    case = with_layouts(case_with(Layouts(("strided", "reversed"), ("transposed", "offset"))))
    for variable in case.variables:
        variable.flags.writeable = False
    copied = private_copy(case)
    assert [variable.strides for variable in copied.variables] == [(96, 16), (-24, -8)]
    assert all(variable.flags.writeable for variable in copied.variables)
    given = copied.gradients[0][0]
    assert isinstance(given, np.ndarray)
    assert given.strides == (8, 16)
    pairs = zip(case.variables, copied.variables, strict=True)
    assert not any(np.shares_memory(*pair) for pair in pairs)


def test_an_implementation_s_own_variables_have_the_layouts() -> None:
    layouts = Layouts(("transposed", "reversed"), ("contiguous", "contiguous"))
    strides = [variable.strides for variable in own_variables(case_with(layouts))]
    assert strides == [(8, 16), (-24, -8)]
    assert [variable.strides for variable in own_variables(case_with(None))] == [(24, 8), (24, 8)]


@pytest.mark.parametrize(
    ("layouts", "message"),
    [
        (Layouts(("transposed",), ("strided", "strided")), "layouts.variables must have 2 parts, got 1"),
        (Layouts(("strided", "strided"), ()), "layouts.gradients must have 2 parts, got 0"),
        (Layouts(("strided", "diagonal"), ("strided", "strided")), "must be of contiguous, .*got 'diagonal'"),
        (Layouts(("strided", BROADCAST), ("strided", "strided")), "layouts.variables must be .*'broadcast'"),
    ],
)
def test_layouts_that_do_not_fit_are_refused(layouts: Layouts, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked_layouts(case_with(layouts))


def test_layouts_that_fit_are_accepted() -> None:
    case = case_with(Layouts(("strided", "offset"), (BROADCAST, "contiguous")))
    assert checked_layouts(case) is case
    plain = replace(case, layouts=None)
    assert checked_layouts(plain) is plain
