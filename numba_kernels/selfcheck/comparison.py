"""Cases that the reference and the kernels run, and the comparison of their trajectories bit by bit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numba_kernels
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.guard import only_kernels
from numba_kernels.selfcheck.result import Result
from sgd_ref.conformance.catalogue.case import Case, Record, Trajectory
from sgd_ref.conformance.protocol.digest import Digest
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import COUNTERS, LISTS, SCALARS, check_form, compare
from sgd_ref.loss_scale import LossScaleOptimizer

BATCH = 200
"""The largest number of cases with their answers in memory at once; the guard is set up once for each
batch."""

ELEMENTS = 2**20
"""The largest number of elements of the variables of a batch, except that its last case may exceed it."""

Run = Callable[[Case], Sequence[Record]]


def by_kernels(optimizer_class: Any = numba_kernels.SGD) -> Run:
    """Return the implementation that runs cases by kernels.

    A class that needs another wrapper for loss scaling than ``sgd_ref.LossScaleOptimizer`` names it in
    ``wrapper_class``.
    """
    wrapper_class = getattr(optimizer_class, "wrapper_class", LossScaleOptimizer)
    return partial(reference.run, optimizer_class=optimizer_class, wrapper_class=wrapper_class)


@contextmanager
def timed(result: Result) -> Iterator[None]:
    """Add the time spent within the ``with`` statement to a result."""
    started = time.perf_counter()
    try:
        yield
    finally:
        result.seconds += time.perf_counter() - started


def compare_cases(
    result: Result,
    cases: Iterable[Case],
    extent: Extent,
    kernels: Run | None = None,
    expected: Run = reference.run,
) -> None:
    """Run cases and add the differences to a result.

    Parameters
    ----------
    result : Result
        The result, which is changed.
    cases : iterable of Case
        The cases, which are made batch by batch.
    extent : Extent
        The extent, which gives the command to run a case again.
    kernels, expected : callable, optional
        Functions from a case to a trajectory; the first one works without access to the reference's
        arithmetic.
    """
    run = by_kernels() if kernels is None else kernels
    for batch in _batches(cases):
        wanted = [expected(case) for case in batch]
        with only_kernels():
            answers = [_answer(run, case) for case in batch]
        for case, want, answer in zip(batch, wanted, answers, strict=True):
            _compare(result, case, want, answer, extent)


def _batches(cases: Iterable[Case]) -> Iterator[list[Case]]:
    batch: list[Case] = []
    elements = 0
    for case in cases:
        batch.append(case)
        elements += sum(variable.size for variable in case.variables) * len(case.gradients)
        if len(batch) == BATCH or elements >= ELEMENTS:
            yield batch
            batch, elements = [], 0
    if batch:
        yield batch


def _answer(run: Run, case: Case) -> Trajectory | Exception:
    try:
        return run(case)
    # A kernel may fail in any way, and each failure is a difference.
    except Exception as failure:  # noqa: BLE001
        return failure


def _compare(
    result: Result, case: Case, expected: Trajectory, answer: Trajectory | Exception, extent: Extent
) -> None:
    result.cases += 1
    problem = f"{type(answer).__name__}: {answer}" if isinstance(answer, Exception) else None
    values = 1
    if not isinstance(answer, Exception):
        count = _values_if_same_bytes(expected, answer)
        if count is not None:
            result.compared += count
            return
        try:
            check_form(case, expected, answer)
            comparison = compare(case, expected, answer)
            result.compared += comparison.compared
            values = comparison.differing
            problem = None if comparison.first is None else str(comparison.first)
        except ValueError as failure:
            problem = str(failure)
    if problem is not None:
        result.differs(f"{case.id}\n  {problem}\n  again: {extent.command(case.id)}", values)


def _values_if_same_bytes(expected: Trajectory, answer: Trajectory) -> int | None:
    """Return the number of values of two trajectories if all bytes are the same, the usual, quick case."""
    if len(expected) != len(answer):
        return None
    compared = 0
    for want, got in zip(expected, answer, strict=True):
        if want.keys() != got.keys():
            return None
        for quantity in LISTS:
            if len(want[quantity]) != len(got[quantity]):
                return None
            for a, b in zip(want[quantity], got[quantity], strict=True):
                if not _is_same(a, b):
                    return None
                compared += a.size
        for quantity in (*SCALARS, *COUNTERS):
            if quantity in want:
                if want[quantity] != got[quantity]:
                    return None
                compared += 1
    return compared


def _is_same(expected: Any, answer: Any) -> bool:
    # A digest stands for a big array in the golden data, and has no bytes.
    if isinstance(expected, Digest) or expected.dtype != answer.dtype or expected.shape != answer.shape:
        return False
    return bool(expected.tobytes() == answer.tobytes())
