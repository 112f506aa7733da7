"""The loop of a block over one chunk of some arrays: 16 bytes of each at a time where they allow it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba_kernels.cuda.memory import PACKET_BYTES
from numba_kernels.cuda.storage import Storage
from numba_kernels.cuda.tuples import each
from numba_kernels.inlining import inlined


def chunk_loop(stored: Storage, element: Any, reads: Sequence[int], writes: Sequence[int]) -> Any:
    """Return the function of kernels that does the same to all elements of a chunk.

    Parameters
    ----------
    stored : Storage
        Of all arrays.
    element : function of kernels
        From a tuple of numbers, one of each array that is read, and whatever else it needs, to a tuple of
        numbers, one for each array that is written.
    reads, writes : sequence of int
        Places in the tuple of addresses.

    Returns
    -------
    function of kernels
        Takes the addresses, the number of elements, what else `element` needs, the number of the thread in
        its block, and that of the block's threads.
    """
    width, itemsize = stored.width, stored.dtype.itemsize
    read_packets = each(len(reads), lambda place: _reading(stored.access.read_packet, reads[place]))
    read_numbers = each(len(reads), lambda place: _loading(stored, reads[place]))
    new_numbers = each(width, lambda lane: _of_lane(stored, element, len(reads), lane))
    write_packets = each(len(writes), lambda place: _writing_packet(stored, writes[place], place))
    write_numbers = each(len(writes), lambda place: _writing(stored, writes[place], place))
    bits_of_addresses = _bits_of([*reads, *writes])

    @inlined
    def loop(addresses: Any, count: int, more: Any, thread: int, threads: int) -> None:
        is_aligned = bits_of_addresses(addresses) & (PACKET_BYTES - 1) == 0
        whole = count & -width if is_aligned else 0
        index = thread * width
        while index < whole:
            at = index * itemsize
            write_packets((addresses, at), new_numbers(read_packets(addresses, at), more))
            index += threads * width
        index = whole + thread
        while index < count:
            at = index * itemsize
            write_numbers((addresses, at), element(read_numbers(addresses, at), more))
            index += threads

    return loop


def chunk_fold(stored: Storage, step: Any, reads: Sequence[int]) -> Any:
    """Return the function of kernels with which each thread of a block folds its share of a chunk.

    Parameters
    ----------
    stored : Storage
        Of all arrays.
    step : function of kernels
        From what was folded before, a tuple of numbers, one of each array, and whatever else it needs, to
        what is folded then.
    reads : sequence of int
        Places in the tuple of addresses.

    Returns
    -------
    function of kernels
        Takes what was folded before, and then the same as that of `chunk_loop`.
    """
    width, itemsize = stored.width, stored.dtype.itemsize
    read_packets = each(len(reads), lambda place: _reading(stored.access.read_packet, reads[place]))
    read_numbers = each(len(reads), lambda place: _loading(stored, reads[place]))
    fold_lanes = _folding(stored, step, len(reads), width - 1)
    bits_of_addresses = _bits_of(reads)

    @inlined
    def fold(folded: Any, addresses: Any, count: int, more: Any, thread: int, threads: int) -> Any:
        is_aligned = bits_of_addresses(addresses) & (PACKET_BYTES - 1) == 0
        whole = count & -width if is_aligned else 0
        index = thread * width
        while index < whole:
            folded = fold_lanes(folded, read_packets(addresses, index * itemsize), more)
            index += threads * width
        index = whole + thread
        while index < count:
            folded = step(folded, read_numbers(addresses, index * itemsize), more)
            index += threads
        return folded

    return fold


def _folding(stored: Storage, step: Any, count: int, lane: int) -> Any:
    """Return the function of kernels that folds the lanes of packets up to one, the first one first."""
    numbers = _numbers_of_lane(stored, count, lane)
    if lane == 0:

        @inlined
        def first(folded: Any, packets: Any, more: Any) -> Any:
            return step(folded, numbers(packets, 0), more)

        return first
    before = _folding(stored, step, count, lane - 1)

    @inlined
    def several(folded: Any, packets: Any, more: Any) -> Any:
        return step(before(folded, packets, more), numbers(packets, 0), more)

    return several


def _reading(read: Any, place: int) -> Any:
    @inlined
    def reading(addresses: Any, at: int) -> Any:
        return read(addresses[place] + at)

    return reading


def _loading(stored: Storage, place: int) -> Any:
    load, read = stored.load, stored.access.read

    @inlined
    def loading(addresses: Any, at: int) -> Any:
        return load(read(addresses[place] + at))

    return loading


def _numbers_of_lane(stored: Storage, count: int, lane: int) -> Any:
    load = stored.load

    def number_of(place: int) -> Any:
        @inlined
        def number(packets: Any, _: int) -> Any:
            return load(packets[place][lane])

        return number

    return each(count, number_of)


def _of_lane(stored: Storage, element: Any, count: int, lane: int) -> Any:
    numbers = _numbers_of_lane(stored, count, lane)

    @inlined
    def of_lane(packets: Any, more: Any) -> Any:
        return element(numbers(packets, 0), more)

    return of_lane


def _writing_packet(stored: Storage, place: int, result: int) -> Any:
    store, write = stored.store, stored.access.write_packet

    def stored_of(lane: int) -> Any:
        @inlined
        def of_lane(results: Any, _: int) -> Any:
            return store(results[lane][result])

        return of_lane

    all_stored = each(stored.width, stored_of)

    @inlined
    def writing(where: Any, results: Any) -> int:
        addresses, at = where
        write(addresses[place] + at, all_stored(results, 0))
        return 0

    return writing


def _writing(stored: Storage, place: int, result: int) -> Any:
    store, write = stored.store, stored.access.write

    @inlined
    def writing(where: Any, results: Any) -> int:
        addresses, at = where
        write(addresses[place] + at, store(results[result]))
        return 0

    return writing


def _bits_of(places: Sequence[int]) -> Any:
    """Return the function of kernels that says which bits are set in one of the addresses."""
    first, *others = places
    if not others:

        @inlined
        def of_one(addresses: Any) -> Any:
            return addresses[first]

        return of_one
    of_others = _bits_of(others)

    @inlined
    def of_several(addresses: Any) -> Any:
        return addresses[first] | of_others(addresses)

    return of_several
