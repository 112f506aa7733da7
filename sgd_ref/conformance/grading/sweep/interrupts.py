"""Processes that leave Ctrl-C to the process that started them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ignoring_interrupts() -> Iterator[None]:
    """Start processes that ignore Ctrl-C: this process ends them, and they print no traceback.

    Only the main thread may set handlers of signals; in any other thread nothing changes.

    Examples
    --------
    >>> with ignoring_interrupts():
    ...     signal.getsignal(signal.SIGINT).name
    'SIG_IGN'
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
