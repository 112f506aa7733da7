"""Messages between the ranks of MPI, through mpi4py."""

from __future__ import annotations

import importlib
import time
from collections.abc import Collection
from typing import Any

from numba_kernels.ranks.communicator import LIMIT, Communicator, Lost
from sgd_ref.validation import reject_type

TAG = 1
SHORTEST_PAUSE, LONGEST_PAUSE = 1e-6, 1e-3
"""Seconds between two checks for a message; the pauses grow while no message comes."""


class MPICommunicator(Communicator):
    """The ranks of an mpi4py communicator; messages use a duplicate of the communicator.

    If a rank ends without calling ``MPI_Finalize``, Open MPI itself ends all other ranks.

    Parameters
    ----------
    communicator : mpi4py.MPI.Comm
        The communicator; all of its ranks must call this constructor.
    limit : float, default 60.0
        Seconds that rank 0 waits for the others.
    """

    def __init__(self, communicator: Any, limit: float = LIMIT) -> None:
        self._communicator = communicator.Dup()
        super().__init__(communicator.Get_rank(), communicator.Get_size(), limit)
        mpi = importlib.import_module("mpi4py.MPI")
        self._status, self._byte = mpi.Status, mpi.BYTE
        # Pending messages are kept, since MPI reads their memory.
        self._pending: list[tuple[Any, bytes]] = []

    def send(self, message: bytes) -> None:
        """Send a message to rank 0."""
        self._wait(self._sent(message, 0), time.monotonic() + self.limit_of_others)

    def receive(self) -> bytes:
        """Return the answer of rank 0."""
        return self._received(0, time.monotonic() + self.limit_of_others)

    def collect(self) -> dict[int, bytes | Lost]:
        """Return one message of each other rank."""
        end = time.monotonic() + self.limit
        messages: dict[int, bytes | Lost] = {}
        for rank in range(1, self.size):
            try:
                messages[rank] = self._received(rank, end)
            except Lost as lost:
                messages[rank] = lost
        return messages

    def answer(self, message: bytes, lost: Collection[int]) -> None:
        """Send a message to each other rank."""
        requests = {rank: self._sent(message, rank) for rank in range(1, self.size)}
        end = time.monotonic() + self.limit
        for rank, request in requests.items():
            if rank in lost:
                self._pending.append((request, message))
                continue
            try:
                self._wait(request, end)
            except Lost:
                # The next round will notice that the rank is gone.
                self._pending.append((request, message))

    def _sent(self, message: bytes, rank: int) -> Any:
        return self._communicator.Isend([message, len(message)], dest=rank, tag=TAG)

    def _wait(self, request: Any, end: float) -> None:
        pause = SHORTEST_PAUSE
        while not request.Test():
            pause = _paused(pause, end, self.limit)

    def _received(self, rank: int, end: float) -> bytes:
        pause, status = SHORTEST_PAUSE, self._status()
        while (message := self._communicator.Improbe(source=rank, tag=TAG, status=status)) is None:
            pause = _paused(pause, end, self.limit)
        memory = bytearray(status.Get_count(self._byte))
        message.Recv(memory)
        return bytes(memory)


def _paused(pause: float, end: float, limit: float) -> float:
    if time.monotonic() > end:
        raise Lost(f"no message within the limit of {limit} s")
    time.sleep(pause)
    return min(2 * pause, LONGEST_PAUSE)


def communicator_of(given: Any) -> Communicator:
    """Return a communicator; a communicator of mpi4py is wrapped.

    Raises
    ------
    TypeError
        If the argument is neither of the two.
    """
    if isinstance(given, Communicator):
        return given
    if hasattr(given, "Improbe") and hasattr(given, "Dup"):
        return MPICommunicator(given)
    return reject_type(
        "communicator", given, "a communicator of mpi4py or a numba_kernels.ranks.Communicator"
    )
