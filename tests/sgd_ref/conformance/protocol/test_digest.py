"""Digests: the hash as the page defines it, computed element by element in Python integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.conformance.protocol.digest import digest_of, digested, window_positions

MODULUS = 2**31 - 1


def hash_of(array: Array) -> int:
    total = number = 0
    for element in array.reshape(-1):
        pattern = element.tobytes()[::-1].hex()
        for start in range(0, len(pattern), 4):
            number += 1
            total = (total + number * int(pattern[start : start + 4], 16)) % MODULUS
    return total


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (70000,)])
def test_the_hash_is_that_of_the_page(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(len(shape))
    unsigned = generator.integers(0, 2 ** (8 * dtype.itemsize), shape, np.uint64, endpoint=False)
    array = np.asarray(unsigned.astype(f"u{dtype.itemsize}")).view(dtype).reshape(shape)
    digest = digest_of(array)
    assert digest.hash == hash_of(array)
    assert (digest.dtype, digest.shape, digest.size) == (dtype, shape, array.size)


def test_the_order_is_that_of_the_indices() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest_of(np.asfortranarray(matrix)).hash == digest_of(matrix).hash
    assert digest_of(matrix[::-1]).hash == digest_of(matrix[::-1].copy()).hash != digest_of(matrix).hash


@pytest.mark.parametrize("position", [0, 1, 40000, 65535, 65536, 69999])
def test_each_element_counts(position: int) -> None:
    array = np.ones(70000, np.float64)
    other = array.copy()
    other[position] = np.nextafter(1.0, 2.0)
    assert digest_of(array).hash != digest_of(other).hash


def test_the_window() -> None:
    assert window_positions(0) == []
    assert window_positions(5) == [0, 1, 2, 3, 4]
    assert window_positions(65536) == [0, 1, 2, 3, 65532, 65533, 65534, 65535]
    assert window_positions(2**20) == [0, 1, 2, 3, *range(65534, 65538), *range(2**20 - 4, 2**20)]
    array = np.arange(70000, dtype=np.float32)
    assert digest_of(array).window.tolist() == window_positions(70000)


def test_all_arrays_of_a_trajectory_are_digested() -> None:
    array = np.ones((2, 3), np.float32)
    (record,) = digested([{"variables": [array], "velocities": [], "calls": 3, "learning_rate": array[0, 0]}])
    assert record["variables"][0].hash == digest_of(array).hash
    assert (record["velocities"], record["calls"], record["learning_rate"]) == ([], 3, 1.0)
    assert digested([record]) == [record]
