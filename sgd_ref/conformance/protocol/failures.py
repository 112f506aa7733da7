"""The failures of an implementation that runs in a process of its own."""

from __future__ import annotations

LONGEST_SHOWN = 4000


class ImplementationError(Exception):
    """The implementation refused or broke, and said so.

    Attributes
    ----------
    kind, message : str
        Name of the type of the error, such as ``"ValueError"``, and its message.
    call : int or None
        The call in which it happened, counted from 0; None if it belongs to no call.
    """

    def __init__(self, kind: str, message: str, call: int | None = None) -> None:
        where = "" if call is None else f"call {call}: "
        super().__init__(f"{where}{kind}: {message}")
        self.kind = kind
        self.message = message
        self.call = call


class WorkerFailed(Exception):
    """The process of the implementation did not answer as the protocol requires."""


class WorkerDied(WorkerFailed):
    """The process ended, or closed its standard output, before its answer was complete."""


class WorkerHung(WorkerFailed):
    """The process did not answer within the time limit and was ended."""


class InvalidAnswer(WorkerFailed):
    """The process wrote something else than an answer to the case."""


def showable(words: str) -> str:
    r"""Return the output of a program so that it can be shown anywhere; of long output, only the beginning.

    Terminals obey control characters, and half a surrogate pair cannot be encoded at all.

    >>> showable("red: \x1b[31m, half a pair: \ud800, two\nlines")
    'red: �[31m, half a pair: �, two\nlines'
    """
    shown = "".join(
        character if character.isprintable() or character in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for character in words[:LONGEST_SHOWN]
    )
    return shown + ("..." if len(words) > LONGEST_SHOWN else "")
