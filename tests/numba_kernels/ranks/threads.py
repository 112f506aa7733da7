"""Ranks that are threads of one process, with messages in queues."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection
from typing import Any

from numba_kernels.ranks import Communicator, Lost

GONE, LATE = object(), object()
"""In place of a message: its sender has ended, or the limit ends before it sends one."""

LIMIT = 600.0
"""Seconds; only a rank that hangs needs them."""


class Wires:
    """The queues between rank 0 and the others."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.up: list[queue.Queue[Any]] = [queue.Queue() for _ in range(size)]
        self.down: list[queue.Queue[Any]] = [queue.Queue() for _ in range(size)]

    def end(self, rank: int) -> None:
        """Let the others find that a rank has ended."""
        self.up[rank].put(GONE)
        if rank == 0:
            for waiting in self.down:
                waiting.put(GONE)


class ThreadCommunicator(Communicator):
    """One end of the wires."""

    def __init__(self, wires: Wires, rank: int, limit: float = LIMIT) -> None:
        super().__init__(rank, wires.size, limit)
        self._wires = wires

    def be_late(self) -> None:
        """Let rank 0 find, now, that the limit has ended."""
        self._wires.up[self.rank].put(LATE)

    def send(self, message: bytes) -> None:
        self._wires.up[self.rank].put(message)

    def receive(self) -> bytes:
        return _taken(self._wires.down[self.rank], self.limit_of_others)

    def collect(self) -> dict[int, bytes | Lost]:
        messages: dict[int, bytes | Lost] = {}
        for rank in range(1, self.size):
            try:
                messages[rank] = _taken(self._wires.up[rank], self.limit)
            except Lost as lost:
                messages[rank] = lost
        return messages

    def answer(self, message: bytes, lost: Collection[int]) -> None:
        for rank in range(1, self.size):
            self._wires.down[rank].put(message)


def _taken(messages: queue.Queue[Any], limit: float) -> bytes:
    try:
        message = messages.get(timeout=limit)
    except queue.Empty:
        message = LATE
    if message is LATE:
        raise Lost(f"no message within {limit} s")
    if message is GONE:
        raise Lost("it has ended")
    assert isinstance(message, bytes)
    return message


def on_ranks(size: int, function: Callable[[ThreadCommunicator], Any]) -> list[Any]:
    """Return what a function returns or raises on each rank."""
    wires = Wires(size)
    results: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            results[rank] = function(ThreadCommunicator(wires, rank))
        except Exception as error:  # noqa: BLE001  (it is what the rank answers)
            results[rank] = error
        finally:
            wires.end(rank)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
