"""The interface that a library for messages between processes must have."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

LIMIT = 60.0
"""The default number of seconds that rank 0 waits for the other ranks."""


class Lost(Exception):
    """A rank that did not answer, with the reason."""


class Communicator(ABC):
    """Messages to rank 0 and back, each within a time limit.

    Every other rank exchanges messages only with rank 0. A collective operation could not say which rank is
    missing.

    Parameters
    ----------
    rank : int
        The rank of this process, from 0 on.
    size : int
        The number of processes.
    limit : float
        Seconds that rank 0 waits for the messages of a round. The other ranks wait twice as long for its
        answer, since rank 0 may have entered the round later than they did.
    """

    def __init__(self, rank: int, size: int, limit: float = LIMIT) -> None:
        self.rank, self.size, self.limit = rank, size, limit

    @property
    def limit_of_others(self) -> float:
        """Seconds that the other ranks wait for rank 0."""
        return 2 * self.limit

    @abstractmethod
    def send(self, message: bytes) -> None:
        """Send a message to rank 0; called on the others.

        Raises
        ------
        Lost
            If rank 0 is gone.
        """

    @abstractmethod
    def receive(self) -> bytes:
        """Return the answer of rank 0; called on the others.

        Raises
        ------
        Lost
            If rank 0 is gone, or does not answer within ``limit_of_others`` seconds.
        """

    @abstractmethod
    def collect(self) -> dict[int, bytes | Lost]:
        """Return one message of each other rank, or the reason why there is none; called on rank 0.

        It waits ``limit`` seconds in total, even if some ranks are lost.
        """

    @abstractmethod
    def answer(self, message: bytes, lost: Collection[int]) -> None:
        """Send a message to each other rank; called on rank 0.

        Parameters
        ----------
        message : bytes
            The message, which is the same for all ranks.
        lost : collection of int
            Ranks for which the call does not wait. The message tells a rank that was only late that it is too
            late.
        """
