"""Whether the steps that are timed have the right result: the same peer on a few small arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

import sgd_ref
from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.peers import prepare
from numba_kernels.benchmarks.workload import NORM, SETTINGS, Array, Workload

MODEL = "3 x 67"
"""Two full vectors of half types and a rest, or more, on any processor."""

GRADIENT_SCALE = 0.25
"""At this scale, a step changes most variables by ten units of bfloat16, and clipping acts."""

STEPS: Mapping[str, int] = {"plain": 3, "momentum": 3, "everything": 1}
"""One step with clipping: PyTorch clips gradients in place, so that a second step would have others."""

LIMITS: Mapping[str, float] = {"float64": 1e-5, "float32": 1e-5, "bfloat16": 0.05}
"""The largest accepted distance from the reference, as a part of the change that the steps make.

Faithful peers are up to 5e-7 off, by roundings and by the 1e-6 that PyTorch adds to a norm, and in bfloat16
up to 0.009 (measured). One element that is left out makes about 0.07.
"""


def fault(peer: str, workload: Workload, threads: int) -> str | None:
    """Return what is wrong with the result of a peer's steps.

    Parameters
    ----------
    peer : str
        The name of the peer.
    workload : Workload
        The workload that is timed; the check has its settings and dtype.
    threads : int
        The number of threads.

    Returns
    -------
    str or None
        Empty if the result is right; None if it cannot be checked, as for a norm, a roof and sparse
        gradients.

    Raises
    ------
    NotOffered
        If the peer cannot run the workload.
    """
    if workload.settings == NORM or workload.has_sparse_gradients:
        return None
    small = replace(workload, model=MODEL, gradient_scale=GRADIENT_SCALE)
    prepared = prepare(peer, small, threads)
    if prepared.variables is None:
        return None
    expected = workloads.variables(small)
    start = [variable.copy() for variable in expected]
    optimizer = sgd_ref.SGD(**SETTINGS[small.settings])
    optimizer.build(expected)
    count = STEPS[small.settings]
    for _ in range(count):
        prepared.step()
        optimizer.apply(list(workloads.gradients(small)))
    distance = _length(prepared.variables(), expected) / _length(expected, start)
    if distance <= LIMITS[small.dtype]:
        return ""
    steps = "one step" if count == 1 else f"{count} steps"
    return f"after {steps} the variables are off by {distance:.0%} of their change"


def _length(arrays: Sequence[Array], others: Sequence[Array]) -> float:
    pairs = zip(arrays, others, strict=True)
    squares = [np.sum((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2) for a, b in pairs]
    return float(np.sqrt(sum(squares)))
