"""Work in several threads, and work that an interrupt must not split.

Numba's own threads are not used, since their kind depends on the installation. The most common kind ends the
process if two Python threads use it at once, and another kind does not survive a fork
(https://github.com/numba/numba/issues/8563). Kernels release the global lock, so Python's threads are enough.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

Task = Callable[[], None]

COORDINATORS = 256
"""The number of steps that can be in progress at once, each in a Python thread of its own."""


def run_as_one(tasks: Sequence[Task]) -> None:
    """Run tasks that are not written in Python, one after the other, without an interrupt between them.

    Python raises an interrupt only between two of its own instructions, and there are none between these
    tasks.
    """
    # A list takes half of the time of a deque without room.
    list(map(operator.call, tasks))


def run_uninterrupted(tasks: Sequence[Task], threads: int, afterwards: Sequence[Task] = ()) -> None:
    """Run all tasks, up to `threads` of them at a time, and return when all have ended.

    Then call `afterwards`, unless a task has failed.

    Python raises KeyboardInterrupt only in the main thread. The tasks run in other threads, so that all are
    done before the interrupt is raised again here.

    Raises
    ------
    BaseException
        The error of the first task that failed, otherwise the interrupt.
    """
    coordinators = _pool(os.getpid(), COORDINATORS)
    begun, ended = threading.Lock(), threading.Event()
    failures: list[BaseException] = []
    interrupts: list[BaseException] = []

    def coordinate() -> None:
        if not begun.acquire(blocking=False):
            return
        try:
            _run(tasks, threads)
            run_as_one(afterwards)
        except BaseException as failure:  # noqa: BLE001  (it is raised again, in the thread that asked)
            failures.append(failure)
        finally:
            ended.set()

    is_submitted = False
    while not ended.is_set():
        try:
            # An interrupt may hide whether the tasks were submitted; submitting them again does no harm.
            if not is_submitted:
                _submit(coordinators, coordinate)
                is_submitted = True
            ended.wait()
        except BaseException as interrupt:  # noqa: BLE001  (it is raised again when no step is half made)
            interrupts.append(interrupt)
    for raised in (*failures, *interrupts):
        raise raised


def _submit(pool: ThreadPoolExecutor, task: Task) -> None:
    try:
        pool.submit(task)
    except RuntimeError:
        # No thread can be started, for example while Python shuts down.
        task()


def _run(tasks: Sequence[Task], threads: int) -> None:
    """Run the tasks in this thread and in up to `threads` - 1 others."""
    waiting = deque(enumerate(tasks))
    failures: dict[int, BaseException] = {}

    def work() -> None:
        while True:
            try:
                number, task = waiting.popleft()
            except IndexError:
                return
            try:
                task()
            except BaseException as failure:  # noqa: BLE001  (it is raised again when all have ended)
                failures[number] = failure

    workers = _pool(os.getpid(), threads)
    others: list[Future[None]] = []
    # If no thread can be started, for example while Python shuts down, this thread does all the work.
    with contextlib.suppress(RuntimeError):
        for _ in range(min(threads, len(tasks)) - 1):
            others.append(workers.submit(work))
    work()
    # Threads that have not begun yet, because of the work of another step, have nothing left to do.
    wait([other for other in others if not other.cancel()])
    if failures:
        raise failures[min(failures)]


@functools.lru_cache(maxsize=64)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Return the pool of this process: a fork inherits the object of its parent, but not the threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"sgd-ref-{process}-{threads}")


def shares(sizes: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Split a list of sizes into at most `count` consecutive parts with nearly equal sums.

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
