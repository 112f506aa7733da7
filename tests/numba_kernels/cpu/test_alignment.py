"""Lines of the cache: where memory lies, how variables are cut into chunks, and that it changes no bit."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from numba_kernels.cpu.alignment import LINE, elements_before_line, zeros_beside
from numba_kernels.cpu.plan import CHUNK, FEWEST_TO_ALIGN, chunks_of

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
DTYPES, Pair, numbers = agreement["DTYPES"], agreement["Pair"], agreement["numbers"]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)

FEATURES = {**agreement["EVERYTHING"], "gradient_accumulation_steps": 2}

OFFSETS = (0, 8, 16, 40, 56)
"""Bytes after the beginning of a line; those of a float64."""


def at_offset(array: Any, offset: int) -> Any:
    """Return a copy that begins so many bytes after the beginning of a line."""
    memory = np.zeros(array.nbytes + 2 * LINE, np.uint8)
    first = -memory.ctypes.data % LINE + offset
    copy = memory[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@every_dtype
@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (70, 90)], ids=str)
def test_slots_lie_as_their_variables(dtype: Any, offset: int, shape: Any) -> None:
    w = at_offset(np.ones(shape, dtype), offset)
    zeros = zeros_beside(w)
    assert (zeros.shape, zeros.dtype) == (w.shape, w.dtype)
    assert not zeros.astype(np.float32).any()
    # What is empty lies nowhere.
    assert (zeros.ctypes.data - w.ctypes.data) % LINE == 0 or not w.size
    optimizer = numba_kernels.SGD(momentum=0.9, use_ema=True, gradient_accumulation_steps=2)
    optimizer.build([w])
    for kept in (optimizer.velocities, optimizer.averages, optimizer.accumulators):
        assert (kept[0].ctypes.data - w.ctypes.data) % LINE == 0 or not w.size
        assert kept[0].flags.c_contiguous
        assert kept[0].flags.aligned


@every_dtype
def test_slots_of_a_variable_that_is_not_aligned_are(dtype: Any) -> None:
    zeros = zeros_beside(at_offset(np.ones(50, dtype), 13))
    assert zeros.flags.aligned
    assert zeros.ctypes.data % LINE == 13 - 13 % dtype.itemsize


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("offset", OFFSETS)
def test_elements_before_a_line(dtype: str, offset: int) -> None:
    w = at_offset(np.ones(100, dtype), offset)
    head = elements_before_line(w)
    assert w[head:].ctypes.data % LINE == 0
    assert head * w.itemsize < LINE


def test_chunks_cover_every_element_once() -> None:
    sizes = [0, 1, 40, CHUNK, CHUNK + 15, 3 * CHUNK + 16, 7]
    heads = [0, 0, 12, 16, 15, 1, 7]
    covered = [np.zeros(size, int) for size in sizes]
    for row, start, count in chunks_of(sizes, heads).tolist():
        assert 0 < count <= CHUNK
        assert start == 0 or (start - heads[row]) % CHUNK == 0
        covered[row][start : start + count] += 1
    assert all((times == 1).all() for times in covered)


@pytest.mark.share(3)
@every_dtype
@pytest.mark.parametrize("offset", OFFSETS)
def test_all_chunks_but_the_first_begin_with_a_line(dtype: Any, offset: int) -> None:
    shapes = [(FEWEST_TO_ALIGN - 1,), (FEWEST_TO_ALIGN,), (2 * CHUNK + 5,)]
    variables = [at_offset(np.zeros(shape, dtype), offset) for shape in shapes]
    optimizer = numba_kernels.SGD(momentum=0.9)
    optimizer.apply([np.ones(shape, dtype) for shape in shapes], variables)
    assert optimizer._plan is not None
    (group,) = optimizer._plan.groups
    chunks = group.chunks.tolist()
    assert [start for row, start, _ in chunks if row == 0] == [0]
    for row, start, _ in chunks:
        if row > 0 and start > 0:
            assert variables[row].reshape(-1)[start:].ctypes.data % LINE == 0
    of_rows = [[index for index, chunk in enumerate(chunks) if chunk[0] == row] for row in range(3)]
    # Exactly so many elements are enough for a chunk of the first ones.
    assert len(of_rows[1]) == (2 if offset else 1)
    assert group.chunks_of_row.tolist() == [0, *(indices[-1] + 1 for indices in of_rows)]


@pytest.mark.share(4)
@every_dtype
@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("threads", [1, 2])
def test_where_arrays_begin_changes_no_bit(
    dtype: Any, offset: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba_kernels.cpu.plan.FEWEST_FOR_A_THREAD", 1000)
    generator = np.random.default_rng(offset)
    shapes = [(FEWEST_TO_ALIGN,), (17,), (0,), (3, CHUNK // 2 + 1)]
    pair = Pair(
        [numbers(generator, shape, dtype) for shape in shapes],
        lambda array: at_offset(array, offset),
        threads=threads,
        **FEATURES,
    )
    for call in range(4):
        # Gradients lie elsewhere than variables.
        gradients = [
            at_offset(numbers(generator, shape, dtype), OFFSETS[(call + row) % len(OFFSETS)])
            for row, shape in enumerate(shapes)
        ]
        pair.apply(gradients)


@every_dtype
@pytest.mark.parametrize("settings", [{"clipnorm": 0.5}, {"global_clipnorm": 0.5}], ids=str)
def test_norms_of_sparse_gradients_and_of_gaps(dtype: Any, settings: dict[str, Any]) -> None:
    """Their chunks are other ones than those of the variable."""
    generator = np.random.default_rng(3)
    shape = (FEWEST_TO_ALIGN, 20)
    pair = Pair(
        [numbers(generator, shape, dtype) for _ in range(3)],
        lambda array: at_offset(array, 40),
        momentum=0.9,
        **settings,
    )
    for _ in range(3):
        indices = generator.integers(0, shape[0], 3000)
        rows = sgd_ref.SparseRows(indices, numbers(generator, (3000, 20), dtype), shape)
        gaps = numbers(generator, (shape[0], 40), dtype)[:, ::2]
        pair.apply([rows, gaps, numbers(generator, shape, dtype)])
