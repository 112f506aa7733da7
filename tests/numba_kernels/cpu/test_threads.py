"""Threads: how work is shared, interrupts, failures, forks, and other modes of the processor."""

from __future__ import annotations

import _thread
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numba_kernels
import sgd_ref
from numba_kernels.cpu import plan
from numba_kernels.cpu import threads as module
from numba_kernels.cpu.addresses import IS_ARM, IS_X86
from numba_kernels.cpu.kernels import update_kernel
from numba_kernels.cpu.threads import run_uninterrupted, shares

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
Pair, numbers = agreement["Pair"], agreement["numbers"]
assert_equal_bits = agreement["assert_equal_bits"]

ROOT = Path(__file__).parents[3]

FEATURES: dict[str, Any] = {
    name: value for name, value in agreement["EVERYTHING"].items() if name != "ema_overwrite_frequency"
}


@pytest.fixture(autouse=True)
def interrupts_are_not_ignored() -> Iterator[None]:
    """A shell that starts a command in the background has it ignore interrupts, and Python leaves it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two threads work on arrays that are too small for that to be faster."""
    monkeypatch.setattr(plan, "FEWEST_FOR_A_THREAD", 1)


@settings(deadline=None)
@given(st.lists(st.integers(1, 65536), max_size=60), st.integers(1, 12))
def test_shares_are_all_chunks_in_order_and_of_about_equal_size(sizes: list[int], count: int) -> None:
    found = shares(sizes, count)
    assert len(found) <= count
    assert [index for first, last in found for index in range(first, last)] == list(range(len(sizes)))
    assert all(first < last for first, last in found)
    for first, last in found:
        assert sum(sizes[first:last]) * count < sum(sizes) + count * sizes[last - 1]


@settings(deadline=None)
@given(st.integers(1, 100), st.integers(1, 12))
def test_chunks_of_one_size_are_shared_evenly(number: int, count: int) -> None:
    lengths = [last - first for first, last in shares([65536] * number, count)]
    assert max(lengths) - min(lengths) <= 1
    assert len(lengths) == min(number, count)


class Work:
    """Tasks that note what they do, and how many of them do it at once."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.seconds = seconds
        self.done: list[int] = []
        self.most = self._running = 0
        self._lock = threading.Lock()

    def task(self, number: int) -> None:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(self.seconds)
        with self._lock:
            self._running -= 1
            self.done.append(number)

    def tasks(self, count: int) -> list[Any]:
        return [partial(self.task, number) for number in range(count)]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_all_tasks_are_run_and_never_more_at_once_than_asked_for(threads: int, count: int) -> None:
    work = Work()
    run_uninterrupted(work.tasks(count), threads)
    assert sorted(work.done) == list(range(count))
    assert work.most == min(threads, count)


@pytest.mark.parametrize("failing", [0, 1, 4])
@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_what_a_task_raises_is_raised_when_all_have_ended(failing: int, error: Any) -> None:
    work = Work()
    tasks = work.tasks(5)

    def fails() -> None:
        raise error("in a task")

    tasks[failing] = fails
    with pytest.raises(error, match="in a task"):
        run_uninterrupted(tasks, 2)
    assert len(work.done) == 4
    # The threads serve the next call.
    run_uninterrupted(work.tasks(5), 2)
    assert len(work.done) == 9


def test_of_several_failures_the_first_task_tells_its_own() -> None:
    def fails(text: str, seconds: float) -> None:
        time.sleep(seconds)
        raise ValueError(text)

    for threads in (1, 2, 3):
        with pytest.raises(ValueError, match="first"):
            run_uninterrupted([partial(fails, "first", 0.02), partial(fails, "second", 0.0)], threads)


INTERRUPTS: dict[str, Any] = {
    "signal": lambda: signal.raise_signal(signal.SIGINT),
    "interrupt_main": _thread.interrupt_main,
}
if hasattr(signal, "pthread_kill"):
    # As from the keyboard: it wakes the main thread.
    INTERRUPTS["signal to the main thread"] = lambda: signal.pthread_kill(
        threading.main_thread().ident or 0, signal.SIGINT
    )


@pytest.mark.parametrize("interrupt", INTERRUPTS.values(), ids=INTERRUPTS)
@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_is_raised_when_all_tasks_have_ended(interrupt: Any, threads: int) -> None:
    work = Work(0.05)
    tasks = [interrupt, *work.tasks(4), interrupt]
    with pytest.raises(KeyboardInterrupt):
        run_uninterrupted(tasks, threads)
    assert sorted(work.done) == [0, 1, 2, 3]


def interrupting(kernel: Any, interrupt: Any, times: list[int]) -> Any:
    """Return a kernel that is interrupted once, in the midst of its work."""

    def called(*arguments: Any) -> None:
        table, chunks, first, last, *others = arguments
        middle = (first + last) // 2
        kernel(table, chunks, first, middle, *others)
        if times:
            times.pop()
            interrupt()
        kernel(table, chunks, middle, last, *others)

    return called


@pytest.mark.parametrize("interrupt", INTERRUPTS.values(), ids=INTERRUPTS)
@pytest.mark.parametrize("layout", [np.array, agreement["with_gaps"]])
def test_a_step_of_several_tasks_that_is_interrupted_is_made(
    interrupt: Any, layout: Any, small_shares: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole of it: variables, state and counts, as of the reference that was not interrupted."""
    generator = np.random.default_rng(1)
    shapes = [(300, 700), (5, 7), (2000, 70)]
    pair = Pair([numbers(generator, shape, np.float32) for shape in shapes], layout, threads=2, **FEATURES)
    pair.apply([numbers(generator, shape, np.float32) for shape in shapes])
    reference, kernels = pair.inner
    gradients = [numbers(generator, shape, np.float32) for shape in shapes]
    reference.apply(gradients)
    times = [1]
    with monkeypatch.context() as patch:
        patch.setattr(
            "numba_kernels.cpu.compiling.update_kernel",
            lambda *arguments: interrupting(update_kernel(*arguments), interrupt, times),
        )
        # What interrupts is a function of Python, without machine code.
        patch.setattr("numba_kernels.cpu.tasks.entry", lambda kernel: kernel)
        # Kernels are chosen when a plan is made.
        kernels._plan = None
        with pytest.raises(KeyboardInterrupt):
            kernels.apply(gradients)
    assert not times
    pair.compare()
    pair.apply(gradients)


