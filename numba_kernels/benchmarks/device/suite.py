"""The suites for a device: which peers are timed on which workloads, in full or for a quick look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from numba_kernels.benchmarks.device.peers import FAMILIES, ROOFS
from numba_kernels.benchmarks.suite import Race, Suite
from numba_kernels.benchmarks.workload import Workload

SINGLE, RESNET, GPT, SMALL = "one of 1 G", "ResNet-50", "GPT-2 XL", "200 of 1,000"
LARGE = (SINGLE, RESNET, GPT)

SETTINGS = ("momentum", "everything")
DTYPES = ("float32", "bfloat16")

STEPS, CALLS = "steps", "calls"
"""The sections: how long a step takes, and how long the host is busy with starting a step."""


def full() -> Suite:
    """Return the whole benchmark, of about half an hour."""
    races = [*_steps((SMALL, RESNET, SINGLE, GPT), DTYPES), *_calls(DTYPES)]
    return Suite(races, rounds=3, seconds=0.2, first_steps=0)


def quick() -> Suite:
    """Return a small part of the benchmark, of a few minutes."""
    races = [*_steps((SMALL, RESNET), DTYPES[:1]), *_calls(DTYPES[:1])]
    return Suite(races, rounds=2, seconds=0.05, first_steps=0)


def _steps(models: Sequence[str], dtypes: Sequence[str]) -> Iterator[Race]:
    for model in models:
        for dtype in dtypes:
            for settings in SETTINGS:
                yield Race(STEPS, Workload(model, settings, dtype), tuple(FAMILIES))


def _calls(dtypes: Sequence[str]) -> Iterator[Race]:
    peers = tuple(peer for peer in FAMILIES if peer not in ROOFS)
    for dtype in dtypes:
        for settings in SETTINGS:
            yield Race(CALLS, Workload(SMALL, settings, dtype), peers)
