"""Processes that share the work of a check, and what is said when one of them dies."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def processes(number: int, not_run: list[str]) -> Iterator[Executor]:
    """Yield an executor with some processes; if one of them dies, what was left counts as not run.

    Parameters
    ----------
    number : int
        The number of processes.
    not_run : list of str
        The checks that could not be run. If a process dies, the reason is appended and the block ends.

    Examples
    --------
    >>> not_run = []
    >>> with processes(1, not_run) as pool:
    ...     print(pool.submit(abs, -2).result())
    2
    >>> not_run
    []

    A process that dies is no error of the caller:

    >>> import os
    >>> with processes(1, not_run) as pool:
    ...     print(pool.submit(os._exit, 1).result())
    >>> not_run  # doctest: +ELLIPSIS
    ['what was left: A process in the process pool was terminated abruptly ...']
    """
    try:
        # A process that is forked while other threads run may hang.
        with ProcessPoolExecutor(number, multiprocessing.get_context("spawn")) as pool:
            yield pool
    except BrokenExecutor as failure:
        not_run.append(f"what was left: {failure}")
