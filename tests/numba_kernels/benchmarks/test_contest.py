"""Turns: who is timed when, with how many threads, and what happens where somebody fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from numba_kernels.benchmarks import contest as contests
from numba_kernels.benchmarks.contest import Measurement, Workers, contest, ratio, to_json
from numba_kernels.benchmarks.workload import Workload

WORKLOAD = Workload("2 x 100", "momentum")


class Fake:
    """Answers from a table: seconds by peer and number of threads, or why there are none."""

    def __init__(self, table: dict[tuple[str, int], Any]) -> None:
        self.table = table
        self.turns: list[tuple[str, int]] = []
        self.memory: list[bool] = []

    def turn(self, peer: str, threads: int, workload: Workload, seconds: float, memory: bool) -> Any:
        assert workload == WORKLOAD
        self.turns.append((peer, threads))
        self.memory.append(memory)
        found = self.table[peer, threads]
        if isinstance(found, Iterable) and not isinstance(found, str):
            found = found.pop(0)
        if isinstance(found, str):
            return {"absent": found}
        return {"samples": [found, 9 * found, found], "growth": 42 if memory else None, "fault": ""}


def test_turns_alternate_and_each_goes_on_with_its_best_number_of_threads() -> None:
    fake = Fake({("numpy", 1): 1.0, ("numpy", 2): "one thread", ("optax", 1): 3.0, ("optax", 2): 2.0})
    result = contest(fake, WORKLOAD, ["numpy", "optax"], rounds=3, seconds=0.1)
    first = [("numpy", 1), ("numpy", 2), ("optax", 1), ("optax", 2)]
    assert fake.turns == [*first, ("numpy", 1), ("optax", 2), ("numpy", 1), ("optax", 2)]
    assert fake.memory == [True] * 4 + [False] * 4
    numpy, optax = result["numpy"], result["optax"]
    assert (numpy.threads, numpy.seconds, numpy.growth, numpy.absent) == (1, 1.0, 42, "")
    assert (optax.threads, optax.seconds, len(optax.rounds)) == (2, 2.0, 3)
    assert optax.others == {"1": [3.0, 27.0, 3.0]}
    assert ratio(optax, numpy) == 2.0


def test_ratios_are_taken_round_by_round() -> None:
    # Whatever slows down a whole round slows down both.
    slow = Measurement(rounds=[[2.0], [20.0], [200.0]])
    fast = Measurement(rounds=[[1.0], [10.0], [100.0]])
    assert ratio(slow, fast) == 2.0


def test_who_is_absent_has_no_more_turns() -> None:
    fake = Fake({("numpy", 1): "none", ("numpy", 2): "none", ("optax", 1): [1.0, "died"], ("optax", 2): 2.0})
    result = contest(fake, WORKLOAD, ["numpy", "optax"], rounds=4, seconds=0.1)
    assert fake.turns[4:] == [("optax", 1)]
    assert (result["numpy"].absent, result["optax"].absent) == ("none", "died")
    assert to_json(result["optax"]) == {"absent": "died"}


def test_workers_time_and_say_what_they_do_not_offer() -> None:
    with Workers() as workers:
        result = contest(workers, WORKLOAD, ["numpy", "kernels"], rounds=2, seconds=0.0)
        half = workers.turn("numpy", 1, Workload("1 x 9", "momentum", "bfloat16"), 0.0, memory=False)
        broken = workers.turn("roof numpy", 1, Workload("1 x 9", "surprise"), 0.0, memory=False)
    assert half == {"absent": "NumPy itself has no bfloat16"}
    assert broken == {"absent": "KeyError: 'surprise'"}
    for entry in result.values():
        assert entry.absent == ""
        assert len(entry.rounds) == 2
        assert 0 < entry.seconds < 1
    assert result["numpy"].threads == 1


def test_a_worker_that_dies_or_hangs_is_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contests, "MODULE", "numba_kernels.benchmarks.nothing")
    with Workers() as workers:
        died = workers.turn("numpy", 1, WORKLOAD, 0.0, memory=False)
        assert "the process ended with status 1" in died["absent"]
        monkeypatch.setattr(contests, "MODULE", "numba_kernels.benchmarks.worker")
        assert "samples" in workers.turn("numpy", 1, WORKLOAD, 0.0, memory=False)
        # No machine makes the fewest steps of so many elements in that time.
        monkeypatch.setattr(contests, "TURN_LIMIT", 0.01)
        hung = workers.turn("numpy", 1, Workload("1 x 10000000", "momentum"), 60.0, memory=False)
        assert hung == {"absent": "no answer within 0.01 seconds"}
