"""The variables of one dtype in a call with sparse gradients: only the rows of these gradients are work.

The host copies the rows, and tables in which each run of neighbouring rows is a variable of its own. So the
kernels that update need not know of rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.cuda.arrays.allocation import to_numba, wait_for_device
from numba_kernels.cuda.arrays.arrays import view
from numba_kernels.cuda.device import layout
from numba_kernels.cuda.device.access import PACKET_BYTES
from numba_kernels.cuda.host.buffers import Buffer, copying_stream
from numba_kernels.cuda.host.groups import CHUNK, Group
from numba_kernels.shared.rows import Rows, may_touch_rows_only
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.settings import Settings


class Part(NamedTuple):
    """The tables of one variable.

    Attributes
    ----------
    table, gradients, decays : ndarray of int64, shapes (n, COLUMNS), (n,) and (n,)
        The addresses of the arrays and of the gradient of each run, and whether it decays.
    chunks : ndarray of int64, shape (m, CHUNK_WORDS)
        Runs are counted from 0.
    """

    table: Array
    gradients: Array
    decays: Array
    chunks: Array


class Section(NamedTuple):
    """A table within a buffer: its address on the device, and its content on the host."""

    address: int
    host: Array


class RowGroup(Group):
    """The same variables as those of a group, with tables that each call fills.

    Parameters
    ----------
    group : Group
        The group, with a row for each whole variable.
    rows, chunks : int
        The numbers of runs and of chunks for which there is room.

    Attributes
    ----------
    memory : object
        The array on the device that holds the rows of the gradients.
    form : tuple of int
        `rows` and `chunks`. Chunks that a call does not need have no elements.
    """

    def __init__(self, group: Group, rows: int, chunks: int) -> None:
        self._whole = group
        self.positions, self.dtype, self.constants = group.positions, group.dtype, group.constants
        self.settings = group.settings
        self.form = self.rows, self.chunk_count = rows, chunks
        lengths = {"table": layout.COLUMNS * rows, "gradients": rows, "decays": rows}
        self._tables = Buffer(np.zeros(sum(lengths.values()) + layout.CHUNK_WORDS * chunks, np.int64))
        first = 0
        for name, length in {**lengths, "chunks": layout.CHUNK_WORDS * chunks}.items():
            section = Section(self._tables.address + 8 * first, self._tables.host[first : first + length])
            setattr(self, name, section)
            first += length
        self.memory: Any = to_numba(np.zeros(PACKET_BYTES, np.uint8))

    def buffers(self) -> list[Any]:
        """Return all buffers that the kernels may access."""
        return [self._tables, self.settings]

    def has_room_for(self, parts: list[Part]) -> bool:
        """Whether the tables have room for all parts."""
        return _count(parts) <= self.rows and _count_of_chunks(parts) <= self.chunk_count

    def fill(self, parts: list[Part], handle: int) -> None:
        """Copy the tables of a call to the device, on a stream."""
        self._tables.host[:] = 0
        row = chunk = 0
        for part in parts:
            count, chunks = len(part.table), part.chunks.copy()
            chunks[:, layout.ROW] += row
            self.table.host.reshape(-1, layout.COLUMNS)[row : row + count] = part.table
            self.gradients.host[row : row + count] = part.gradients
            self.decays.host[row : row + count] = part.decays
            self.chunks.host.reshape(-1, layout.CHUNK_WORDS)[chunk : chunk + len(chunks)] = chunks
            row, chunk = row + count, chunk + len(chunks)
        self._tables.upload(handle)

    def place(self, rows: Mapping[int, Rows], handle: int) -> dict[int, int]:
        """Copy the rows of gradients to the device, on a stream; return their addresses, by position."""
        starts, end = {}, 0
        for position, found in rows.items():
            starts[position], end = end, end + -(-found.values.nbytes // PACKET_BYTES) * PACKET_BYTES
        if self.memory.size < end:
            self.memory = to_numba(np.zeros(_room_for(end), np.uint8))
            wait_for_device()
        joined = np.zeros(end, np.uint8)
        for position, found in rows.items():
            start = starts[position]
            joined[start : start + found.values.nbytes] = found.values.reshape(-1).view(np.uint8)
        if end:
            self.memory[:end].copy_to_device(joined, stream=copying_stream(handle))
        address = view("rows", self.memory).address
        return {position: address + start for position, start in starts.items()}

    def whole(self, position: int, address: int) -> Part:
        """Return the tables of a variable with a dense gradient, or without any."""
        group = self._whole
        row = group.positions.index(position)
        first, last = group.first_chunks[row : row + 2]
        chunks = group.chunks.host.reshape(-1, layout.CHUNK_WORDS)[first:last].copy()
        chunks[:, layout.ROW] = 0
        return Part(
            group.table.host[row : row + 1], np.array([address]), group.decays.host[row : row + 1], chunks
        )

    def runs(self, position: int, rows: Rows, address: int) -> Part:
        """Return the tables of a variable with a sparse gradient, which must be in order."""
        length = rows.values.shape[1]
        starts = np.flatnonzero(np.diff(rows.indices, prepend=-2) != 1) if length else np.zeros(0, np.int64)
        elements = np.diff(starts, append=len(rows.indices)) * length
        table = np.zeros((len(starts), layout.COLUMNS), np.int64)
        row_bytes = length * self.dtype.itemsize
        first = self._whole.table.host[self._whole.positions.index(position), layout.VARIABLE]
        table[:, layout.VARIABLE] = first + rows.indices[starts] * row_bytes
        pieces = -(-elements // CHUNK)
        chunks = np.zeros((int(pieces.sum()), layout.CHUNK_WORDS), np.int64)
        chunks[:, layout.ROW] = np.repeat(np.arange(len(starts)), pieces)
        number = np.arange(len(chunks)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        chunks[:, layout.START] = number * CHUNK
        chunks[:, layout.COUNT] = np.minimum(CHUNK, np.repeat(elements, pieces) - number * CHUNK)
        return Part(table, address + starts * row_bytes, np.zeros(len(starts), np.int64), chunks)


def rows_to_update(
    settings: Settings,
    groups: Sequence[Group],
    decayed: Sequence[bool],
    gradients: Sequence[Any],
    rate: np.float32,
) -> dict[int, Rows]:
    """Return the sparse gradients of a call that change their own rows only, by the position of the variable.

    A velocity, an average, an accumulator and decay change every row. Without them, ``w - lr * 0`` is `w`,
    even if `w` is -0.0, unless the rate is negative or -0.0, or infinite in the dtype. A norm that is not
    finite makes every row NaN, and only the device knows the norm.

    Parameters
    ----------
    settings : Settings
        The settings of the optimizer.
    groups : sequence of Group
        The groups of the optimizer.
    decayed : sequence of bool
        Whether weight decay applies to each variable.
    gradients : sequence
        The gradient of each variable: ``Rows`` where it is sparse.
    rate : float32
        The learning rate of the call; NaN if only the device knows it.
    """
    clips_by_norm = settings.clipnorm is not None or settings.global_clipnorm is not None
    if not may_touch_rows_only(settings) or clips_by_norm or np.signbit(rate) or not np.isfinite(rate):
        return {}
    found = {}
    for group in groups:
        with np.errstate(over="ignore"):
            is_finite = bool(np.isfinite(setting(float(rate), group.dtype)))
        if not is_finite or not group.settings.host[layout.LOSS_SCALE] > 0:
            continue
        for position in group.positions:
            decays = decayed[position] and settings.weight_decay is not None
            if isinstance(gradients[position], Rows) and not decays:
                found[position] = gradients[position]
    return found


def row_group(
    known: RowGroup | None, group: Group, rows: Mapping[int, Rows], addresses: Array, handle: int
) -> RowGroup:
    """Return the group of a call with sparse gradients, with its tables and rows on the device.

    Parameters
    ----------
    known : RowGroup or None
        The one of an earlier call, which is used again if it has room.
    group : Group
        The group with whole variables.
    rows : mapping of int to Rows
        The sparse gradients, by the position of their variable.
    addresses : ndarray of int64
        The addresses of all other gradients; 0 for a missing one.
    handle : int
        The stream of the call.
    """
    made = RowGroup(group, 1, 1) if known is None else known
    given = {position: rows[position].in_order() for position in group.positions if position in rows}
    placed = made.place(given, handle)
    parts = list(_parts(made, given, placed, addresses))
    if not made.has_room_for(parts):
        larger = RowGroup(group, _room_for(_count(parts)), _room_for(_count_of_chunks(parts)))
        larger.memory = made.memory
        made = larger
        wait_for_device()
    made.fill(parts, handle)
    return made


def _parts(
    made: RowGroup, rows: Mapping[int, Rows], placed: Mapping[int, int], addresses: Array
) -> Iterator[Part]:
    for position in made.positions:
        if position in rows:
            yield made.runs(position, rows[position], placed[position])
        else:
            yield made.whole(position, int(addresses[position]))


def _count(parts: list[Part]) -> int:
    return sum(len(part.table) for part in parts)


def _count_of_chunks(parts: list[Part]) -> int:
    return sum(len(part.chunks) for part in parts)


def _room_for(count: int) -> int:
    """Return a power of two, so that calls with somewhat other numbers of rows need no other memory."""
    return 1 << max(count - 1, 1).bit_length()
