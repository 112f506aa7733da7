"""Work in several threads, and work that an interrupt must not split.

Numba's own threads are not used: which kind of them there is depends on the installation, the most common
kind ends the process when two Python threads use it at once, and another one does not survive a fork
(https://github.com/numba/numba/issues/8563). Kernels release the global lock, so Python's threads do.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

Task = Callable[[], None]

COORDINATORS = 256
"""Steps that can be under way at once, each in a Python thread of its own; one thread is started for each."""


def run_uninterrupted(tasks: Sequence[Task], threads: int) -> None:
    """Run all tasks, up to `threads` of them at a time, and return when all have ended.

    Python raises KeyboardInterrupt in the main thread only. The tasks run in others, so that all are done
    when it is raised here again.

    Raises
    ------
    BaseException
        What the first task that failed has raised, else the interrupt.
    """
    workers, coordinators = _pool(os.getpid(), threads), _pool(os.getpid(), COORDINATORS)
    begun, ended = threading.Lock(), threading.Event()
    failures: list[BaseException] = []
    interrupts: list[BaseException] = []

    def coordinate() -> None:
        if not begun.acquire(blocking=False):
            return
        try:
            _run(tasks, workers)
        except BaseException as failure:  # noqa: BLE001  (it is raised again, in the thread that asked)
            failures.append(failure)
        finally:
            ended.set()

    is_submitted = False
    while not ended.is_set():
        try:
            # An interrupt may come before it is known whether this was submitted; once more does no harm.
            if not is_submitted:
                coordinators.submit(coordinate)
                is_submitted = True
            ended.wait()
        except BaseException as interrupt:  # noqa: BLE001  (it is raised again when no step is half made)
            interrupts.append(interrupt)
    for raised in (*failures, *interrupts):
        raise raised


def _run(tasks: Sequence[Task], workers: ThreadPoolExecutor) -> None:
    others = [workers.submit(task) for task in tasks[1:]]
    try:
        tasks[0]()
    finally:
        wait(others)
    for other in others:
        other.result()


@functools.lru_cache(maxsize=64)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the pool of a process: a fork has the object of its parent, but none of its threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"sgd-ref-{process}-{threads}")


def shares(sizes: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Split a list of sizes into at most `count` stretches, one after the other, of about equal sums.

    >>> shares([4, 4, 4, 4], 2), shares([9, 1, 1], 2), shares([5], 3)
    ([(0, 2), (2, 4)], [(0, 1), (1, 3)], [(0, 1)])
    """
    total = sum(sizes)
    bounds: list[tuple[int, int]] = []
    passed, first = 0, 0
    for index, size in enumerate(sizes):
        passed += size
        if passed * count >= total * (len(bounds) + 1) and index >= first:
            bounds.append((first, index + 1))
            first = index + 1
    if first < len(sizes):
        bounds.append((first, len(sizes)))
    return bounds
