"""Messages between the ranks of ``torch.distributed``."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from numba_kernels.ranks.communicator import Communicator, Lost

FIRST = 4096
"""The size of the first transfer of every message, in bytes; a longer message continues in a second
transfer."""

PREFIX = 8
"""The number of bytes that hold the length of a message."""


class TorchCommunicator(Communicator):
    """The ranks of ``torch.distributed``; messages go through gloo, whatever the backend of the job is.

    Messages to rank 0 and its answers go through two separate groups. After a timeout, gloo ends all
    connections of the group, and rank 0 must still be able to answer the other ranks.

    Parameters
    ----------
    members : sequence of int
        The global ranks; the list must be the same on all of these ranks, and all must call this constructor.
    limit : float
        Seconds that rank 0 waits for the others.
    """

    def __init__(self, members: Sequence[int], limit: float) -> None:
        self._members = list(members)
        super().__init__(self._members.index(dist.get_rank()), len(self._members), limit)
        self._to_first, self._from_first = (
            dist.new_group(
                self._members,
                timeout=timedelta(seconds=self.limit_of_others),
                backend="gloo",
                use_local_synchronization=True,
            )
            for _ in range(2)
        )
        # Pending transfers are kept, since gloo reads and writes their memory.
        self._pending: list[Any] = []

    def send(self, message: bytes) -> None:
        """Send a message to rank 0."""
        try:
            for work in self._sent(message, 0, self._to_first):
                work.wait(timedelta(seconds=self.limit_of_others))
        except RuntimeError as error:
            raise Lost(_first_line(error)) from error

    def receive(self) -> bytes:
        """Return the answer of rank 0."""
        end = time.monotonic() + self.limit_of_others
        return self._received(self._posted(0, self._from_first), 0, self._from_first, end)

    def collect(self) -> dict[int, bytes | Lost]:
        """Return one message of each other rank."""
        end = time.monotonic() + self.limit
        posted: dict[int, Any] = {}
        messages: dict[int, bytes | Lost] = {}
        for rank in range(1, self.size):
            try:
                posted[rank] = self._posted(rank, self._to_first)
            except Lost as lost:
                messages[rank] = lost
        for rank, work in posted.items():
            try:
                messages[rank] = self._received(work, rank, self._to_first, end)
            except Lost as lost:
                messages[rank] = lost
        return messages

    def answer(self, message: bytes, lost: Collection[int]) -> None:
        """Send a message to each other rank."""
        sent: list[Any] = []
        for rank in range(1, self.size):
            try:
                works = self._sent(message, rank, self._from_first)
            except RuntimeError:
                # The next round will notice that the rank is gone.
                continue
            (self._pending if rank in lost else sent).extend(works)
        for work in sent:
            try:
                work.wait(timedelta(seconds=self.limit))
            except RuntimeError:
                continue

    def _sent(self, message: bytes, rank: int, group: Any) -> list[Any]:
        whole = len(message).to_bytes(PREFIX, "little") + message
        parts = [whole[:FIRST].ljust(FIRST, b"\0"), whole[FIRST:]]
        works: list[Any] = []
        for part in filter(None, parts):
            tensor = torch.frombuffer(bytearray(part), dtype=torch.uint8)
            works.append(_Kept(dist.isend(tensor, self._members[rank], group=group), tensor))
        return works

    def _posted(self, rank: int, group: Any) -> Any:
        tensor = torch.empty(FIRST, dtype=torch.uint8, device="cpu")
        try:
            return _Kept(dist.irecv(tensor, self._members[rank], group=group), tensor)
        except RuntimeError as error:
            raise Lost(_first_line(error)) from error

    def _received(self, work: Any, rank: int, group: Any, end: float) -> bytes:
        try:
            work.wait(_rest(end))
            first: bytes = work.tensor.numpy().tobytes()
            length = int.from_bytes(first[:PREFIX], "little")
            missing = length + PREFIX - FIRST
            if missing <= 0:
                return first[PREFIX : PREFIX + length]
            tensor = torch.empty(missing, dtype=torch.uint8, device="cpu")
            dist.irecv(tensor, self._members[rank], group=group).wait(_rest(end))
        except RuntimeError as error:
            raise Lost(_first_line(error)) from error
        return first[PREFIX:] + bytes(tensor.numpy())


class _Kept:
    """A transfer with its memory."""

    def __init__(self, work: Any, tensor: Any) -> None:
        self._work, self.tensor = work, tensor

    def wait(self, timeout: timedelta) -> None:
        self._work.wait(timeout)


def _rest(end: float) -> timedelta:
    # For gloo, a time limit of 0 means no limit.
    return timedelta(seconds=max(end - time.monotonic(), 0.001))


def _first_line(error: BaseException) -> str:
    """Return the message of gloo, without the place in its source and without advice."""
    text = str(error).split("] ", 1)[-1] if str(error).startswith("[") else str(error)
    return text.split(". This is typically", maxsplit=1)[0].strip() or type(error).__name__
