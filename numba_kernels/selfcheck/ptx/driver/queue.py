"""The work on streams: ordered only as CUDA promises, and done as late as the host allows.

No work is done when it is requested. When the host waits for some work, it is done together with all work
that must come before it, in one of the allowed orders. So a program that lacks a synchronisation fails
visibly.
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
        Does the work.
    stream : int
        The stream that it was put on.
    after : list of Work
        The work that must be done before.
    is_done : bool
        Whether it is done.
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
        Draws one of the allowed orders.
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
        """Use another random generator for the order from now on."""
        self._generator = generator

    def add_stream(self, handle: int, is_blocking: bool) -> None:
        """Add a stream."""
        self._is_blocking[handle] = is_blocking

    def knows(self, handle: int) -> bool:
        """Whether a stream exists."""
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
        """Let later work on a stream wait for other work."""
        self._awaited.setdefault(handle, []).extend(works)

    def _before(self, handle: int) -> list[Work]:
        streams = [handle]
        if handle == LEGACY:
            streams += [other for other, blocks in self._is_blocking.items() if blocks and other != LEGACY]
        elif self._is_blocking.get(handle, True):
            streams.append(LEGACY)
        return [self._last[stream] for stream in streams if stream in self._last]

    def finish(self, works: Iterable[Work]) -> None:
        """Do some work with all work that must come before it, and sometimes other work too."""
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
        """Do all work of a stream."""
        self.finish(self._before(handle) if handle == LEGACY else [w for w in [self._last.get(handle)] if w])

    def finish_all(self) -> None:
        """Do all work."""
        self._do(list(self._open))

    def postpone(self, do: Callable[[], None]) -> None:
        """Call a function after the present work is done.

        Python's garbage collector may run at any time, even while a kernel is executed, and free memory of
        the device.
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
        # A program that lacks a synchronisation fails when one stream is far ahead of another.
        ranks = dict(zip(streams, self._generator.permutation(len(streams)).tolist(), strict=True))
        while left:
            ready = [work for work in left if all(other.is_done for other in work.after)]
            if self._generator.random() < 0.9:
                first = min(ranks[work.stream] for work in ready)
                ready = [work for work in ready if ranks[work.stream] == first]
            work = ready[int(self._generator.integers(len(ready)))]
            left.remove(work)
            self._open.remove(work)
            # Work that raises an error counts as done, too, so that nothing is done twice.
            work.is_done, work.after = True, []
            work.do()
