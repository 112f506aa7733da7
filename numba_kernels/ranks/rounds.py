"""Rounds: each rank sends data, rank 0 decides, and all ranks receive the decision or an error."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from numba_kernels.ranks.communicator import Communicator, Lost

FINE, FAILED = b"+", b"-"
"""The first byte of a message, which says whether its sender goes on."""

Combine = Callable[[list[list[bytes]]], list[bytes]]
"""A function from the parts that each rank sent, in the order of ranks, to the parts of the answer."""


class RankError(RuntimeError):
    """A step was not made because of another rank; the text says which rank, and which steps were made."""


class Ranks:
    """The rounds of one optimizer.

    Parameters
    ----------
    communicator : Communicator
        The communicator, which nothing else may use.

    Attributes
    ----------
    steps : int
        The number of steps that this process has completed.
    """

    def __init__(self, communicator: Communicator) -> None:
        self._communicator = communicator
        self._end: str | None = None
        self._told: BaseException | None = None
        self.steps = 0

    @property
    def rank(self) -> int:
        """The rank of this process."""
        return self._communicator.rank

    @property
    def size(self) -> int:
        """The number of processes."""
        return self._communicator.size

    def round(self, name: str, settings: bytes, parts: Sequence[bytes], combine: Combine) -> list[bytes]:
        """Return the answer that rank 0 computes from the parts of all ranks.

        Parameters
        ----------
        name : str
            The name of the round within the step; ranks that are in different rounds get an error.
        settings : bytes
            A dict as JSON text, which must be the same on all ranks.
        parts : sequence of bytes
            The data of this rank.
        combine : callable
            Called on rank 0. A ``RankError`` that it raises is raised on all ranks.

        Raises
        ------
        RankError
            On each rank if one rank has failed, is lost, or differs. No rank has changed anything. There is
            one exception: if a rank ends while rank 0 answers, some ranks may have the answer and others not.
        """
        place = f"{name} of step {self.steps + 1}"
        self._check_open(place)
        message = FINE + joined([place.encode(), settings, *parts])
        return self._exchanged(place, message, combine)

    def refuse(self, name: str, error: BaseException) -> NoReturn:
        """Tell the other ranks that this rank has failed, and raise its error.

        Each other rank in a round gets a ``RankError`` with the text of this error. If the error is itself a
        ``RankError``, all ranks have it already.
        """
        place = f"{name} of step {self.steps + 1}"
        if self._end is None and error is not self._told and not isinstance(error, RankError):
            self._told = error
            text = f"rank {self.rank} failed in {place}: {type(error).__name__}: {error}"
            try:
                self._exchanged(place, FAILED + text.encode(), None)
            except RankError as refusal:
                error.add_note(f"All ranks were told. {refusal}")
        raise error

    def _exchanged(self, place: str, message: bytes, combine: Combine | None) -> list[bytes]:
        try:
            if self.rank == 0:
                return self._decided(place, message, combine)
            self._communicator.send(message)
            answer = self._communicator.receive()
        except Lost as lost:
            self._end = f"rank 0 was lost in {place}: {lost}"
            raise self._error(self._end) from lost
        except RankError:
            raise
        except BaseException as error:
            # Only half of the round was made, so a later round would receive its messages.
            self._end = f"rank {self.rank} left {place}: {type(error).__name__}"
            raise
        return self._opened(answer)

    def _decided(self, place: str, own: bytes, combine: Combine | None) -> list[bytes]:
        messages: dict[int, bytes | Lost] = {0: own, **self._communicator.collect()}
        lost = {rank: message for rank, message in messages.items() if isinstance(message, Lost)}
        texts = [f"rank {rank} was lost in {place}: {why}" for rank, why in sorted(lost.items())]
        sound = {rank: message for rank, message in messages.items() if isinstance(message, bytes)}
        texts += [m[1:].decode() for _, m in sorted(sound.items()) if m[:1] == FAILED]
        if lost:
            self._end = "; ".join(texts)
        if texts:
            answer = FAILED + "; ".join(texts).encode()
        else:
            assert combine is not None
            answer = _combined([split(sound[rank][1:]) for rank in range(self.size)], combine)
        self._communicator.answer((b"!" if lost else b".") + answer, list(lost))
        return self._opened(b"." + answer)

    def _opened(self, answer: bytes) -> list[bytes]:
        ends, status, content = answer[:1], answer[1:2], answer[2:]
        if status == FINE:
            return split(content)
        text = content.decode()
        if ends == b"!":
            self._end = text
        raise self._error(text)

    def _check_open(self, place: str) -> None:
        if self._end is not None:
            raise self._error(f"{place}: the ranks cannot talk any more, since {self._end}")

    def _error(self, text: str) -> RankError:
        before = "no step before it" if not self.steps else f"all of step {self.steps} and those before it"
        return RankError(f"{text}. Rank {self.rank} has made nothing of step {self.steps + 1}, and {before}.")


def _combined(parts: list[list[bytes]], combine: Combine) -> bytes:
    try:
        for rank, (place, settings, *_) in enumerate(parts):
            if place != parts[0][0]:
                raise RankError(f"rank {rank} is in {place.decode()}, and rank 0 in {parts[0][0].decode()}")
            if settings != parts[0][1]:
                raise RankError(_difference(rank, json.loads(settings), json.loads(parts[0][1])))
        return FINE + joined(combine([own[2:] for own in parts]))
    except RankError as refusal:
        return FAILED + str(refusal).encode()


def _difference(rank: int, own: dict[str, Any], expected: dict[str, Any]) -> str:
    for name in [*expected, *own]:
        given, wanted = (repr(settings.get(name, "nothing")) for settings in (own, expected))
        if given != wanted:
            return f"{name} must be the same on all ranks, got {given} on rank {rank} and {wanted} on rank 0"
    return f"the settings of rank {rank} have another order than those of rank 0"


def joined(parts: Sequence[bytes]) -> bytes:
    """Return parts as one message.

    >>> split(joined([b"a", b"", b"bc"]))
    [b'a', b'', b'bc']
    """
    return b"".join([struct.pack(f"<{len(parts) + 1}q", len(parts), *map(len, parts)), *parts])


def split(message: bytes) -> list[bytes]:
    """Return the parts of a message."""
    (count,) = struct.unpack_from("<q", message)
    lengths = struct.unpack_from(f"<{count}q", message, 8)
    parts, start = [], 8 * (count + 1)
    for length in lengths:
        parts.append(message[start : start + length])
        start += length
    return parts