@pytest.fixture
def no_garbage_is_collected() -> Iterator[None]:
    """Within a callback of the garbage collector, such as that of Hypothesis, an interrupt is lost."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("dtypes", [["float32"], ["float32", "float64"]], ids=str)
def test_a_step_in_one_thread_that_is_interrupted_is_made_and_counted(
    dtypes: list[str], no_garbage_is_collected: None
) -> None:
    """The signal comes from another thread while a kernel, which holds no lock, is at work."""
    variables = [np.zeros((1 << 24) // len(dtypes), dtype) for dtype in dtypes]
    gradients = [np.ones_like(w) for w in variables]
    optimizer = numba_kernels.SGD(0.5)
    optimizer.apply([g[:5] for g in gradients], [w[:5].copy() for w in variables])
    optimizer = numba_kernels.SGD(0.5)
    optimizer.build(variables)
    interrupts = 0
    for attempt in range(20):
        before = optimizer.calls
        timer = threading.Timer(0.0005 * (attempt % 10), _thread.interrupt_main)
        try:
            timer.start()
            optimizer.apply(gradients)
            # It may come too late for the kernel, and on a busy machine much too late.
            for _ in range(500):
                time.sleep(0.01)
        except KeyboardInterrupt:
            interrupts += 1
        timer.join()
        assert optimizer.calls - before in (0, 1)
        for w in variables:
            assert (w == -0.5 * optimizer.calls).all()
    assert interrupts == 20


AT_THE_END = """
import atexit, threading, os
import numpy as np
import numba_kernels

w = np.zeros(10_000_000, np.float32)
optimizer = numba_kernels.SGD(0.5, threads=2)
optimizer.build([w])

def last_step():
    optimizer.apply([np.ones_like(w)])
    print('"stepped"' if (w == -0.5).all() else '"wrong"', flush=True)

