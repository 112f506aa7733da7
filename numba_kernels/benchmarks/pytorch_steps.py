"""Steps in a PyTorch loop: ``numba_kernels.torch.SGD`` beside ``torch.optim.SGD``, all in one process.

Each step has gradients that a backward pass has just made, in fresh tensors. All contestants share the
parameters and take turns; only ``step`` is timed. PyTorch decides for itself how many threads to use.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from numba_kernels import machine
from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.goals import Goal
from numba_kernels.benchmarks.page import duration, goals_table, table
from numba_kernels.benchmarks.peers import Step
from numba_kernels.benchmarks.peers.torch_peer import step_of
from numba_kernels.benchmarks.workload import SETTINGS, Workload
from numba_kernels.torch import SGD

MODELS = ("ResNet-50", "GPT-2 small")
SMALL = "161 x 16"
"""As many tensors as ResNet-50 has, so small that their number alone takes time."""

RULES = ("keras", "pytorch")
VARIANTS = ("fused", "foreach")

FASTER, MUCH_FASTER, OVERHEAD = 1.0, 1.6, 60e-6
"""The goals: momentum over ``fused=True``, everything over PyTorch's fastest composition, and seconds."""

ROUNDS = {MODELS[0]: 40, MODELS[1]: 12, SMALL: 2000}
SHARE_OF_QUICK = 4

SHOWN = ("processor", "processors that may be used", "torch", "date")


@dataclass(frozen=True)
class Turns:
    """The times of the steps of one workload.

    Attributes
    ----------
    workload : Workload
        The model and the settings.
    seconds : mapping of str to list of float
        The duration of each step of each contestant, round by round.
    """

    workload: Workload
    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Return the median of a contestant.

        >>> Turns(Workload(SMALL, "momentum"), {"ours": [1.0, 3.0, 2.0]}).median("ours")
        2.0
        """
        return statistics.median(self.seconds[name])

    def times_as_fast(self, name: str, others: Sequence[str]) -> float:
        """Return how many times as fast as the fastest of others: the median of the ratios of the rounds.

        >>> turns = Turns(Workload(SMALL, "momentum"), {"ours": [1.0, 2.0], "a": [9.0, 9.0], "b": [2.0, 8.0]})
        >>> turns.times_as_fast("ours", ["a", "b"])
        3.0
        """
        fastest = min(others, key=self.median)
        pairs = zip(self.seconds[fastest], self.seconds[name], strict=True)
        return statistics.median(theirs / own for theirs, own in pairs)


def own(rule: str) -> str:
    """Return the name of the optimizer of this package under a rule.

    >>> own("keras")
    'numba_kernels, rule="keras"'
    """
    return f'numba_kernels, rule="{rule}"'


def theirs(rule: str, settings: str) -> list[str]:
    """Return the names of what PyTorch offers for the same purpose as a rule."""
    inside = rule == "pytorch" and settings == "everything"
    return [f"torch {variant}{', decay inside' if inside else ''}" for variant in VARIANTS]


def steps(parameters: list[Any], settings: str) -> dict[str, Step]:
    """Return the step of each contestant over the same parameters, by name."""
    arguments = dict(SETTINGS[settings])
    arguments["lr"] = arguments.pop("learning_rate")
    found: dict[str, Step] = {own(rule): SGD(parameters, rule=rule, **arguments).step for rule in RULES}
    for rule in RULES:
        for name, variant in zip(theirs(rule, settings), VARIANTS, strict=True):
            if name not in found:
                inside = rule == "pytorch"
                found[name] = step_of(parameters, settings, decays_inside=inside, **{variant: True})
    return found


def take_turns(
    contestants: Mapping[str, Step],
    prepare: Callable[[], object],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the duration of each step; before each one, `prepare` is called, and not timed.

    >>> take_turns({"a": int, "b": int}, int, 2, iter(range(99)).__next__)
    {'a': [1, 1], 'b': [1, 1]}
    """
    names, seconds = list(contestants), {name: list[float]() for name in contestants}
    for name in names * 2:
        prepare()
        contestants[name]()
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                prepare()
                start = clock()
                contestants[name]()
                seconds[name].append(clock() - start)
    finally:
        if is_collecting:
            gc.enable()
    return seconds


def measured(workload: Workload, rounds: int) -> Turns:
    """Time the steps of one workload."""
    parameters = [torch.nn.Parameter(torch.from_numpy(array)) for array in workloads.variables(workload)]
    gradients = [torch.from_numpy(array) for array in workloads.gradients(workload)]

    def backward() -> None:
        for parameter in parameters:
            parameter.grad = None
        # Autograd copies each gradient into a tensor of its own.
        torch.autograd.backward(parameters, gradients)

    return Turns(workload, take_turns(steps(parameters, workload.settings), backward, rounds))


def goals(found: Sequence[Turns]) -> Iterator[Goal]:
    """Give the goals with the numbers that were measured."""
    for turns in found:
        settings = turns.workload.settings
        for rule in RULES:
            if turns.workload.model == SMALL:
                words = f"{_name(turns)}, {own(rule)}: microseconds of a step"
                yield Goal(words, OVERHEAD * 1e6, turns.median(own(rule)) * 1e6, at_most=True)
            elif settings == "momentum":
                words = f"{_name(turns)}, {own(rule)}: speed over that of torch.optim.SGD(fused=True)"
                yield Goal(words, FASTER, turns.times_as_fast(own(rule), theirs(rule, settings)[:1]))
            else:
                words = f"{_name(turns)}, {own(rule)}: speed over that of PyTorch's fastest composition"
                yield Goal(words, MUCH_FASTER, turns.times_as_fast(own(rule), theirs(rule, settings)))


def run(is_quick: bool) -> str:
    """Measure all workloads and return the results as Markdown."""
    chosen = [(model, settings) for model in MODELS for settings in ("momentum", "everything")]
    found = [
        measured(Workload(model, settings), ROUNDS[model] // (SHARE_OF_QUICK if is_quick else 1))
        for model, settings in [(SMALL, "momentum"), *chosen]
    ]
    described = machine.description()
    names = [(name, described[name]) for name in SHOWN if name in described]
    rows = [
        (_name(turns), name, duration(turns.median(name)), duration(float(np.min(turns.seconds[name]))))
        for turns in found
        for name in turns.seconds
    ]
    return "\n\n".join(
        [
            table(("", ""), [*names, ("threads of PyTorch", str(torch.get_num_threads()))]),
            table(("workload", "optimizer", "median", "shortest"), rows),
            goals_table(list(goals(found))),
        ]
    )


def _name(turns: Turns) -> str:
    model = turns.workload.model.replace(" x ", " of ")
    return f"{model}, {turns.workload.settings}"
