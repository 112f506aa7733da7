"""Sparse gradients that change their own rows only: the bits of the reference, and no work for other rows."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda.device import layout
from numba_kernels.cuda.host.device_state import DeviceState
from numba_kernels.cuda.host.groups import CHUNK
from sgd_ref import SparseRows, schedules
from sgd_ref.arithmetic.formats import FLOAT32
from sgd_ref.arithmetic.rounded import convert

pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))
DTYPES, Pair, numbers = pairs.DTYPES, pairs.Pair, pairs.numbers
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)


@pytest.fixture
def only_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a sparse gradient is made dense."""

    def refuse(self: Any, index: int) -> Any:
        raise AssertionError(f"the gradient of variable {index} is made dense")

    monkeypatch.setattr(DeviceState, "_dense_memory", refuse)


def elements_of_work(state: Any) -> int:
    """Return for how many elements the tables of the last call of one dtype have chunks."""
    (group,) = state._row_groups.values()
    return int(group.chunks.host.reshape(-1, layout.CHUNK_WORDS)[:, layout.COUNT].sum())


@every_dtype
@pytest.mark.parametrize(
    "settings", [{}, {"clipvalue": 0.5, "loss_scale_factor": 8.0}], ids=["plain", "divided"]
)
def test_only_the_rows_are_work(only_rows: None, dtype: Any, settings: dict[str, Any]) -> None:
    generator = np.random.default_rng(1)
    shape, other = (50, 3), (7,)
    weights = [numbers(generator, shape, dtype, 0.2), numbers(generator, other, dtype)]
    pair = Pair(weights, learning_rate=0.1, **settings)
    for count in (5, 0, 33, 1, 17):
        indices = generator.integers(0, shape[0], count)
        rows = SparseRows(indices, numbers(generator, (count, 3), dtype, 0.02), shape)
        pair.apply([rows, numbers(generator, other, dtype)])
        assert elements_of_work(pair.inner[1]._state) == 3 * len(set(indices.tolist())) + 7
    pair.apply([numbers(generator, shape, dtype), None])
    pair.apply([rows, None])


def test_neighbouring_rows_are_one_run_and_long_runs_have_several_chunks(only_rows: None) -> None:
    length = CHUNK // 2 + 3
    generator = np.random.default_rng(2)
    pair = Pair([numbers(generator, (9, length), FLOAT32)], learning_rate=0.5)
    rows = numbers(generator, (5, length), FLOAT32)
    pair.apply([SparseRows([7, 1, 2, 3, 8], rows, (9, length))])
    (group,) = pair.inner[1]._state._row_groups.values()
    chunks = group.chunks.host.reshape(-1, layout.CHUNK_WORDS)
    expected = [[0, start, min(CHUNK, 3 * length - start)] for start in range(0, 3 * length, CHUNK)]
    expected += [[1, start, min(CHUNK, 2 * length - start)] for start in range(0, 2 * length, CHUNK)]
    assert chunks[: len(expected)].tolist() == expected
    assert not chunks[len(expected) :].any()


@pytest.mark.parametrize("value", [1.0, -0.0, np.inf, np.nan])
@pytest.mark.parametrize("rate", [0.1, 0.0, -0.0, -0.1, 1e6])
@every_dtype
@pytest.mark.share(4)
def test_the_other_rows_are_those_of_the_rule(dtype: Any, rate: float, value: float) -> None:
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]
    weights = convert(np.tile(np.array(special), (5, 1)), dtype)
    values = convert(np.array([[value, 1.0, -1.0, 0.5, -0.0, 2.0]] * 2), dtype)
    pair = Pair([weights], learning_rate=rate)
    for _ in range(2):
        pair.apply([SparseRows([3, 1], values, (5, 6))])


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.5},
        {"use_ema": True},
        {"gradient_accumulation_steps": 2},
        {"weight_decay": 0.1},
        {"clipnorm": 0.5},
        {"global_clipnorm": 0.5},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_rules_that_change_all_rows_do_so(settings: dict[str, Any]) -> None:
    generator = np.random.default_rng(3)
    pair = Pair([numbers(generator, (9, 2), FLOAT32)], learning_rate=0.1, **settings)
    for value in (1.0, np.nan):
        pair.apply([SparseRows([4], np.full((1, 2), value, np.float32), (9, 2))])
    assert not pair.inner[1]._state._row_groups


def test_a_schedule_and_a_scaled_loss_with_several_dtypes(only_rows: None) -> None:
    generator = np.random.default_rng(4)
    shape = (12, 4)
    weights = [numbers(generator, shape, dtype) for dtype in DTYPES]
    pair = Pair(weights, learning_rate=schedules.CosineDecay(0.1, 7))
    scaled = Pair(weights, learning_rate=0.1, scaling=(8.0, 2))
    for call in range(4):
        rows: list[Any] = [
            SparseRows(generator.integers(0, 12, 6), numbers(generator, (6, 4), dtype, 0.0), shape)
            for dtype in DTYPES
        ]
        pair.apply(rows)
        if call == 2:
            rows[1].values[0, 0] = np.inf
        scaled.apply(rows)


def test_rows_of_variables_with_gaps_and_matrices_of_scipy(only_rows: None) -> None:
    generator = np.random.default_rng(5)
    pair = Pair([numbers(generator, (9, 8), FLOAT32)], layout=pairs.with_gaps, learning_rate=0.1)
    places = generator.integers(0, 9, 30), generator.integers(0, 8, 30)
    matrix = scipy.sparse.coo_array((numbers(generator, 30, FLOAT32), places), shape=(9, 8))
    pair.apply([matrix])
    pair.apply([scipy.sparse.csr_array(matrix)])
