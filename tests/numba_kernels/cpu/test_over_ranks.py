"""Norms over ranks: correctly rounded whatever rank has which elements, also next to a tie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numba_kernels.cpu import over_ranks, rounding
from numba_kernels.cpu.norm import Measurement
from numba_kernels.cpu.over_ranks import Known, Parts, agreed
from numba_kernels.cpu.plan import Group
from numba_kernels.ranks import Communicator, RankError, Ranks
from numba_kernels.shared.element import PLAIN
from sgd_ref.arithmetic.formats import FLOAT64
from sgd_ref.base.settings import Settings
from sgd_ref.base.state import State
from sgd_ref.norm import euclidean_norm
from tests.numba_kernels.agreement import DTYPES, numbers
from tests.numba_kernels.ranks.threads import on_ranks

SIZES = [1, 2, 3, 5, 8]

NEAR_TIES = {
    np.dtype(np.float32): [2.0**24, 4096, 4096, 1, 2.0**-20],
    np.dtype(np.float64): [2.0**53, 2.0**26, 2.0**26, 2.0**26, 2.0**26, 1, 2.0**-49],
}
"""The norm lies just above a midpoint: no sum with an error decides it."""


def _parts(gradients: list[Any], counted: list[bool], wide: bool) -> Parts:
    variables = [np.zeros_like(g) for g in gradients]
    names = [str(index) for index in range(len(variables))]
    state = State.fresh(Settings(), names, variables, [False] * len(variables))
    group = Group(Settings(), state, list(range(len(variables))))
    group.set_gradients(gradients)
    measurement = Measurement(group, gradients, PLAIN, wide or group.dtype == FLOAT64, 1)
    return Parts([measurement], [np.array(counted)], wide)


def _norms(pieces: list[list[Any]], of_each: bool, replicas: bool = False) -> list[Any]:
    """Return the norms that each rank gets, where `pieces` has the gradients of each rank."""

    def talk(communicator: Communicator) -> Any:
        gradients = pieces[communicator.rank]
        counted = [not replicas or communicator.rank == 0] * len(gradients)
        dtype = gradients[0].dtype
        parts = _parts(gradients, counted, dtype == FLOAT64)
        if of_each:
            known = Known(parts.finite, [dtype], parts.sums_of_each(), parts.exact_sums_of_each)
            found = agreed(Ranks(communicator), {}, known, [dtype] * len(gradients))
        else:
            known = Known(parts.finite, [dtype], parts.sum_of_all(), parts.exact_sum_of_all)
            found = agreed(Ranks(communicator), {}, known, None)
        return found

    return on_ranks(len(pieces), talk)


def _shared_out(generator: np.random.Generator, array: Any, size: int) -> list[Any]:
    """Cut an array at random places; some pieces are empty."""
    cuts = np.sort(generator.integers(0, len(array) + 1, size - 1))
    return np.split(array, cuts)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("of_each", [True, False], ids=["each", "all"])
def test_norms_are_those_of_the_reference(dtype: Any, size: int, of_each: bool) -> None:
    generator = np.random.default_rng(size)
    for special in (0.0, 0.02):
        arrays = [numbers(generator, length, dtype, special) for length in (1, 7, 200)]
        cut = [_shared_out(generator, array, size) for array in arrays]
        pieces = [[of_array[rank] for of_array in cut] for rank in range(size)]
        if of_each:
            expected = [euclidean_norm([array], dtype) for array in arrays]
        else:
            expected = [euclidean_norm(arrays, dtype)]
        for found in _norms(pieces, of_each):
            np.testing.assert_array_equal(found.norms, np.array(expected, np.float64))
            assert found.finite == all(np.isfinite(np.float64(array)).all() for array in arrays)
            assert found.dtypes == [dtype]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", NEAR_TIES, ids=str)
@pytest.mark.parametrize("of_each", [True, False], ids=["each", "all"])
def test_a_norm_next_to_a_tie_is_rounded_right(dtype: Any, size: int, of_each: bool) -> None:
    array = np.array(NEAR_TIES[dtype], dtype)
    expected = np.float64(euclidean_norm([array], dtype))
    assert expected != np.float64(dtype.type(np.sqrt(np.sum(np.float64(array) ** 2))))
    pieces = [[array[rank::size]] for rank in range(size)]
    assert [found.norms.tolist() for found in _norms(pieces, of_each)] == [[expected]] * size


def test_sums_that_do_not_decide_are_found_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = []
    monkeypatch.setattr(over_ranks, "_exactly", lambda ranks, undecided, *_: rows.append(undecided) or 3.0)
    array = np.array(NEAR_TIES[np.dtype(np.float32)], np.float32)
    assert _norms([[array[:2]], [array[2:]]], True)[0].norms.tolist() == [3.0]
    assert [row.tolist() for row in rows] == [[0], [0]]


@pytest.mark.parametrize("of_each", [True, False], ids=["each", "all"])
@pytest.mark.parametrize("dtype", NEAR_TIES, ids=str)
def test_an_element_that_several_ranks_have_counts_once(dtype: Any, of_each: bool) -> None:
    array = np.array(NEAR_TIES[dtype], dtype)
    expected = np.float64(euclidean_norm([array], dtype))
    for found in _norms([[array]] * 3, of_each, replicas=True):
        assert found.norms.tolist() == [expected]


def test_a_rank_that_cannot_add_exactly_tells_the_others() -> None:
    def talk(communicator: Communicator) -> Any:
        def exact(rows: Any) -> Any:
            if communicator.rank == 1:
                raise MemoryError("no room")
            return np.zeros((1, over_ranks.WIDTH), np.int64)

        # A float64 sum of zero decides nothing.
        known = Known(True, [FLOAT64], np.zeros((1, 2)), exact)
        return agreed(Ranks(communicator), {}, known, [FLOAT64])

    results = on_ranks(3, talk)
    assert [type(result) for result in results] == [RankError, MemoryError, RankError]
    assert "rank 1 failed in the exact norms of step 1: MemoryError: no room" in str(results[0])


def test_the_bounds_have_room_for_two_more_additions() -> None:
    # For a chunk 255 units are for a block, 15 for a group and 15 for a chunk; the totals of a rank and of
    # all ranks add two each, and one is for a low part that is left away.
    assert rounding.ERROR_OF_PLAIN_SUM * 2**53 > 255 + 15 + 15 + 2 + 2 + 1
