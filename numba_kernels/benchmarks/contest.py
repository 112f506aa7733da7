"""Peers take turns, each in its own process, so that their thread pools do not disturb one another."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, Self

from numba_kernels.benchmarks.peers import FAMILIES, KERNELS
from numba_kernels.benchmarks.workload import Workload
from sgd_ref.conformance.protocol.failures import WorkerFailed
from sgd_ref.conformance.protocol.json_lines import Json, from_line, to_line
from sgd_ref.conformance.protocol.running_program import RunningProgram

MODULE = "numba_kernels.benchmarks.worker"
LONGEST_ANSWER = 2**20
TURN_LIMIT = 180.0
"""The time limit of a turn in seconds. Some libraries need minutes to compile a step over 2,000 tensors."""

THREADS = (1, 2)


class Turns(Protocol):
    """An object that gives a peer its turn."""

    def turn(self, peer: str, threads: int, workload: Workload, seconds: float, memory: bool) -> Json:
        """Return the samples in seconds, the growth of memory in bytes, and what is wrong with the result.

        Or the reason why there are none.
        """
        ...


@dataclass
class Measurement:
    """The measurement of one peer on one workload.

    Attributes
    ----------
    threads : int
        The number of threads with which the peer was fastest in the first round.
    rounds : list of list of float
        The durations of all steps in seconds, by rounds.
    growth : int or None
        The largest growth of memory during a step, in bytes.
    others : dict of str to list of float
        Samples of the first round with other numbers of threads.
    fault : str or None
        What is wrong with the result; empty if it is right, None if it was not checked.
    absent : str
        The reason why nothing was measured; empty if something was.
    """

    threads: int = 0
    rounds: list[list[float]] = field(default_factory=list)
    growth: int | None = None
    others: dict[str, list[float]] = field(default_factory=dict)
    fault: str | None = None
    absent: str = ""

    @property
    def seconds(self) -> float:
        """The median, over the rounds, of the medians of each round.

        >>> Measurement(threads=1, rounds=[[1.0, 9.0, 2.0], [4.0], [3.0]]).seconds
        3.0
        """
        return statistics.median(statistics.median(samples) for samples in self.rounds)


ByPeer = dict[str, Measurement]
"""The measurements of one workload, by peer."""


class Workers:
    """The processes of the families of peers, each started when it is first needed.

    Parameters
    ----------
    commands : mapping of str to list of str, optional
        Further peers, which are the kernels of other commits: the command that starts the worker of each,
        without the number of threads.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]] = MappingProxyType({})) -> None:
        self._commands = commands
        self._programs: dict[tuple[str, int], RunningProgram] = {}

    def turn(self, peer: str, threads: int, workload: Workload, seconds: float, memory: bool) -> Json:
        """Return the answer of a worker. A worker that died or hung is started again for the next turn."""
        is_other = peer in self._commands
        key = peer if is_other else FAMILIES[peer], threads
        program = self._programs.get(key)
        if program is None or program.has_left():
            start = self._commands[peer] if is_other else (sys.executable, "-m", MODULE)
            command = [*start, str(threads)]
            program = self._programs[key] = RunningProgram(command, None, LONGEST_ANSWER)
        asked = KERNELS if is_other else peer
        request = {"peer": asked, "workload": workload.to_json(), "seconds": seconds, "memory": memory}
        try:
            return from_line(program.exchange(to_line(request), TURN_LIMIT, LONGEST_ANSWER))
        except WorkerFailed as problem:
            del self._programs[key]
            return {"absent": str(problem).splitlines()[0]}

    def close(self) -> None:
        """End all processes."""
        for program in self._programs.values():
            program.leave()
            program.kill()
        self._programs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def contest(
    turns: Turns,
    workload: Workload,
    peers: Sequence[str],
    rounds: int,
    seconds: float,
    threads: Sequence[int] = THREADS,
) -> ByPeer:
    """Time peers on a workload in several rounds of turns, each with its best number of threads.

    Parameters
    ----------
    turns : Turns
        The object that gives a peer its turn.
    workload : Workload
        The workload to time.
    peers : sequence of str
        Names from `peers.FAMILIES`, in the order of their turns.
    rounds : int
        The number of turns of each peer. The first turn decides the number of threads for the later ones.
    seconds : float
        The shortest duration of a turn, preparations excluded; a turn has at least three steps.
    threads : sequence of int
        The numbers of threads to choose from.

    Returns
    -------
    dict of str to Measurement
    """
    result = {peer: Measurement() for peer in peers}
    for peer, measurement in result.items():
        _first_round(turns, workload, peer, measurement, seconds, threads)
    for _ in range(rounds - 1):
        for peer, measurement in result.items():
            if measurement.absent:
                continue
            answer = turns.turn(peer, measurement.threads, workload, seconds, memory=False)
            if "absent" in answer:
                measurement.absent = answer["absent"]
            else:
                measurement.rounds.append(answer["samples"])
    return result


def _first_round(
    turns: Turns,
    workload: Workload,
    peer: str,
    measurement: Measurement,
    seconds: float,
    threads: Sequence[int],
) -> None:
    answers = {count: turns.turn(peer, count, workload, seconds, memory=True) for count in threads}
    timed = {count: answer for count, answer in answers.items() if "absent" not in answer}
    if not timed:
        measurement.absent = next(iter(answers.values()))["absent"]
        return
    measurement.threads = min(timed, key=lambda count: statistics.median(timed[count]["samples"]))
    measurement.rounds.append(timed[measurement.threads]["samples"])
    measurement.growth = timed[measurement.threads]["growth"]
    measurement.fault = timed[measurement.threads].get("fault")
    measurement.others = {
        str(count): timed[count]["samples"] for count in timed if count != measurement.threads
    }


def ratio(measurement: Measurement, other: Measurement) -> float:
    """Return the time of one peer divided by that of another: the median of the ratios of the rounds.

    >>> slow, fast = Measurement(rounds=[[2.0], [8.0], [4.0]]), Measurement(rounds=[[1.0], [2.0], [2.0]])
    >>> ratio(slow, fast)
    2.0
    """
    pairs = zip(measurement.rounds, other.rounds, strict=False)
    return statistics.median(statistics.median(one) / statistics.median(two) for one, two in pairs)


def to_json(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement as a JSON object, including the raw samples."""
    if measurement.absent:
        return {"absent": measurement.absent}
    return {
        "threads": measurement.threads,
        "seconds": measurement.rounds,
        "seconds_with_other_threads": measurement.others,
        "peak_growth_bytes": measurement.growth,
        "fault": measurement.fault,
    }
