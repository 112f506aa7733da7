"""Units that end processes, in a module that workers can import."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from sgd_ref.conformance.grading.sweep.unit import Json, Refused


def plain(number: int) -> Json:
    return {"number": number}


def kills_once(number: int, process: int | None, flag: str) -> Json:
    """End a process, by default the own one, the first time."""
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return {"number": number}
    os.kill(os.getpid() if process is None else process, signal.SIGKILL)
    return {"number": number}


def kills() -> Json:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def raises() -> Json:
    raise ValueError("no momentum")


def refuses() -> Json:
    raise Refused("another program: version is 2 instead of 1")
