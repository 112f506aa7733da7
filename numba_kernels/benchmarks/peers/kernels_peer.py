"""`numba_kernels.SGD`, and the roof: a loop of Numba that moves as many arrays as a step."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

import numba_kernels
from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.peers import Prepared, Step
from numba_kernels.benchmarks.peers.traffic import in_parts, moved_arrays
from numba_kernels.benchmarks.workload import HIGHEST_NORM, NORM, SETTINGS, Workload
from numba_kernels.cpu.norm import Measurement, norm
from numba_kernels.shared.element import PLAIN


def kernels(workload: Workload, threads: int) -> Step | Prepared:
    """Return the step of the kernels."""
    if workload.settings == NORM:
        return _norm(workload, threads)
    optimizer = numba_kernels.SGD(**SETTINGS[workload.settings], threads=threads)
    variables = workloads.variables(workload)
    optimizer.build(variables)
    gradients: list[Any] = (
        workloads.sparse_gradients(workload)
        if workload.has_sparse_gradients
        else workloads.gradients(workload)
    )
    return Prepared(lambda: optimizer.apply(gradients), lambda: variables)


def _norm(workload: Workload, threads: int) -> Step:
    """Return the part of a step that gives the norm of all gradients."""
    optimizer = numba_kernels.SGD(global_clipnorm=HIGHEST_NORM, threads=threads)
    gradients = workloads.gradients(workload)
    optimizer.build([np.zeros_like(gradient) for gradient in gradients])
    optimizer.apply(gradients)
    assert optimizer._plan is not None
    groups, dtype = optimizer._plan.groups, gradients[0].dtype
    is_compensated = dtype == np.float64
    return lambda: norm(
        [Measurement(group, gradients, PLAIN, is_compensated, threads) for group in groups], dtype
    )


def roof(workload: Workload, threads: int) -> Step:
    """Return a loop that reads and writes as many arrays as a step, all of them in one pass."""
    moved = moved_arrays(workload)
    one_pass: Any = _PASSES[len(moved.written)]
    compiled = numba.njit(nogil=True)(one_pass)
    step = in_parts(compiled, [*moved.written, moved.added], threads)
    if moved.reread is None:
        return step
    reading = in_parts(lambda array: np.dot(array, array), [moved.reread], threads)
    return lambda: (reading(), step())


def _one(a: Any, added: Any) -> None:
    for i in range(a.shape[0]):
        a[i] += added[i]


def _two(a: Any, b: Any, added: Any) -> None:
    for i in range(a.shape[0]):
        a[i] += added[i]
        b[i] += a[i]


def _three(a: Any, b: Any, c: Any, added: Any) -> None:
    for i in range(a.shape[0]):
        a[i] += added[i]
        b[i] += a[i]
        c[i] += a[i]


_PASSES = {1: _one, 2: _two, 3: _three}

PREPARE = {"kernels": kernels, "roof numba": roof}
