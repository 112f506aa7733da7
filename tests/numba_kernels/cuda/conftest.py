"""Threads of simulated blocks take turns: in an order that a test chooses, and five times as fast.

The simulator of Numba lets all threads of a block run at once, and whether a missing synchronisation shows
is chance. Here one thread runs up to the next synchronisation or to its end, then the next one, so that
whoever reads what a later thread has still to write reads the wrong thing every time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

BACKWARD = False
"""Whether the last thread of a block comes first."""


class Place(NamedTuple):
    """Of a thread in its block, or of a block in its grid."""

    x: int
    y: int
    z: int


class Turn(threading.Thread):
    """One thread of a simulated block."""

    def __init__(self, block: Block, index: Any, thread: Any, work: Any) -> None:
        super().__init__(target=work, daemon=True)
        self.blockIdx, self.threadIdx = index, thread
        self.block = block
        self.is_mine = threading.Semaphore(0)
        self.failure: BaseException | None = None
        self.has_ended = self.is_abandoned = False

    def run(self) -> None:
        self.is_mine.acquire()
        try:
            if not self.is_abandoned:
                super().run()
        # Raised again where the kernel was launched.
        except BaseException as failure:  # noqa: BLE001
            self.failure = failure
        self.has_ended = True
        self.block.is_mine.release()

    def syncthreads(self) -> None:
        self.block.is_mine.release()
        self.is_mine.acquire()
        if self.is_abandoned:
            raise SystemExit

    def take(self) -> None:
        """Let this thread go on, and wait until it has done its part."""
        self.is_mine.release()
        self.block.is_mine.acquire()


class Block:
    """What the simulator makes for each block."""

    def __init__(self, work: Any, grid: Any, threads: Any, debug: bool) -> None:
        self.work, self.threads = work, threads
        self.is_mine = threading.Semaphore(0)

    def run(self, index: Any, *arguments: Any) -> None:
        places = [Place(*place) for place in np.ndindex(*self.threads)]
        turns = [Turn(self, Place(*index), place, lambda: self.work(*arguments)) for place in places]
        turns = turns[::-1] if BACKWARD else turns
        for turn in turns:
            turn.start()
        alive = turns
        while alive:
            for turn in alive:
                turn.take()
                if turn.failure is not None:
                    _abandon(alive)
                    raise turn.failure
            alive = [turn for turn in alive if not turn.has_ended]


def _abandon(turns: list[Turn]) -> None:
    for turn in turns:
        turn.is_abandoned = True
        if not turn.has_ended:
            turn.take()


@pytest.fixture(autouse=True, scope="session")
def turns() -> Iterator[None]:
    """Use these threads where there is no device."""
    toolkit = pytest.importorskip("numba_kernels.cuda.toolkit", exc_type=ImportError)
    with pytest.MonkeyPatch.context() as patch:
        if toolkit.IS_SIMULATED:
            patch.setattr("numba.cuda.simulator.kernel.BlockManager", Block)
        yield


@pytest.fixture(params=[False, True], ids=["forward", "backward"])
def both_orders(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the first thread of each block coming first, and with the last one."""
    monkeypatch.setitem(globals(), "BACKWARD", request.param)
