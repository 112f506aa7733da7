"""Races: two accesses to the same bytes, at least one of them a write, whose order nothing guarantees.

Barriers order the threads of one block. Fences and atomic additions order blocks. Suppose that a thread
executes a fence and then an atomic addition, and that another thread executes a later atomic addition to the
same word and then a fence. Everything that the first thread did, or knew of by a barrier, before its fence
comes before everything that the second thread does after its fence. Stores of the same number by several
threads, such as a flag that each may set, are no race.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from numba_kernels.selfcheck.ptx.faults import Fault
from numba_kernels.selfcheck.ptx.machine.access_kinds import ATOMIC_ADD, READ, WRITE
from numba_kernels.selfcheck.ptx.machine.log import Access, Log
from numba_kernels.selfcheck.ptx.machine.order import Order
from sgd_ref.arithmetic.formats import Array

CELL = 2
"""The size of the smallest access, in bytes."""


def find_race(log: Log, threads: int, name: str) -> None:
    """Search the log of a launch for races.

    Parameters
    ----------
    log : Log
        The log of the launch.
    threads : int
        The number of threads of a block.
    name : str
        The name of the kernel, for messages.

    Raises
    ------
    Fault
        If there is a race.
    """
    order = Order(log, threads)
    for accesses, is_shared in ((log.in_global, False), (log.in_shared, True)):
        _Finder(accesses, threads, is_shared, order, name).look()


class _Finder:
    """The accesses to one kind of memory, with one row for each thread and cell."""

    def __init__(
        self, accesses: Sequence[Access], threads: int, is_shared: bool, order: Order, name: str
    ) -> None:
        self._accesses, self._threads, self._is_shared = accesses, threads, is_shared
        self._order, self._name = order, name

    def look(self) -> None:
        """Raise `Fault` if there is a race."""
        changing = [number for number, access in enumerate(self._accesses) if access.kind != READ]
        if not changing:
            return
        changed = [self._cells(number) for number in changing]
        wanted = np.unique(np.concatenate([cells for cells, _ in changed]))
        rows = [self._rows(number, *found) for number, found in zip(changing, changed, strict=True)]
        for number, access in enumerate(self._accesses):
            if access.kind == READ:
                cells, threads = self._cells(number)
                among = _among(cells, wanted)
                if among.any():
                    rows.append(self._rows(number, cells[among], threads[among]))
        cells, threads, numbers = (np.concatenate(column) for column in zip(*rows, strict=True))
        self._compare(cells, threads, numbers)

    def _cells(self, number: int) -> tuple[Array, Array]:
        """Return all cells of an access with the thread of each."""
        access = self._accesses[number]
        threads = self._order.all_threads if access.threads is None else access.threads
        first = np.broadcast_to(access.addresses, threads.shape).astype(np.int64)
        if self._is_shared:
            # Each block has shared memory of its own.
            first = first + (threads // self._threads << 32)
        lanes = max(access.size // CELL, 1)
        cells = (first // CELL)[:, None] + np.arange(lanes)
        return cells.ravel(), np.repeat(threads, lanes)

    def _rows(self, number: int, cells: Array, threads: Array) -> tuple[Array, Array, Array]:
        return cells, threads, np.full(len(cells), number)

    def _compare(self, cells: Array, threads: Array, numbers: Array) -> None:
        kinds = np.array([access.kind for access in self._accesses])[numbers]
        steps = np.array([access.step for access in self._accesses])[numbers]
        blocks = threads // self._threads
        epochs = self._order.epochs(threads, steps)
        # Accesses of one block between two barriers: a single thread may access its bytes in any way.
        for group in _suspicious((cells, blocks, epochs), threads, kinds):
            self._compare_within(threads[group], numbers[group], kinds[group])
        if self._is_shared or not len(blocks) or (blocks == blocks[0]).all():
            return
        seen: set[bytes] = set()
        for group in _suspicious((cells,), blocks, kinds):
            # All cells of one word are accessed in the same way.
            key = threads[group].tobytes() + numbers[group].tobytes()
            if key not in seen:
                seen.add(key)
                self._compare_across(
                    threads[group], numbers[group], kinds[group], steps[group], blocks[group]
                )

    def _compare_within(self, threads: Array, numbers: Array, kinds: Array) -> None:
        for one in np.flatnonzero(kinds != READ):
            others = np.flatnonzero(threads != threads[one])
            others = others[~((kinds[others] == ATOMIC_ADD) & (kinds[one] == ATOMIC_ADD))]
            for other in others:
                self._report(threads, numbers, int(one), int(other))

    def _compare_across(
        self, threads: Array, numbers: Array, kinds: Array, steps: Array, blocks: Array
    ) -> None:
        for one in np.flatnonzero(kinds != READ):
            others = np.flatnonzero(blocks != blocks[one])
            others = others[~((kinds[others] == ATOMIC_ADD) & (kinds[one] == ATOMIC_ADD))]
            for block in np.unique(blocks[others]):
                of_block = others[blocks[others] == block]
                earlier = of_block[steps[of_block] <= steps[one]]
                # Usually, everything that a block did before a barrier is known at once.
                if len(earlier) and self._order.is_known(
                    int(block), int(steps[earlier].max()), int(threads[one]), int(steps[one])
                ):
                    of_block = of_block[steps[of_block] > steps[one]]
                for other in of_block:
                    before, after = (one, other) if steps[one] <= steps[other] else (other, one)
                    if not self._are_in_order(threads, kinds, steps, int(before), int(after)):
                        self._report(threads, numbers, int(one), int(other))

    def _are_in_order(self, threads: Array, kinds: Array, steps: Array, before: int, after: int) -> bool:
        # Additions to one word are ordered, and a thread's own accesses to the word come after its addition.
        between = (threads == threads[after]) & (steps >= steps[before]) & (steps <= steps[after])
        if kinds[before] == ATOMIC_ADD and (kinds[between] == ATOMIC_ADD).any():
            return True
        return self._order.is_before(
            int(threads[before]), int(steps[before]), int(threads[after]), int(steps[after])
        )

    def _write_the_same(self, threads: Array, numbers: Array, one: int, other: int) -> bool:
        """Whether two stores write the same number, such as a flag that several threads set."""
        written = []
        for place in (one, other):
            access = self._accesses[numbers[place]]
            if access.kind != WRITE or len(access.values) != 1:
                return False
            (values,) = access.values
            index = (
                int(threads[place])
                if access.threads is None
                else int(np.flatnonzero(access.threads == threads[place])[0])
            )
            written.append((access.size, values[index if len(values) > 1 else 0].tobytes()))
        return written[0] == written[1]

    def _report(self, threads: Array, numbers: Array, one: int, other: int) -> None:
        if self._write_the_same(threads, numbers, one, other):
            return
        texts = []
        for place in (one, other):
            block, within = divmod(int(threads[place]), self._threads)
            instruction = self._accesses[numbers[place]].instruction
            texts.append(f"block {block} thread {within} by line {instruction.line}, {instruction}")
        memory = "shared" if self._is_shared else "global"
        raise Fault(
            "race", f"{self._name}: {texts[0]} and {texts[1]} reach the same {memory} memory in no order"
        )


def _among(cells: Array, wanted: Array) -> Array:
    """Return which cells are among other cells, which are sorted."""
    places = np.searchsorted(wanted, cells)
    return np.asarray(wanted[np.minimum(places, len(wanted) - 1)] == cells)


def _suspicious(keys: tuple[Array, ...], who: Array, kinds: Array) -> Iterator[Array]:
    """Yield the indices of accesses with equal keys by several threads, with a write and not all atomic."""
    order = np.lexsort(keys[::-1])
    is_new = np.zeros(len(order), bool)
    is_new[0] = True
    for key in keys:
        ordered = key[order]
        is_new[1:] |= ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_new)
    ordered_who, ordered_kinds = who[order], kinds[order]
    by_several = np.minimum.reduceat(ordered_who, starts) != np.maximum.reduceat(ordered_who, starts)
    most, least = np.maximum.reduceat(ordered_kinds, starts), np.minimum.reduceat(ordered_kinds, starts)
    ends = np.append(starts[1:], len(order))
    for group in np.flatnonzero(by_several & (most != READ) & (least != ATOMIC_ADD)):
        yield order[starts[group] : ends[group]]
