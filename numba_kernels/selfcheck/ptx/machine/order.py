"""The order of the accesses of a launch that barriers, fences and atomic additions guarantee."""

from __future__ import annotations

import bisect
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from numba_kernels.selfcheck.ptx.machine.access_kinds import ATOMIC_ADD
from numba_kernels.selfcheck.ptx.machine.log import Log
from sgd_ref.arithmetic.formats import Array


class Known(NamedTuple):
    """The events that are certain to have happened before a point in a thread.

    Attributes
    ----------
    blocks : dict of int to int
        For a block, a number of barriers: everything that its threads did before the last of them is known.
    threads : dict of int to int
        For a thread, its last known step.
    """

    blocks: dict[int, int]
    threads: dict[int, int]

    def with_all_of(self, other: Known) -> Known:
        """Return the union of the knowledge of both."""
        return Known(_larger(self.blocks, other.blocks), _larger(self.threads, other.threads))


def _larger(one: dict[int, int], other: dict[int, int]) -> dict[int, int]:
    return {key: max(one.get(key, -1), other.get(key, -1)) for key in {*one, *other}}


NOTHING = Known({}, {})


class Order:
    """The order of what happened in a launch.

    Parameters
    ----------
    log : Log
        The log of the launch.
    threads : int
        The number of threads of a block.
    """

    def __init__(self, log: Log, threads: int) -> None:
        self._threads, self._log = threads, log
        self._barriers: dict[int, list[int]] = defaultdict(list)
        for step, released in log.barriers:
            for block in np.unique(released // threads):
                self._barriers[int(block)].append(step)
        self._history: dict[int, list[tuple[int, Known]]] | None = None
        self.all_threads = np.arange(log.count)

    def epochs(self, threads: Array, steps: Array) -> Array:
        """Return how many barriers the blocks of some threads had passed before some steps."""
        found = np.zeros(len(threads), np.int64)
        if not self._barriers:
            return found
        blocks = threads // self._threads
        for block in np.unique(blocks):
            among = blocks == block
            found[among] = np.searchsorted(self._barriers.get(int(block), []), steps[among], side="left")
        return found

    def is_before(self, thread: int, step: int, later_thread: int, later_step: int) -> bool:
        """Return whether a step of a thread comes before a later step of a thread of another block."""
        block = thread // self._threads
        known = self._known(later_thread, later_step)
        return known.threads.get(thread, -1) >= step or self.is_known(block, step, later_thread, later_step)

    def is_known(self, block: int, step: int, later_thread: int, later_step: int) -> bool:
        """Return whether all actions of a block up to a step come before a step of a thread of another."""
        epoch = bisect.bisect_left(self._barriers.get(block, []), step)
        return self._known(later_thread, later_step).blocks.get(block, -1) > epoch

    def _known(self, thread: int, step: int) -> Known:
        if self._history is None:
            self._history = self._learned()
        history = self._history.get(thread, [])
        place = bisect.bisect_left(history, step, key=lambda entry: entry[0]) - 1
        return history[place][1] if place >= 0 else NOTHING

    def _learned(self) -> dict[int, list[tuple[int, Known]]]:
        """Return for each thread its knowledge of other blocks, with the step from which on it has it.

        The knowledge of one thread passes to the other threads of its block at the next barrier.
        """
        events: list[tuple[int, int, str, Array, Array | None]] = []
        events += [(step, 0, "fence", threads, None) for step, threads in self._log.fences]
        events += [(step, 2, "barrier", threads, None) for step, threads in self._log.barriers]
        for access in self._log.in_global:
            if access.kind == ATOMIC_ADD:
                threads = self.all_threads if access.threads is None else access.threads
                events.append((access.step, 1, "atomic", threads, access.addresses))
        return _Learning(self._threads, self._barriers).learn(sorted(events, key=lambda event: event[0]))


class _Learning:
    """The threads that execute fences and atomic additions, and their knowledge."""

    def __init__(self, threads: int, barriers: dict[int, list[int]]) -> None:
        self._threads, self._barriers = threads, barriers
        self._released: dict[int, Known] = {}
        self._words: dict[int, Known] = defaultdict(lambda: NOTHING)
        self._seen: dict[int, Known] = defaultdict(lambda: NOTHING)
        self._knows: dict[int, Known] = defaultdict(lambda: NOTHING)
        self._history: dict[int, list[tuple[int, Known]]] = defaultdict(list)

    def learn(
        self, events: list[tuple[int, int, str, Array, Array | None]]
    ) -> dict[int, list[tuple[int, Known]]]:
        """Return the history of each thread."""
        for step, _, kind, threads, addresses in events:
            if kind == "barrier":
                self._pass_barrier(step, threads)
                continue
            for place, thread in enumerate(threads.tolist()):
                if kind == "fence":
                    self._fence(step, thread)
                elif addresses is not None:
                    self._add(thread, int(addresses[place]))
        return self._history

    def _fence(self, step: int, thread: int) -> None:
        block = thread // self._threads
        passed = bisect.bisect_left(self._barriers.get(block, []), step)
        if thread in self._seen:
            self._knows[thread] = self._knows[thread].with_all_of(self._seen[thread])
            self._history[thread].append((step, self._knows[thread]))
        own = Known({block: passed}, {thread: step})
        self._released[thread] = self._knows[thread].with_all_of(own)

    def _add(self, thread: int, address: int) -> None:
        before = self._words[address]
        self._seen[thread] = self._seen[thread].with_all_of(before)
        self._words[address] = before.with_all_of(self._released.get(thread, NOTHING))

    def _pass_barrier(self, step: int, threads: Array) -> None:
        for block in np.unique(threads // self._threads).tolist():
            of_block = range(block * self._threads, (block + 1) * self._threads)
            together = NOTHING
            for thread in of_block:
                if thread in self._knows:
                    together = together.with_all_of(self._knows[thread])
            if together != NOTHING:
                for thread in of_block:
                    self._knows[thread] = together
                    self._history[thread].append((step, together))
