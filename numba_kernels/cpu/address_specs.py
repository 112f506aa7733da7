"""A check of hundreds of addresses at once, for memory without array objects."""

from __future__ import annotations

import functools
from typing import Any

from numba_kernels.cpu.addresses import thread_flushes_subnormals
from numba_kernels.cpu.array_specs import overlaps
from numba_kernels.cpu.cache import kernel

SIGNATURE = "boolean(int64[::1], int64[::1], int64[::1], int64[::1])"
"""Addresses, lengths in bytes, element sizes in bytes, and occupied memory."""


@functools.cache
def address_check() -> Any:
    """Return the kernel that says whether a step can read memory directly.

    It takes, for each stretch of memory, its address, its length in bytes and the size of an element. The
    last argument is the memory that the step writes: for each region its first address and the first address
    after it, in increasing order. The answer is no if an address is not a multiple of the element size, if
    memory is occupied, or if this thread flushes subnormal numbers to zero.

    >>> import numpy as np
    >>> occupied = np.array([64, 128])
    >>> def check(address, length):
    ...     return address_check()(np.array([address]), np.array([length]), np.array([4]), occupied)
    >>> check(32, 32), check(32, 36), check(128, 8), check(34, 4), check(64, 0)
    (True, False, True, False, True)
    """

    @kernel("check_addresses", SIGNATURE)
    def check(addresses: Any, lengths: Any, itemsizes: Any, occupied: Any) -> Any:
        if thread_flushes_subnormals():
            return False
        for index in range(addresses.shape[0]):
            address, length = addresses[index], lengths[index]
            if address & (itemsizes[index] - 1):
                return False
            if length != 0 and overlaps(address, address + length, occupied):
                return False
        return True

    return check