atexit.register(last_step)
"""


def test_a_step_while_python_ends() -> None:
    """No thread can be started any more then, nor in a process that has as many as it may have."""
    assert in_a_process(AT_THE_END, seconds=30) == "stepped"


@pytest.mark.parametrize("threads", [1, 3])
def test_without_any_other_thread_all_tasks_are_run(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted:
        def submit(self, task: Any) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module, "_pool", lambda process, threads: Exhausted())
    work = Work(0.0)
    run_uninterrupted(work.tasks(5), threads)
    assert sorted(work.done) == [0, 1, 2, 3, 4]


def test_python_threads_at_once() -> None:
    """More of them than there are workers, each with tasks of its own."""
    works = [Work(0.002) for _ in range(12)]
    failures: list[BaseException] = []

    def run(work: Work) -> None:
        try:
            for _ in range(5):
                run_uninterrupted(work.tasks(4), 2)
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    callers = [threading.Thread(target=run, args=[work]) for work in works]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert not failures
    assert [len(work.done) for work in works] == [20] * 12


def test_two_python_threads_step_two_optimizers(small_shares: None) -> None:
    generator = np.random.default_rng(2)
    shapes = [(300, 700), (17,), (131, 1009)]
    variables = [numbers(generator, shape, np.float32) for shape in shapes]
    gradients = [[numbers(generator, shape, np.float32) for shape in shapes] for _ in range(5)]
    reference, expected = sgd_ref.SGD(**FEATURES), [w.copy() for w in variables]
    for call in range(10):
        reference.apply(gradients[call % 5], expected)
    failures: list[BaseException] = []

    def train(steps_at_once: threading.Barrier) -> None:
        try:
            for _ in range(4):
                optimizer, own = numba_kernels.SGD(**FEATURES, threads=2), [w.copy() for w in variables]
                optimizer.build(own)
                steps_at_once.wait(30)
                for call in range(10):
                    optimizer.apply(gradients[call % 5])
                assert_equal_bits("variables", expected, own)
                assert_equal_bits("velocities", reference.velocities, optimizer.velocities)
                assert_equal_bits("averages", reference.averages, optimizer.averages)
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)
            steps_at_once.abort()

    barrier = threading.Barrier(2)
    trainers = [threading.Thread(target=train, args=[barrier]) for _ in range(2)]
    for trainer in trainers:
        trainer.start()
    for trainer in trainers:
        trainer.join(60)
    assert not failures


def test_a_pool_belongs_to_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    here = module._pool(os.getpid(), 2)
    assert module._pool(os.getpid(), 2) is here
    assert module._pool(os.getpid(), 3) is not here
    assert module._pool(-1, 2) is not here


def in_a_process(script: str, *arguments: str, seconds: int = 120) -> Any:
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


COMMON = """
import json, os, sys, threading, warnings
import numpy as np
import numba_kernels, sgd_ref
from numba_kernels.cpu import plan

# Two threads work also where that is not faster.
plan.FEWEST_FOR_A_THREAD = 1

def random(seed):
    # Half of them are subnormal, and the same ones in every array.
    exponents = np.random.default_rng(0).choice([-146, -135, -70, 0], (300, 700))
    return np.ldexp(np.random.default_rng(seed).standard_normal((300, 700)), exponents).astype(np.float32)

FEATURES = dict(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=0.01, global_clipnorm=1.0,
                use_ema=True, ema_momentum=0.9)

def bits(optimizer, w):
    return [array.tobytes() for array in (w, *optimizer.velocities, *optimizer.averages)]

def made(cls, **threads):
    w = random(1)
    optimizer = cls(**FEATURES, **threads)
    optimizer.build([w])
    return optimizer, w

def step(optimizer, w, calls):
    for call in calls:
        optimizer.apply([random(call + 2)], [w])

reference, expected = made(sgd_ref.SGD)
"""

FORK = (
    COMMON
    + """
import signal
warnings.simplefilter("ignore", DeprecationWarning)
kernels, w = made(numba_kernels.SGD, threads=2)
step(reference, expected, range(2))
step(kernels, w, range(2))
child = os.fork()
# A process that waits for a thread that it has not would outlive this test.
signal.alarm(60)
step(reference, expected, range(2, 4))
step(kernels, w, range(2, 4))
right = bits(reference, expected) == bits(kernels, w)
if not child:
    # So do optimizers that the child makes, and a child of the child.
    other, u = made(numba_kernels.SGD, threads=2)
    step(other, u, range(4))
    grandchild = os.fork()
    signal.alarm(60)
    if not grandchild:
        step(other, u, range(4, 5))
        step(reference, expected, range(4, 5))
        os._exit(0 if bits(reference, expected) == bits(other, u) else 4)
    right = right and bits(reference, expected) == bits(other, u)
    _, status = os.waitpid(grandchild, 0)
    os._exit(0 if right and status == 0 else 3)
