"""A check of hundreds of tensors in microseconds: a kernel asks their library in C about each of them.

Asking for the address, dtype and layout of 161 tensors from Python takes 40 microseconds; the kernel takes 4.
It uses the function that DLPack calls ``dltensor_from_py_object_no_sync``
(https://github.com/pytorch/pytorch/pull/169724). For a library without this function, every call goes the
long way.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_kernels.cpu.addresses import thread_flushes_subnormals
from numba_kernels.cpu.array_specs import overlaps
from numba_kernels.cpu.cache import entry, kernel
from numba_kernels.shared.array_object import ITEMS, TYPE
from numba_kernels.shared.dlpack import HOST
from numba_kernels.shared.dlpack_specs import DATA_WORD, OFFSET_WORD, WORDS, fits, forms
from numba_kernels.shared.pointers import int64_at
from numba_kernels.shared.slots import MISSING
from sgd_ref.arithmetic.formats import Array

REFUSED, COMPLETE, INCOMPLETE = range(3)
"""Answers: the tensors need the full check; all of them are there; some of them are missing."""

SIGNATURE_OF_FIND = (
    "int64(int64, int64, int64, int64, int64, int64[:, ::1], int64[::1], int64[::1], int64[:, ::1], "
    "int64[::1], int64[::1])"
)
"""The library's function, identities of the list, of the two types and of ``None``, forms, axes, room for a
description, lengths and alignments in bytes, occupied memory, and the addresses."""

SIGNATURE_OF_UNCHANGED = (
    "boolean(int64, int64, int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1])"
)
"""The library's function, identities of the list and of the tensors, forms, axes, room, and the addresses."""


@functools.cache
def _finding() -> Any:
    @kernel("find_tensors", SIGNATURE_OF_FIND, releases_lock=False)
    def find(
        describe: int,
        objects: int,
        first_type: int,
        second_type: int,
        nothing: int,
        forms: Any,
        axes: Any,
        room: Any,
        sizes: Any,
        occupied: Any,
        addresses: Any,
    ) -> Any:
        """Set the addresses of tensors that have the expected form and overlap no occupied memory."""
        if thread_flushes_subnormals():
            return REFUSED
        items = int64_at(objects + ITEMS)
        answer = COMPLETE
        for index in range(forms.shape[0]):
            item = int64_at(items + 8 * index)
            if item == nothing:
                addresses[index] = MISSING
                answer = INCOMPLETE
                continue
            item_type = int64_at(item + TYPE)
            is_of_type = item_type == first_type or item_type == second_type  # noqa: PLR1714
            if not is_of_type or not fits(describe, item, forms, index, axes, room):
                return REFUSED
            address, length = room[DATA_WORD] + room[OFFSET_WORD], sizes[index, 0]
            # An address of an earlier call was looked up then.
            if address != addresses[index] and length != 0:
                is_aligned = address & (sizes[index, 1] - 1) == 0
                if address == 0 or not is_aligned or overlaps(address, address + length, occupied):
                    return REFUSED
            addresses[index] = address
        return answer

    return find


@functools.cache
def _comparing() -> Any:
    @kernel("unchanged_tensors", SIGNATURE_OF_UNCHANGED, releases_lock=False)
    def unchanged(
        describe: int, objects: int, identities: Any, forms: Any, axes: Any, room: Any, addresses: Any
    ) -> Any:
        """Whether a list consists of known tensors, each in its known form at its known address."""
        items = int64_at(objects + ITEMS)
        for index in range(identities.shape[0]):
            item = int64_at(items + 8 * index)
            if item != identities[index] or not fits(describe, item, forms, index, axes, room):
                return False
            if room[DATA_WORD] + room[OFFSET_WORD] != addresses[index]:
                return False
        return True

    return unchanged


class TensorSpecs:
    """The expected form of each of many tensors in the memory of the host.

    Parameters
    ----------
    describe : int
        The address of the function that describes the tensors, from `describing_function`; 0 if there is
        none. Then no tensors are accepted.
    shapes, strides : sequence of tuple of int
        The shape of each tensor, and its strides in elements.
    dtypes : sequence of dtype
        The dtype of each tensor.
    """

    def __init__(
        self,
        describe: int,
        shapes: Sequence[tuple[int, ...]],
        strides: Sequence[tuple[int, ...]],
        dtypes: Sequence[np.dtype[Any]],
    ) -> None:
        self._describe, self._count = describe, len(shapes)
        self._forms, self._axes = forms(shapes, strides, dtypes, HOST, 0)
        self._room = np.zeros(WORDS, np.int64)
        self._sizes = np.array(
            [
                (int(np.prod(shape, dtype=np.int64)) * dtype.itemsize, dtype.itemsize)
                for shape, dtype in zip(shapes, dtypes, strict=True)
            ],
            np.int64,
        ).reshape(-1, 2)
        # The kernels are compiled here, so that no later step has to wait for the compiler.
        self._find, self._unchanged = entry(_finding()), entry(_comparing())

    def find(self, tensors: list[Any], kinds: tuple[type, type], occupied: Array, addresses: Array) -> int:
        """Find the addresses of tensors that a step may read directly.

        Parameters
        ----------
        tensors : list
            As many tensors as were expected, or None in the place of some. No other thread may change the
            list during the call.
        kinds : tuple of two types
            The types that the function describes; derived types are not accepted.
        occupied : ndarray of int64
            Memory that no tensor may overlap: for each region its first address and the first address after
            it, in increasing order.
        addresses : ndarray of int64
            Receives the addresses, and ``MISSING`` for None; it must be as long. Pass zeros first, and then
            the same array for all calls with the same `occupied`.

        Returns
        -------
        int
            `REFUSED` if a tensor does not fit or if this thread flushes subnormal numbers to zero; otherwise
            `COMPLETE`, or `INCOMPLETE` if some tensors are missing.
        """
        if not self._describe or len(tensors) != self._count:
            return REFUSED
        first, second = kinds
        found: int = self._find(
            self._describe,
            id(tensors),
            id(first),
            id(second),
            id(None),
            self._forms,
            self._axes,
            self._room,
            self._sizes,
            occupied,
            addresses,
        )
        return found

    def are_unchanged(self, tensors: list[Any], identities: Array, addresses: Array) -> bool:
        """Whether a list consists of the tensors with these identities, in their form at their addresses.

        Parameters
        ----------
        tensors : list
            Any objects. No other thread may change the list during the call.
        identities, addresses : ndarray of int64
            The identities of living tensors, as many as were expected, and their addresses.
        """
        if not self._describe or len(tensors) != self._count:
            return False
        return bool(
            self._unchanged(
                self._describe, id(tensors), identities, self._forms, self._axes, self._room, addresses
            )
        )
