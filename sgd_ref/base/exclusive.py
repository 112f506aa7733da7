"""One optimizer does one thing at a time: a second call while it is at work is refused, and does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

CALL = "call"
"""The only key of a ``Running``."""


class Running(dict[str, object]):
    """A mark that an optimizer is at work: a dict with one token under ``CALL``, or empty.

    A thread claims the work by ``setdefault``, which is atomic even in a Python without a global lock: only
    one of two threads gets its own token back. Taking a lock would be atomic, too. But an interrupt after a
    lock is taken, and before the thread has noted that, would leave the lock taken for ever. A copy, also an
    unpickled one, is empty.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return Running, ()


@contextmanager
def alone(running: Running) -> Iterator[None]:
    """Do the work of a ``with`` statement only if the optimizer is doing no other work.

    ``apply`` has the same steps written out, since a context manager takes half a microsecond.

    Raises
    ------
    RuntimeError
        If it is doing other work.
    """
    token: list[None] | None = []
    try:
        if running.setdefault(CALL, token) is not token:
            token = None
            refuse()
        yield
    finally:
        # No function is called here, so that no interrupt can come before the token is removed.
        if token is not None and CALL in running and running[CALL] is token:
            del running[CALL]


def refuse() -> NoReturn:
    """Raise the error for work that comes while other work is being done."""
    raise RuntimeError(
        "this optimizer is at work in another call: another thread uses it at the same time (give each "
        "thread an optimizer of its own, or let the threads take turns by a lock), or a callable rate, a "
        "schedule or a handler of signals uses the optimizer that called it; the callable learning_rate must "
        "not call apply of its own optimizer"
    )