_, status = os.waitpid(child, 0)
print(json.dumps([right, os.waitstatus_to_exitcode(status)]))
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_both_processes_step() -> None:
    assert in_a_process(FORK) == [True, 0]


MODE = """
import numba
from numba_kernels.cpu import addresses as memory
from numba_kernels.cpu.addresses import _mode_of_rounding, _set_mode_of_rounding

@numba.njit
def set_mode(mode):
    _set_mode_of_rounding(mode)

@numba.njit
def mode():
    return _mode_of_rounding()

def flush(on):
    set_mode(memory.DEFAULT_MODE | (memory.FLUSH_BITS if on else 0))
"""

STARTED_WHILE_FLUSHING = (
    COMMON
    + MODE
    + """
from numba_kernels.cpu import threads

flush(True)
assert sgd_ref.arithmetic.rounded.flushes_subnormals()
# Threads take over the mode of the one that starts them.
seen = []
for count in (1, 2, threads.COORDINATORS):
    pool = threads._pool(os.getpid(), count)
    pool.submit(lambda: seen.append(sgd_ref.arithmetic.rounded.flushes_subnormals())).result()
lazily = []
threads.run_uninterrupted([lambda: lazily.append(sgd_ref.arithmetic.rounded.flushes_subnormals())] * 4, 2)
flush(False)
kernels, w = made(numba_kernels.SGD, threads=2)
step(reference, expected, range(3))
step(kernels, w, range(3))
print(json.dumps([any(seen), any(lazily), bits(reference, expected) == bits(kernels, w),
                  bool((np.abs(expected) < 2.0**-126).any())]))
"""
)


needs_mode = pytest.mark.skipif(
    not (IS_X86 or IS_ARM),
    reason="how the mode of this processor is set is not known here",
)


@needs_mode
def test_threads_that_were_started_while_subnormals_were_flushed() -> None:
    flushing, lazily, right, has_subnormals = in_a_process(STARTED_WHILE_FLUSHING)
    assert flushing
    assert lazily
    assert has_subnormals
    assert right


FLUSHING = (
    COMMON
    + MODE
    + """
kernels, w = made(numba_kernels.SGD, threads=int(sys.argv[1]))
step(reference, expected, range(2))
step(kernels, w, range(2))
before = bits(kernels, w), kernels.calls
messages = []
flush(True)
for optimizer, own in ((reference, expected), (kernels, w)):
    try:
        optimizer.apply([random(9)])
        messages.append(None)
    except RuntimeError as error:
        messages.append(str(error))
still = mode() & memory.FLUSH_BITS == memory.FLUSH_BITS
flush(False)
unchanged = before == (bits(kernels, w), kernels.calls)
step(reference, expected, range(2, 4))
step(kernels, w, range(2, 4))
print(json.dumps([messages, still, unchanged, bits(reference, expected) == bits(kernels, w)]))
"""
)


@needs_mode
@pytest.mark.parametrize("threads", ["1", "2"])
def test_while_this_thread_flushes_subnormals_nothing_is_done(threads: str) -> None:
    messages, still, unchanged, right = in_a_process(FLUSHING, threads)
    assert messages[0] is not None
    assert "flushes subnormal numbers" in messages[0]
    assert messages[1] == messages[0]
    assert still
    assert unchanged
    assert right


ANOTHER_MODE = (
    COMMON
    + MODE
    + """
# Rounding towards zero, which the reference does not look for.
towards_zero = memory.DEFAULT_MODE | (0x6000 if memory.IS_X86 else 3 << 22)
kernels, w = made(numba_kernels.SGD)
step(reference, expected, range(2))
step(kernels, w, range(1))
gradient = random(3)
set_mode(towards_zero)
kernels.apply([gradient])
# On x86 the lowest bits note what has happened.
after = mode() & ~0x3F
set_mode(memory.DEFAULT_MODE)
print(json.dumps([bits(reference, expected) == bits(kernels, w), after == towards_zero]))
"""
)


@needs_mode
def test_kernels_round_to_nearest_and_give_the_mode_back() -> None:
    right, given_back = in_a_process(ANOTHER_MODE)
    assert given_back
    assert right
