"""The number of threads changes no bit, and two Python threads may step two optimizers at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import numpy as np

import numba_kernels
from numba_kernels.cpu import plan
from numba_kernels.cpu.plan import CHUNK
from numba_kernels.selfcheck.comparison import by_kernels, compare_cases, timed
from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.making import dense_case, random_numbers
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.element import PLAIN
from sgd_ref.conformance.catalogue.case import Case, Record

NAME = "threads"

COUNTS = 1, 2
"""Numbers of threads."""

SHAPES = (CHUNK + 5,), (17,), (CHUNK - 1,), (300, 7)
"""Several chunks, so that the share of a thread can begin inside of a variable."""

FEWEST_FOR_A_THREAD = 4096
"""The number of elements from which threads share the work here; it is small, so that small models are
shared."""


def check(extent: Extent, optimizer_class: Any = numba_kernels.SGD) -> Result:
    """Check numbers of threads, and optimizers that step at the same time."""
    result = Result(NAME)
    with timed(result), mock.patch.object(plan, "FEWEST_FOR_A_THREAD", FEWEST_FOR_A_THREAD):
        for threads in COUNTS:
            kernels = by_kernels(with_threads(optimizer_class, threads))
            compare_cases(result, _cases(extent, f"{threads}"), extent, kernels)
            compare_cases(result, _cases(extent, f"{threads}-at-once"), extent, _twice_at_once(kernels))
    return result


def with_threads(optimizer_class: Any, count: int) -> Any:
    """Return the class of optimizers that use a number of threads."""

    class WithThreads(optimizer_class):  # type: ignore[misc]
        def __init__(self, *settings: Any, **named: Any) -> None:
            super().__init__(*settings, **named, threads=count)

    return WithThreads


def _cases(extent: Extent, name: str) -> Iterator[Case]:
    for dtype, variant in extent.kernels():
        if extent.tier == QUICK and variant != extent.variants(dtype)[-1]:
            continue
        clippings: tuple[dict[str, float], ...] = {}, {"global_clipnorm": 3.1}
        if variant.gradient != PLAIN:
            clippings += ({"clipnorm": 1.7},)
        for clipping in clippings:
            start = f"{NAME}/{dtype.name}/{variant.name}/{next(iter(clipping), 'clipvalue')}"
            identifier = f"{start}/{name}"
            if not extent.wants(identifier):
                continue
            # Every number of threads gets the same random numbers.
            generator = random_numbers(extent, start)
            yield dense_case(identifier, variant, SHAPES, dtype, generator, **clipping)


def _twice_at_once(kernels: Any) -> Any:
    """Return the implementation in which another Python thread runs the same case at the same time."""

    def run(case: Case) -> list[Record]:
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.submit(kernels, case), pool.submit(kernels, case)
            trajectories = first.result(), second.result()
        for one, other in zip(*trajectories, strict=True):
            for a, b in zip(one["variables"], other["variables"], strict=True):
                if not np.array_equal(a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}")):
                    raise AssertionError("two optimizers that worked at once have different bits")
        return list(trajectories[0])

    return run
