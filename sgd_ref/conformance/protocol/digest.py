"""A digest of a big array: a hash of all its bits, and a window of elements for people to look at.

An implementation may answer with digests to a case whose arrays a rule makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Record, Trajectory

MODULUS = 2**31 - 1

MIDDLE = range(2**16 - 2, 2**16 + 2)
"""Positions around the end of 16-bit counts."""

ENDS = 4
"""Number of elements at either end."""


@dataclass(frozen=True)
class Digest:
    """A digest that stands for an array.

    Attributes
    ----------
    dtype : dtype
        The dtype of the array.
    shape : tuple of int
        The shape of the array.
    hash : int
        The sum of all ``(k + 1) * part``, modulo 2**31 - 1, where the parts are the bit patterns of the
        elements in row-major order, each cut into 16-bit numbers, the most significant one first, and k
        counts them from 0.
    window : ndarray
        The elements at ``window_positions``.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    hash: int
    window: Array

    @property
    def size(self) -> int:
        """The number of elements of the array."""
        return int(np.prod(self.shape, dtype=np.int64))


def window_positions(size: int) -> list[int]:
    """Return the positions of the window of an array: at both ends, and around 2**16 if it is that long.

    >>> window_positions(6), window_positions(65537)[4:6]
    ([0, 1, 2, 3, 4, 5], [65533, 65534])
    """
    chosen = {*range(ENDS), *MIDDLE, *range(size - ENDS, size)}
    return sorted(position for position in chosen if 0 <= position < size)


def digest_of(array: Array) -> Digest:
    """Return the digest of an array.

    >>> digest_of(np.array([1.0, -2.0], "float32")).hash == 1 * 0x3F80 + 2 * 0 + 3 * 0xC000 + 4 * 0
    True
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    size = flat.dtype.itemsize
    parts = flat.view(f"u{size}").astype(f">u{size}").view(">u2").astype(np.int64)
    weights = np.arange(1, parts.size + 1, dtype=np.int64)
    # Each product is below 2**39 and there are at most 2**23: no sum passes 2**63.
    total = int((weights * parts).sum()) % MODULUS
    return Digest(flat.dtype, array.shape, total, flat[window_positions(flat.size)])


def digested(trajectory: Trajectory) -> list[Record]:
    """Return a trajectory in which digests stand for all arrays of records."""

    def replaced(value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        return [part if isinstance(part, Digest) else digest_of(np.asarray(part)) for part in value]

    return [{key: replaced(value) for key, value in record.items()} for record in trajectory]
