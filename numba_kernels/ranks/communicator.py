"""What a library for messages between processes has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

LIMIT = 60.0
"""Seconds that rank 0 waits for the others, if nobody says otherwise."""


class Lost(Exception):
    """A rank that did not answer, and why that is known."""


class Communicator(ABC):
    """Messages to rank 0 and back, each within a time limit.

    Rank 0 is the only one that every other rank talks to. A collective operation could not say which rank is
    missing.

    Parameters
    ----------
    rank : int
        Of this process, from 0 on.
    size : int
        How many processes there are.
    limit : float
        Seconds that rank 0 waits for the messages of a round. The others wait twice as long for its answer,
        since it may have come later than they.
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
        """Return one message of each other rank, or why there is none; called on rank 0.

        It waits ``limit`` seconds in all, also if some ranks are lost.
        """

    @abstractmethod
    def answer(self, message: bytes, lost: Collection[int]) -> None:
        """Send a message to each other rank; called on rank 0.

        Parameters
        ----------
        message : bytes
            The same for all.
        lost : collection of int
            Ranks whose end is not waited for. A rank that was only late learns so that it is too late.
        """
