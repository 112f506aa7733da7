"""The loop of a block over one chunk of some arrays, 16 bytes of each at a time if they allow it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba_kernels.cuda.device.access import PACKET_BYTES
from numba_kernels.cuda.device.storage import Storage
from numba_kernels.cuda.device.tuples import across, each, transposed
from numba_kernels.shared.inlining import inlined


def chunk_loop(stored: Storage, element: Any, reads: Sequence[int], writes: Sequence[int]) -> Any:
    """Return the function of kernels that does the same to all elements of a chunk.

    Parameters
    ----------
    stored : Storage
        Of all arrays.
    element : function of kernels
        A function from a tuple of numbers, one of each array that is read, and other arguments, to a tuple of
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
    read_bits = each(len(reads), lambda place: _reading(stored.access.read, reads[place]))
    write_packets = each(
        len(writes), lambda place: _writing(stored.access.write_packet, writes[place], place)
    )
    write_bits = each(len(writes), lambda place: _writing(stored.access.write, writes[place], place))
    load_all, store_all = across(len(reads), _one(stored.load)), across(len(writes), _one(stored.store))

    @inlined
    def new_bits(bits: Any, more: Any) -> Any:
        return store_all(element(load_all(bits, 0), more), 0)

    new_bits_of_lanes = across(width, new_bits)
    bits_of_addresses = _bits_of([*reads, *writes])

    @inlined
    def loop(addresses: Any, count: int, more: Any, thread: int, threads: int) -> None:
        is_aligned = bits_of_addresses(addresses) & (PACKET_BYTES - 1) == 0
        whole = count & -width if is_aligned else 0
        index = thread * width
        while index < whole:
            at = index * itemsize
            lanes = transposed(read_packets(addresses, at))
            write_packets((addresses, at), transposed(new_bits_of_lanes(lanes, more)))
            index += threads * width
        index = whole + thread
        while index < count:
            at = index * itemsize
            write_bits((addresses, at), new_bits(read_bits(addresses, at), more))
            index += threads

    return loop


def chunk_fold(stored: Storage, step: Any, reads: Sequence[int]) -> Any:
    """Return the function of kernels with which each thread of a block folds its share of a chunk.

    Parameters
    ----------
    stored : Storage
        Of all arrays.
    step : function of kernels
        Takes the value folded so far, a tuple with a number of each array, and any other arguments; returns
        the new folded value.
    reads : sequence of int
        Places in the tuple of addresses.

    Returns
    -------
    function of kernels
        Takes the value folded so far, and then the same arguments as the function of `chunk_loop`.
    """
    width, itemsize = stored.width, stored.dtype.itemsize
    read_packets = each(len(reads), lambda place: _reading(stored.access.read_packet, reads[place]))
    read_bits = each(len(reads), lambda place: _reading(stored.access.read, reads[place]))
    load_all = across(len(reads), _one(stored.load))

    @inlined
    def fold_bits(folded: Any, bits: Any, more: Any) -> Any:
        return step(folded, load_all(bits, 0), more)

    fold_lanes = _folding(width, fold_bits)
    bits_of_addresses = _bits_of(reads)

    @inlined
    def fold(folded: Any, addresses: Any, count: int, more: Any, thread: int, threads: int) -> Any:
        is_aligned = bits_of_addresses(addresses) & (PACKET_BYTES - 1) == 0
        whole = count & -width if is_aligned else 0
        index = thread * width
        while index < whole:
            folded = fold_lanes(folded, transposed(read_packets(addresses, index * itemsize)), more)
            index += threads * width
        index = whole + thread
        while index < count:
            folded = fold_bits(folded, read_bits(addresses, index * itemsize), more)
            index += threads
        return folded

    return fold


def _folding(count: int, fold: Any) -> Any:
    """Return the function of kernels that folds all items of a tuple, the first one first."""
    if count == 1:

        @inlined
        def last(folded: Any, items: Any, more: Any) -> Any:
            return fold(folded, items[0], more)

        return last
    rest = _folding(count - 1, fold)

    @inlined
    def several(folded: Any, items: Any, more: Any) -> Any:
        return rest(fold(folded, items[0], more), items[1:], more)

    return several


def _one(function: Any) -> Any:
    @inlined
    def of_one(item: Any, _: int) -> Any:
        return function(item)

    return of_one


def _reading(read: Any, place: int) -> Any:
    @inlined
    def reading(addresses: Any, at: int) -> Any:
        return read(addresses[place] + at)

    return reading


def _writing(write: Any, place: int, result: int) -> Any:
    @inlined
    def writing(where: Any, results: Any) -> int:
        addresses, at = where
        write(addresses[place] + at, results[result])
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
