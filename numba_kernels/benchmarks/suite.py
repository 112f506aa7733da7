"""The suites of the benchmark: which peers are timed on which workloads, in full or for a quick look."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from numba_kernels.benchmarks.models import EMBEDDING, MODELS
from numba_kernels.benchmarks.peers import KERNELS, ROOFS
from numba_kernels.benchmarks.workload import NORM, Workload

TORCH = ("torch fused", "torch foreach")
KERAS = ("keras jax", "keras tensorflow", "keras torch")
OTHERS = (*TORCH, "optax", "numpy")
OWN_ROOF = ("roof numba",)
"""The roof of small models, where a call of another library takes longer than the traffic."""

LARGE = ("one of 32 M", "ResNet-50", "GPT-2 small")
MANY = "2,000 of 100"
SMALL = ("200 of 1,000", MANY)
FOR_KERAS = ("ResNet-50", "200 of 1,000")
QUICK = ("ResNet-50", "200 of 1,000")

NORM_SIZES = (2**22, 2**24, 2**26)
GROWING_SIZES = tuple(2**exponent for exponent in range(6, 25, 3))
GROWING_COUNTS = (1, 10, 100, 1000, 10_000)


@dataclass(frozen=True)
class Race:
    """A workload with the peers that are timed on it, and the name of the section of the page.

    Attributes
    ----------
    section : str
        "steps", "norm", "size" or "count".
    workload : Workload
        The workload to time.
    peers : tuple of str
        The peers, in the order of their turns.
    """

    section: str
    workload: Workload
    peers: tuple[str, ...]


@dataclass(frozen=True)
class Suite:
    """The measurements that one run of the command makes.

    Attributes
    ----------
    races : sequence of Race
        The races; the peers of a race take turns.
    rounds : int
        The number of turns of each peer on each workload.
    seconds : float
        The shortest duration of a turn.
    first_steps : int
        The number of times that the first step is timed with a filled cache.
    is_whole : bool
        Whether it is the whole benchmark, whose results are kept in the history.
    """

    races: Sequence[Race]
    rounds: int
    seconds: float
    first_steps: int
    is_whole: bool = False

    def only(self, pattern: re.Pattern[str] | None) -> Self:
        """Return the races whose workload's name contains a match of the pattern; without a pattern, all.

        Raises
        ------
        ValueError
            If the pattern matches none.

        Examples
        --------
        >>> {str(race.workload) for race in quick().only(re.compile("ResNet-50, momentum")).races}
        {'ResNet-50, momentum, float32'}
        """
        if pattern is None:
            return self
        races = [race for race in self.races if pattern.search(str(race.workload))]
        if not races:
            raise ValueError(f"-k must match the name of a workload, got {pattern.pattern!r}")
        return replace(self, races=races, first_steps=0, is_whole=False)


def full() -> Suite:
    """Return the whole benchmark, of a quarter to half an hour."""
    steps = _steps(tuple(MODELS), ("float32", "bfloat16"), FOR_KERAS)
    races = [*steps, *_norms(NORM_SIZES), *_growth()]
    return Suite(races, rounds=3, seconds=0.2, first_steps=5, is_whole=True)


def quick() -> Suite:
    """Return a small part of the suite, of about a minute."""
    races = [*_steps(QUICK, ("float32",), ()), *_norms(NORM_SIZES[:1])]
    return Suite(races, rounds=2, seconds=0.05, first_steps=1)


def _steps(models: Sequence[str], dtypes: Sequence[str], for_keras: Sequence[str]) -> Iterator[Race]:
    for dtype in dtypes:
        for model in models:
            for settings in ("plain", "everything") if model == EMBEDDING else ("momentum", "everything"):
                workload = Workload(model, settings, dtype)
                peers = [KERNELS, *OTHERS]
                peers += KERAS if model in for_keras and dtype == "float32" else []
                peers += ROOFS if model in LARGE else OWN_ROOF if model in SMALL else ()
                if model == MANY and dtype != "float32":
                    # Optax compiles a step over so many tensors for minutes; its speed is known from float32.
                    peers.remove("optax")
                yield Race("steps", workload, tuple(peers))


def _norms(sizes: Sequence[int]) -> Iterator[Race]:
    for dtype in ("float32", "float64"):
        for size in sizes:
            workload = Workload(f"1 x {size}", NORM, dtype)
            yield Race("norm", workload, (KERNELS, "numpy", "torch foreach"))


def _growth() -> Iterator[Race]:
    peers = (KERNELS, *TORCH, "numpy", *OWN_ROOF)
    for size in GROWING_SIZES:
        yield Race("size", Workload(f"1 x {size}", "momentum"), peers)
    for count in GROWING_COUNTS:
        yield Race("count", Workload(f"{count} x 100", "momentum"), peers)
