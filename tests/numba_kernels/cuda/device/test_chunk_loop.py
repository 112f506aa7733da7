"""The loops over chunks: every element once, in its place, no byte outside, for any memory and threads."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda import simulated
from numba_kernels.cuda.device.access import PACKET_BYTES
from numba_kernels.cuda.device.chunk_loop import chunk_fold, chunk_loop
from numba_kernels.cuda.device.storage import storage
from numba_kernels.cuda.toolkit import IS_SIMULATED
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64

pytestmark = pytest.mark.skipif(
    not IS_SIMULATED, reason="calls functions of kernels as Python, in the simulator"
)

ARRAYS = 5
DTYPES = [FLOAT16, BFLOAT16, FLOAT32, FLOAT64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)

subsets = st.lists(st.integers(0, ARRAYS - 1), min_size=1, max_size=ARRAYS, unique=True)


class Places(NamedTuple):
    """Arrays of the host that stand for those on the device, amid elements that nobody may touch."""

    memories: list[Any]
    arrays: list[Any]

    def addresses(self, used: set[int]) -> tuple[int, ...]:
        """Return the addresses, 0 of what is not to be touched, and let kernels touch the rest."""
        simulated.allow((self.arrays[i].ctypes.data, self.arrays[i].nbytes) for i in used)
        return tuple(array.ctypes.data if i in used else 0 for i, array in enumerate(self.arrays))


def places(dtype: Any, count: int, offsets: list[int]) -> Places:
    """Return arrays of distinct small integers, each so many elements after a multiple of 16 bytes."""
    memories, arrays = [], []
    for index, offset in enumerate(offsets):
        memory = np.zeros((count + 24) * dtype.itemsize, np.uint8)
        start = -memory.ctypes.data % PACKET_BYTES + offset * dtype.itemsize
        array = memory[start : start + count * dtype.itemsize].view(dtype)
        memory.view(dtype)[...] = dtype.type(99)
        # Numbers below 256, which all dtypes have.
        array[...] = ((np.arange(count) * (index + 1)) % 100).astype(dtype)
        memories.append(memory)
        arrays.append(array)
    return Places(memories, arrays)


@pytest.mark.share(2)
@every_dtype
@settings(max_examples=60, deadline=None)
@given(
    subsets,
    subsets,
    st.integers(0, 45),
    st.integers(1, 9),
    st.one_of(
        st.just([0] * ARRAYS), st.lists(st.integers(0, 7), min_size=ARRAYS, max_size=ARRAYS), st.just([1] * 5)
    ),
)
def test_every_element_is_written_once(
    dtype: Any, reads: list[int], writes: list[int], count: int, threads: int, offsets: list[int]
) -> None:
    stored = storage(dtype)
    calls = 0

    def element(numbers: tuple[Any, ...], more: Any) -> tuple[Any, ...]:
        nonlocal calls
        calls += 1
        assert len(numbers) == len(reads)
        total = sum(map(float, numbers)) % 64
        return tuple(stored.compute.type(total + more + 2 * place) for place in range(len(writes)))

    made = places(dtype, count, offsets)
    before = [array.astype(np.float64) for array in made.arrays]
    outside = [memory.copy() for memory in made.memories]
    addresses = made.addresses({*reads, *writes})
    loop = chunk_loop(stored, element, reads, writes)
    for thread in range(threads):
        loop(addresses, count, 1, thread, threads)
    assert calls == count
    total = sum(before[i] for i in reads) % 64
    for i, array in enumerate(made.arrays):
        expected = total + 1 + 2 * writes.index(i) if i in writes else before[i]
        assert array.astype(np.float64).tolist() == expected.tolist()
        start = array.ctypes.data - made.memories[i].ctypes.data
        made.memories[i][start : start + array.nbytes] = outside[i][start : start + array.nbytes]
        assert made.memories[i].tobytes() == outside[i].tobytes()


@every_dtype
@settings(max_examples=60, deadline=None)
@given(
    subsets,
    st.integers(0, 45),
    st.integers(1, 9),
    st.one_of(st.just([0] * ARRAYS), st.lists(st.integers(0, 7), min_size=ARRAYS, max_size=ARRAYS)),
)
def test_every_element_is_folded_once(
    dtype: Any, reads: list[int], count: int, threads: int, offsets: list[int]
) -> None:
    stored = storage(dtype)

    def step(folded: list[Any], numbers: tuple[Any, ...], more: Any) -> list[Any]:
        assert more == "more"
        return [*folded, tuple(map(float, numbers))]

    made = places(dtype, count, offsets)
    addresses = made.addresses(set(reads))
    fold = chunk_fold(stored, step, reads)
    folded: list[Any] = []
    for thread in range(threads):
        folded = fold(folded, addresses, count, "more", thread, threads)
    expected = zip(*(made.arrays[i].astype(np.float64).tolist() for i in reads), strict=True)
    assert Counter(folded) == Counter(expected)


@every_dtype
def test_packets_are_read_where_the_memory_allows(dtype: Any) -> None:
    """Otherwise a part of the bandwidth would be lost, and every result still be right."""
    stored = storage(dtype)
    read = []

    def read_packet(address: int) -> Any:
        read.append(address)
        return stored.access.read_packet(address)

    access = stored.access._replace(read_packet=read_packet)
    loop = chunk_loop(stored._replace(access=access), lambda numbers, more: numbers, [0, 1], [0, 1])
    count = 3 * stored.width + 1
    for offsets, packets in (([0] * ARRAYS, 6), ([0, 1, 0, 0, 0], 0), ([0, 0, 1, 1, 1], 6)):
        read.clear()
        made = places(dtype, count, offsets)
        loop(made.addresses({0, 1}), count, 0, 0, 1)
        assert len(read) == packets


@every_dtype
def test_each_thread_of_a_block_has_packets_next_to_those_of_the_others(dtype: Any) -> None:
    stored = storage(dtype)
    count, threads = 4 * stored.width + 1, 2
    made = places(dtype, count, [0] * ARRAYS)
    fold = chunk_fold(stored, lambda folded, numbers, more: [*folded, float(numbers[0])], [0])
    addresses = made.addresses({0})
    values = made.arrays[0].astype(np.float64).tolist()
    first = fold([], addresses, count, None, 0, threads)
    width = stored.width
    assert first == [*values[:width], *values[2 * width : 3 * width], values[4 * width]]


def test_memory_that_was_not_given_is_refused() -> None:
    stored = storage(FLOAT32)
    made = places(FLOAT32, 9, [0] * ARRAYS)
    addresses = made.addresses({0})
    loop = chunk_loop(stored, lambda numbers, more: numbers, [0], [0])
    for count, start in ((10, 0), (9, 4), (9, -4)):
        moved = (addresses[0] + start, *addresses[1:])
        with pytest.raises(
            IndexError, match=r"a kernel must touch only memory that it was given, got 4 bytes"
        ):
            loop(moved, count, 0, 0, 1)
    with pytest.raises(ValueError, match="a packet must lie at a multiple of 16 bytes"):
        stored.access.read_packet(addresses[0] + 4)
