"""Races: two accesses to the same bytes, one of them writing, that nothing puts in order.

Threads of one block are put in order by barriers. Blocks are put in order by fences and atomic additions: what a
thread did, or knew of at a barrier, before its fence and its atomic addition, comes before what another thread
does after an atomic addition to the same word that came later, and a fence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from numba_kernels.selfcheck.ptx.faults import Fault
from numba_kernels.selfcheck.ptx.machine.access_kinds import ATOMIC_ADD, READ
from numba_kernels.selfcheck.ptx.machine.log import Access, Log
from numba_kernels.selfcheck.ptx.machine.order import Order
from sgd_ref.arithmetic.formats import Array

CELL = 2
"""Bytes: the smallest access."""


def find_race(log: Log, threads: int, name: str) -> None:
    """Look for races in the log of a launch.

    Parameters
    ----------
    log : Log
        Of the launch.
    threads : int
        Of a block.
    name : str
        Of the kernel, for messages.

    Raises
    ------
    Fault
        If there is one.
    """
    order = Order(log, threads)
    for accesses, is_shared in ((log.in_global, False), (log.in_shared, True)):
        _Finder(accesses, threads, is_shared, order, name).look()


class _Finder:
    """The accesses to one kind of memory, as one row for each thread and cell."""

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
                if not self._is_shared and len(access.addresses) == 1 and not np.isin(cells[:1], wanted).any():
                    continue
                among = np.isin(cells, wanted)
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
            # Each block has its own.
            first = first + (threads // self._threads << 32)
        lanes = max(access.size // CELL, 1)
        cells = (first // CELL)[:, None] + np.arange(lanes)
        return cells.ravel(), np.repeat(threads, lanes)

    def _rows(self, number: int, cells: Array, threads: Array) -> tuple[Array, Array, Array]:
        return cells, threads, np.full(len(cells), number)

    def _compare(self, cells: Array, threads: Array, numbers: Array) -> None:
        by_cell = np.argsort(cells, kind="stable")
        cells, threads, numbers = cells[by_cell], threads[by_cell], numbers[by_cell]
        starts = np.flatnonzero(np.concatenate([[True], cells[1:] != cells[:-1]]))
        least, most = np.minimum.reduceat(threads, starts), np.maximum.reduceat(threads, starts)
        ends = np.append(starts[1:], len(cells))
        several = np.flatnonzero(least != most)
        if not len(several):
            return
        seen: set[bytes] = set()
        for group in several:
            part = slice(starts[group], ends[group])
            # Cells of one word are accessed in the same way.
            key = threads[part].tobytes() + numbers[part].tobytes()
            if key not in seen:
                seen.add(key)
                self._compare_all(threads[part], numbers[part])

    def _compare_all(self, threads: Array, numbers: Array) -> None:
        """Compare all accesses to one cell, each with those that it may race with."""
        kinds = np.array([self._accesses[number].kind for number in numbers])
        if (kinds == ATOMIC_ADD).all():
            return
        steps = np.array([self._accesses[number].step for number in numbers])
        blocks = threads // self._threads
        epochs = self._order.epochs(threads, steps)
        # Those of one block between two barriers: one thread may do what it likes there.
        self._compare_within(threads, numbers, kinds, blocks, epochs)
        if len(np.unique(blocks)) > 1:
            self._compare_across(threads, numbers, kinds, steps, blocks)

    def _compare_within(
        self, threads: Array, numbers: Array, kinds: Array, blocks: Array, epochs: Array
    ) -> None:
        segments = blocks.astype(np.int64) << 32 | epochs
        order = np.argsort(segments, kind="stable")
        starts = np.flatnonzero(np.concatenate([[True], np.diff(segments[order]) != 0]))
        for members in np.split(order, starts[1:]):
            if (threads[members] == threads[members[0]]).all():
                continue
            changing = members[kinds[members] != READ]
            if not len(changing) or (kinds[members] == ATOMIC_ADD).all():
                continue
            first = changing[0]
            for one in changing:
                others = members[(threads[members] != threads[one])]
                others = others[~((kinds[others] == ATOMIC_ADD) & (kinds[one] == ATOMIC_ADD))]
                if len(others):
                    first, other = one, others[0]
                    self._report(threads, numbers, int(first), int(other))

    def _compare_across(
        self, threads: Array, numbers: Array, kinds: Array, steps: Array, blocks: Array
    ) -> None:
        changing = np.flatnonzero(kinds != READ)
        for one in changing:
            others = np.flatnonzero(blocks != blocks[one])
            others = others[~((kinds[others] == ATOMIC_ADD) & (kinds[one] == ATOMIC_ADD))]
            for other in others:
                before, after = (one, other) if steps[one] <= steps[other] else (other, one)
                # Additions to one word are in an order, and a thread's own accesses to it come after its addition.
                between = (threads == threads[after]) & (steps >= steps[before]) & (steps <= steps[after])
                if kinds[before] == ATOMIC_ADD and (kinds[between] == ATOMIC_ADD).any():
                    continue
                if not self._order.is_before(
                    int(threads[before]), int(steps[before]), int(threads[after]), int(steps[after])
                ):
                    self._report(threads, numbers, int(one), int(other))

    def _report(self, threads: Array, numbers: Array, one: int, other: int) -> None:
        texts = []
        for place in (one, other):
            block, within = divmod(int(threads[place]), self._threads)
            instruction = self._accesses[numbers[place]].instruction
            texts.append(f"block {block} thread {within} by line {instruction.line}, {instruction}")
        memory = "shared" if self._is_shared else "global"
        raise Fault("race", f"{self._name}: {texts[0]} and {texts[1]} reach the same {memory} memory in no order")
