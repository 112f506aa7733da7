"""`numba_kernels.SGD`, and the roof: a loop of Numba that moves as many arrays as a step."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.bench import workload as workloads
from numba_kernels.bench.peers import NotOffered, Step
from numba_kernels.bench.peers.halves import in_parts, moved_arrays
from numba_kernels.bench.workload import NORM, SETTINGS, Workload


def kernels(workload: Workload, threads: int) -> Step:
    """Return the step of the kernels."""
    import numba_kernels

    if not hasattr(numba_kernels, "SGD"):
        raise NotOffered("numba_kernels.SGD is not there")
    if workload.settings == NORM:
        return _norm(workload, threads)
    variables = workloads.variables(workload)
    gradients: list[Any] = (
        workloads.sparse_gradients(workload)
        if workload.has_sparse_gradients
        else workloads.gradients(workload)
    )
    optimizer: Any = numba_kernels.SGD(**SETTINGS[workload.settings], threads=threads)
    optimizer.build(variables)
    return lambda: optimizer.apply(gradients)


def _norm(workload: Workload, threads: int) -> Step:
    from numba_kernels.norm import euclidean_norm

    gradients = workloads.gradients(workload)
    return lambda: euclidean_norm(gradients, gradients[0].dtype, threads=threads)


def roof(workload: Workload, threads: int) -> Step:
    """Return a loop that reads and writes as many arrays as a step, all of them in one pass."""
    import numba

    moved = moved_arrays(workload)
    one_pass: Any = _PASSES[len(moved.written)]
    compiled = numba.njit(nogil=True)(one_pass)
    step = in_parts(compiled, [*moved.written, moved.added], threads)
    if moved.reread is None:
        return step
    norm = in_parts(lambda array: np.dot(array, array), [moved.reread], threads)
    return lambda: (norm(), step())


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
