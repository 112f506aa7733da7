"""Work of streams: late, in the order that CUDA promises, and in no other."""

from __future__ import annotations

import numpy as np
import pytest

from numba_kernels.selfcheck.ptx.driver.queue import LEGACY, Queue

BLOCKING, FREE, OTHER = 8, 16, 24


@pytest.fixture
def done() -> list[str]:
    return []


def queue(seed: int = 0) -> Queue:
    made = Queue(np.random.default_rng(seed))
    made.add_stream(BLOCKING, is_blocking=True)
    made.add_stream(FREE, is_blocking=False)
    made.add_stream(OTHER, is_blocking=False)
    return made


def test_nothing_happens_before_the_host_waits(done: list[str]) -> None:
    works = queue()
    for name in "abc":
        works.put(FREE, lambda name=name: done.append(name))  # type: ignore[misc]
    assert done == []
    works.finish_stream(FREE)
    assert done == ["a", "b", "c"]


def test_a_wait_for_one_stream_leaves_the_others(done: list[str]) -> None:
    works = queue()
    works.put(FREE, lambda: done.append("free"))
    works.put(OTHER, lambda: done.append("other"))
    works.finish_stream(OTHER)
    assert done == ["other"]
    works.finish_all()
    assert done == ["other", "free"]


def test_the_legacy_stream_and_blocking_streams_wait_for_each_other(done: list[str]) -> None:
    for seed in range(8):
        works = queue(seed)
        works.put(BLOCKING, lambda: done.append("first"))
        works.put(LEGACY, lambda: done.append("second"))
        works.put(BLOCKING, lambda: done.append("third"))
        works.finish_all()
        assert done == ["first", "second", "third"]
        done.clear()


def test_other_streams_come_in_every_order(done: list[str]) -> None:
    orders = set()
    for seed in range(16):
        works = queue(seed)
        works.put(LEGACY, lambda: done.append("legacy"))
        works.put(FREE, lambda: done.append("free"))
        works.finish_all()
        orders.add(tuple(done))
        done.clear()
    assert len(orders) == 2


def test_an_event_puts_streams_in_order(done: list[str]) -> None:
    for seed in range(8):
        works = queue(seed)
        mark = works.put(FREE, lambda: done.append("before"))
        works.wait_for(OTHER, [mark])
        works.put(OTHER, lambda: done.append("after"))
        works.finish_stream(OTHER)
        assert done == ["before", "after"]
        done.clear()


def test_what_python_frees_meanwhile_is_freed_afterwards(done: list[str]) -> None:
    works = queue()

    def work() -> None:
        assert works.is_busy
        works.postpone(lambda: done.append("freed"))
        done.append("executed")

    works.put(FREE, work)
    works.finish_all()
    assert done == ["executed", "freed"]
    assert not works.is_busy
