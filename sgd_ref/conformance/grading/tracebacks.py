"""Tracebacks of implementations: their own frames, without those of the kit that called them."""

from __future__ import annotations

from pathlib import Path
from traceback import TracebackException

KIT = Path(__file__).parents[1]
"""The folder of the kit."""

MOST_FRAMES = 20


def own_traceback(error: BaseException) -> str:
    r"""Return the traceback of an error from the first frame outside the kit; of many frames, only the last.

    It is empty if all frames are of the kit, as for a program that runs in another process.

    Examples
    --------
    >>> def run():
    ...     raise ValueError("no momentum")
    >>> try:
    ...     run()
    ... except ValueError as error:
    ...     print(own_traceback(error).splitlines()[-1])
    ValueError: no momentum
    """
    frames = error.__traceback__
    while frames is not None and Path(frames.tb_frame.f_code.co_filename).is_relative_to(KIT):
        frames = frames.tb_next
    if frames is None:
        return ""
    try:
        return "".join(TracebackException(type(error), error, frames, limit=-MOST_FRAMES).format())
    # The ``__str__`` of the error, or of its cause, may itself raise.
    except Exception:
        return ""
