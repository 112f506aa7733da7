"""A step in NumPy, in place and with one scratch array; and the roof: NumPy's additions in place."""

from __future__ import annotations

import math

import numpy as np

from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.peers import NotOffered, Prepared, Step
from numba_kernels.benchmarks.peers.traffic import in_parts, moved_arrays
from numba_kernels.benchmarks.workload import (
    EMA_MOMENTUM,
    HIGHEST_NORM,
    LEARNING_RATE,
    MOMENTUM,
    NORM,
    WEIGHT_DECAY,
    Array,
    Workload,
)


def in_place(workload: Workload, threads: int) -> Step | Prepared:
    """Return a step as a user would write it by hand, for float32 and float64."""
    if workload.dtype == "bfloat16":
        raise NotOffered("NumPy itself has no bfloat16")
    if threads > 1:
        raise NotOffered("NumPy computes in one thread")
    if workload.settings == NORM:
        (flat,) = workloads.gradients(workload)
        return lambda: np.dot(flat, flat)
    variables = workloads.variables(workload)
    return Prepared(_step_of(workload, variables), lambda: variables)


def _step_of(workload: Workload, variables: list[Array]) -> Step:
    if workload.has_sparse_gradients:
        return _sparse(workload, variables)
    gradients = workloads.gradients(workload)
    scratch = [np.empty_like(variable) for variable in variables]
    if workload.settings == "plain":
        return lambda: _plain(variables, gradients, scratch)
    velocities = [np.zeros_like(variable) for variable in variables]
    if workload.settings == "momentum":
        return lambda: _momentum(variables, velocities, gradients, scratch)
    averages = [variable.copy() for variable in variables]
    return lambda: _everything(variables, velocities, averages, gradients, scratch)


def _plain(variables: list[Array], gradients: list[Array], scratch: list[Array]) -> None:
    for w, g, s in zip(variables, gradients, scratch, strict=True):
        np.multiply(g, LEARNING_RATE, out=s)
        np.subtract(w, s, out=w)


def _momentum(
    variables: list[Array], velocities: list[Array], gradients: list[Array], scratch: list[Array]
) -> None:
    for w, v, g, s in zip(variables, velocities, gradients, scratch, strict=True):
        np.multiply(v, MOMENTUM, out=v)
        np.multiply(g, LEARNING_RATE, out=s)
        np.subtract(v, s, out=v)
        np.add(w, v, out=w)


def _everything(
    variables: list[Array],
    velocities: list[Array],
    averages: list[Array],
    gradients: list[Array],
    scratch: list[Array],
) -> None:
    norm = math.sqrt(sum(float(np.dot(g.ravel(), g.ravel())) for g in gradients))
    factor = LEARNING_RATE * min(HIGHEST_NORM / norm, 1.0)
    for w, v, a, g, s in zip(variables, velocities, averages, gradients, scratch, strict=True):
        np.multiply(w, 1 - LEARNING_RATE * WEIGHT_DECAY, out=w)
        np.multiply(v, MOMENTUM, out=v)
        np.multiply(g, factor, out=s)
        np.subtract(v, s, out=v)
        np.subtract(w, s, out=w)
        np.multiply(v, MOMENTUM, out=s)
        np.add(w, s, out=w)
        np.multiply(a, EMA_MOMENTUM, out=a)
        np.multiply(w, 1 - EMA_MOMENTUM, out=s)
        np.add(a, s, out=a)


def _sparse(workload: Workload, variables: list[Array]) -> Step:
    if workload.settings != "plain":
        raise NotOffered("by hand, momentum of sparse gradients is dense")
    ((w,), (rows,)) = variables, workloads.sparse_gradients(workload)

    def step() -> None:
        w[rows.indices] -= LEARNING_RATE * rows.values

    return step


def roof(workload: Workload, threads: int) -> Step:
    """Return additions in place that read and write as many arrays as a step."""
    moved = moved_arrays(workload)
    first, *others = moved.written
    # Adding an array reads it; adding a number does not.
    steps = [in_parts(lambda a, b: np.add(a, b, out=a), [first, moved.added], threads)]
    steps += [in_parts(lambda a: np.add(a, a.dtype.type(1), out=a), [other], threads) for other in others]
    if moved.reread is not None:
        steps.append(in_parts(lambda a: np.dot(a, a), [moved.reread], threads))
    return lambda: [step() for step in steps]


PREPARE = {"numpy": in_place, "roof numpy": roof}
