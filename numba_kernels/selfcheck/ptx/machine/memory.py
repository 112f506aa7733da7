"""Global memory: allocations with gaps between them, in which every access is checked."""

from __future__ import annotations

import bisect
from typing import Any

import numpy as np

from numba_kernels.selfcheck.ptx.faults import Fault
from sgd_ref.arithmetic.formats import Array

BASE = 0x0B0B_0000_0000
"""The first address: beyond 2**32, and outside of the memory of the host."""

ALIGNMENT = 256
"""The alignment of allocations, as on a device."""

RED_ZONE = 1024
"""The number of bytes before and after an allocation that belong to no allocation."""

FREE, FRESH, WRITTEN = 0, 1, 2
"""The state of a byte: not allocated, allocated, allocated and written."""


class Memory:
    """The memory of a device.

    Parameters
    ----------
    size : int
        The size in bytes; the system provides pages at their first use.
    seed : int
        The seed of its content before it is written.

    Attributes
    ----------
    bytes, state : ndarray of uint8
        The content, and for each byte one of `FREE`, `FRESH` and `WRITTEN`.
    """

    def __init__(self, size: int = 1 << 30, seed: int = 0) -> None:
        self.bytes = np.empty(size, np.uint8)
        self.state = np.zeros(size, np.uint8)
        self._generator = np.random.default_rng(seed)
        self._sizes: dict[int, int] = {}
        self._holes = [(0, size)]
        self._views: dict[tuple[str, int], Array] = {}

    def allocate(self, size: int) -> int:
        """Return the address of a fresh allocation, with random content.

        Raises
        ------
        MemoryError
            If there is not enough room.
        """
        room = -(-(max(size, 1) + 2 * RED_ZONE) // ALIGNMENT) * ALIGNMENT
        for place, (start, end) in enumerate(self._holes):
            if end - start >= room:
                self._holes[place] = (start + room, end)
                offset = start + RED_ZONE
                self._sizes[offset] = size
                self.bytes[offset : offset + size] = self._generator.integers(0, 256, size, np.uint8)
                self.state[offset : offset + size] = FRESH
                return BASE + offset
        raise MemoryError(f"the device has no room for {size} bytes")

    def free(self, address: int) -> None:
        """Free an allocation.

        Raises
        ------
        Fault
            If there is no allocation at this address.
        """
        offset = address - BASE
        if offset not in self._sizes:
            raise Fault("host", f"memory that is freed must have been allocated, got {address:#x}")
        size = self._sizes.pop(offset)
        self.state[offset : offset + size] = FREE
        start = offset - RED_ZONE
        end = start + -(-(max(size, 1) + 2 * RED_ZONE) // ALIGNMENT) * ALIGNMENT
        self._add_hole(start, end)

    def _add_hole(self, start: int, end: int) -> None:
        place = bisect.bisect_left(self._holes, (start, end))
        if place < len(self._holes) and self._holes[place][0] == end:
            end = self._holes.pop(place)[1]
        if place and self._holes[place - 1][1] == start:
            start = self._holes.pop(place - 1)[0]
            place -= 1
        self._holes.insert(place, (start, end))

    def allocation_of(self, address: int) -> tuple[int, int] | None:
        """Return the first address and the size of the allocation in which an address lies."""
        starts = sorted(self._sizes)
        place = bisect.bisect_right(starts, address - BASE) - 1
        if place < 0 or address - BASE >= starts[place] + max(self._sizes[starts[place]], 1):
            return None
        return BASE + starts[place], self._sizes[starts[place]]

    def allocations(self) -> list[tuple[int, int]]:
        """Return the address and the size of each allocation, in the order of addresses."""
        return [(BASE + offset, size) for offset, size in sorted(self._sizes.items())]

    @property
    def allocated(self) -> int:
        """Number of bytes in all allocations."""
        return sum(self._sizes.values())

    def view(self, dtype: np.dtype[Any], state: bool = False) -> Array:
        """Return the whole memory, or its state, as numbers of a dtype."""
        key = ("state" if state else dtype.char, dtype.itemsize)
        found = self._views.get(key)
        if found is None:
            source = self.state if state else self.bytes
            found = self._views[key] = source.view(f"u{dtype.itemsize}" if state else dtype)
        return found

    def places(self, addresses: Array, size: int, needs: int, what: Any) -> Array:
        """Check accesses, and return their indices in an array of numbers of the size of the accesses.

        Parameters
        ----------
        addresses : ndarray of uint64
        size : int
            The size in bytes: 2, 4, 8, or 16; for 16, the indices are those of 8-byte numbers.
        needs : int
            The required state: `WRITTEN` for reading, `FRESH` for writing.
        what : callable
            A function from the index of a bad address to a text about the instruction and the thread.
        """
        offsets = addresses - np.uint64(BASE)
        if (offsets & np.uint64(size - 1)).any():
            bad = int(np.flatnonzero(offsets & np.uint64(size - 1))[0])
            raise Fault("alignment", f"{what(bad)}: {int(addresses[bad]):#x} is no multiple of {size}")
        if (offsets >= np.uint64(self.bytes.size)).any():
            bad = int(np.flatnonzero(offsets >= np.uint64(self.bytes.size))[0])
            raise Fault(
                "bounds", f"{what(bad)}: {size} bytes at {int(addresses[bad]):#x} are in no allocation"
            )
        unit = min(size, 8)
        places = (offsets // np.uint64(unit)).astype(np.int64)
        states = self.view(np.dtype(f"u{unit}"), state=True)
        for lane in range(size // unit):
            self._check(states[places + lane] if lane else states[places], unit, needs, addresses, what)
        return places

    def _check(self, states: Array, unit: int, needs: int, addresses: Array, what: Any) -> None:
        pattern = states.dtype.type(int.from_bytes(bytes([WRITTEN] * unit), "little"))
        good = states == pattern
        if good.all():
            return
        odd = np.flatnonzero(~good)
        each = states[odd].view(np.uint8).reshape(-1, unit)
        wrong = (each < needs).any(1)
        if not wrong.any():
            return
        bad = int(odd[np.flatnonzero(wrong)[0]])
        kind = "bounds" if (states[bad : bad + 1].view(np.uint8) == FREE).any() else "uninitialised"
        why = "is in no allocation" if kind == "bounds" else "was never written"
        raise Fault(kind, f"{what(bad)}: memory at {int(addresses[bad]):#x} {why}")

    def mark(self, places: Array, size: int) -> None:
        """Note that numbers were written at some indices."""
        unit = min(size, 8)
        states = self.view(np.dtype(f"u{unit}"), state=True)
        pattern = states.dtype.type(int.from_bytes(bytes([WRITTEN] * unit), "little"))
        for lane in range(size // unit):
            states[places + lane] = pattern

    def region(self, address: int, size: int, what: str) -> slice:
        """Return the range of bytes that the host names, which must lie in one allocation.

        Raises
        ------
        Fault
            If they do not.
        """
        found = self.allocation_of(address)
        if size and (found is None or address + size > found[0] + found[1]):
            raise Fault("host", f"{what}: {size} bytes at {address:#x} are in no allocation")
        return slice(address - BASE, address - BASE + size)
