"""Which arrays share memory."""

from __future__ import annotations

import copy
import pickle
import time
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from sgd_ref.base.aliasing import OccupiedMemory, is_same_memory, overlaps_itself

BASE = np.zeros((6, 8), np.float32)
PAIRS = np.zeros(4, [("first", np.float32), ("second", np.float32)])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (BASE, BASE, True),
        (BASE, BASE[:], True),
        (BASE, BASE.view(), True),
        (BASE.T, BASE.T, True),
        (BASE, BASE.T, False),
        (BASE, BASE.reshape(8, 6), False),
        (BASE, BASE.view(np.int32), False),
        (BASE, BASE.copy(), False),
        (BASE[0], BASE[1], False),
        (BASE[0], BASE[0, :7], False),
        (BASE[0], BASE[0, ::-1], False),
        (BASE[:0], BASE[:0], False),
    ],
)
def test_same_memory(first: Any, second: Any, expected: bool) -> None:
    assert is_same_memory(first, second) is expected
    assert is_same_memory(second, first) is expected
    assert is_same_memory(first, first)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (BASE, False),
        (BASE.T, False),
        (BASE[::-2, ::3], False),
        (BASE.reshape(2, 3, 8).transpose(1, 2, 0), False),
        (np.zeros(()), False),
        (np.zeros((3, 0)), False),
        (PAIRS["second"], False),
        (np.broadcast_to(np.zeros(3), (2, 3)), True),
        (np.broadcast_to(np.zeros(()), (2,)), True),
        (np.broadcast_to(np.zeros(3), (1, 3)), False),
        (np.broadcast_to(np.zeros(0), (2, 0)), False),
        (as_strided(BASE, (3, 2), (4, 4)), True),
        (as_strided(BASE, (3,), (2,)), True),
        (as_strided(BASE, (3, 3), (8, 4)), True),
        (as_strided(BASE, (3, 2), (8, 4)), False),
        (as_strided(BASE[0, 7:], (3,), (-4,)), False),
    ],
)
def test_overlap_with_itself(array: Any, expected: bool) -> None:
    assert overlaps_itself(array) is expected


@pytest.mark.parametrize(
    ("array", "owner"),
    [
        (BASE[0, 0:], "even"),
        (BASE[0, 2:3], "even"),
        (BASE[5, 7:], "odd"),
        (BASE[:, 1:2], "odd"),
        (BASE[2, 3:4].view(np.uint8)[3:], "odd"),
        (BASE[::-1, 6], "even"),
        (BASE[2:2], None),
        (BASE.copy(), None),
        (PAIRS["first"], "first"),
        (PAIRS["second"], None),
        (PAIRS[3:]["first"], "first"),
        (PAIRS, "first"),
    ],
)
def test_owner(array: Any, owner: str | None) -> None:
    empty = np.zeros((0, 3))
    memory = OccupiedMemory(
        [("empty", empty), ("even", BASE[:, ::2]), ("odd", BASE[:, 1::2]), ("first", PAIRS["first"])]
    )
    assert memory.owner(array) == owner
    assert memory.owner(empty) is None
    assert memory.owner(array, among=0) is None
    assert memory.owner(BASE, among=2) == "even"
    assert memory.owner(BASE[:, 1::2], among=2) is None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])  # noqa: S301
def test_a_copy_knows_the_copied_arrays(copied: Any) -> None:
    array = np.zeros(4)
    memory, other = copied((OccupiedMemory([("array", array)]), array))
    assert memory.owner(other[2:]) == "array"
    assert memory.owner(array) is None


def test_a_search_that_would_take_minutes_counts_as_sharing() -> None:
    """The example of NumPy's documentation of ``shares_memory``."""
    space = np.zeros(192163377, np.int8)
    first = as_strided(space, (1049, 1049, 1049), (36674, 61119, 85569))
    second = as_strided(space[64023025:], (1049, 1049, 1), (12223, 12224, 1))
    start = time.monotonic()
    assert OccupiedMemory([("first", first)]).owner(second) == "first"
    assert time.monotonic() - start < 20
