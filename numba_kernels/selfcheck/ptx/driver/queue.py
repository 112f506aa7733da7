"""Work of streams: put in order as CUDA promises it, and done as late as the host lets it be.

Nothing happens when it is asked for. When the host waits for something, that and what must come before it
happens, in one of the orders that are allowed. So a program that lacks a synchronisation shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

LEGACY = 0
"""The legacy default stream, which waits for all blocking streams, and for which they wait."""


@dataclass(eq=False)
class Work:
    """One copy, launch or mark on a stream.

    Attributes
    ----------
    do : callable
        Makes it happen.
    stream : int
        Where it was put.
    after : list of Work
        What must have happened before.
    is_done : bool
        Whether it has happened.
    """

    do: Callable[[], None]
    stream: int = LEGACY
    after: list[Work] = field(default_factory=list)
    is_done: bool = False


class Queue:
    """The work of all streams.

    Parameters
    ----------
    generator : Generator
        Draws one of the orders that are allowed.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._last: dict[int, Work] = {}
        self._is_blocking: dict[int, bool] = {LEGACY: True}
        self._open: list[Work] = []
        self._awaited: dict[int, list[Work]] = {}
        self._postponed: list[Callable[[], None]] = []
        self.is_busy = False

    def draw_from(self, generator: np.random.Generator) -> None:
        """Draw orders from other random numbers from now on."""
        self._generator = generator

    def add_stream(self, handle: int, is_blocking: bool) -> None:
        """Make a stream known."""
        self._is_blocking[handle] = is_blocking

    def knows(self, handle: int) -> bool:
        """Whether there is such a stream."""
        return handle in self._is_blocking

    def remove_stream(self, handle: int) -> None:
        """Forget a stream; its work goes on."""
        del self._is_blocking[handle]

    def put(self, handle: int, do: Callable[[], None]) -> Work:
        """Put work on a stream, and return it."""
        after = [*self._awaited.pop(handle, []), *self._before(handle)]
        work = Work(do, handle, [other for other in after if not other.is_done])
        self._last[handle] = work
        self._open.append(work)
        return work

    def wait_for(self, handle: int, works: Iterable[Work]) -> None:
        """Let what comes on a stream wait for other work."""
        self._awaited.setdefault(handle, []).extend(works)

    def _before(self, handle: int) -> list[Work]:
        streams = [handle]
        if handle == LEGACY:
            streams += [other for other, blocks in self._is_blocking.items() if blocks and other != LEGACY]
        elif self._is_blocking.get(handle, True):
            streams.append(LEGACY)
        return [self._last[stream] for stream in streams if stream in self._last]

    def finish(self, works: Iterable[Work]) -> None:
        """Make work happen, with all that must come before it, and at times some that need not."""
        needed: list[Work] = []
        stack = [work for work in works if not work.is_done]
        seen: set[int] = set()
        while stack:
            work = stack.pop()
            if work.is_done or id(work) in seen:
                continue
            seen.add(id(work))
            needed.append(work)
            stack.extend(work.after)
        self._do(needed)

    def finish_stream(self, handle: int) -> None:
        """Make all work of a stream happen."""
        self.finish(self._before(handle) if handle == LEGACY else [w for w in [self._last.get(handle)] if w])

    def finish_all(self) -> None:
        """Make all work happen."""
        self._do(list(self._open))

    def postpone(self, do: Callable[[], None]) -> None:
        """Do something once the work that is happening now has happened.

        Python's collector runs at any time, also while a kernel is executed, and frees memory of the device.
        """
        self._postponed.append(do)

    def _do(self, works: list[Work]) -> None:
        if self.is_busy:
            raise RuntimeError("work happens one after the other")
        self.is_busy = True
        try:
            self._do_all(works)
        finally:
            self.is_busy = False
            postponed, self._postponed = self._postponed, []
            for do in postponed:
                do()

    def _do_all(self, works: list[Work]) -> None:
        left = list(works)
        streams = sorted({work.stream for work in left})
        # One stream far ahead of another one is what a program that lacks a synchronisation does not survive.
        ranks = dict(zip(streams, self._generator.permutation(len(streams)).tolist(), strict=True))
        while left:
            ready = [work for work in left if all(other.is_done for other in work.after)]
            if self._generator.random() < 0.9:
                first = min(ranks[work.stream] for work in ready)
                ready = [work for work in ready if ranks[work.stream] == first]
            work = ready[int(self._generator.integers(len(ready)))]
            left.remove(work)
            self._open.remove(work)
            # An error ends it as well: nothing is done twice.
            work.is_done, work.after = True, []
            work.do()
