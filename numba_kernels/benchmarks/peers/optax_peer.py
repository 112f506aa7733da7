"""Optax under ``jax.jit``: a chain of transformations, with variables and state donated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.peers import NotOffered, Prepared, Step
from numba_kernels.benchmarks.workload import (
    EMA_MOMENTUM,
    HIGHEST_NORM,
    LEARNING_RATE,
    MOMENTUM,
    NORM,
    WEIGHT_DECAY,
    Workload,
)


def jitted(workload: Workload, threads: int) -> Step | Prepared:
    """Return a step that lets XLA reuse its buffers; the process sets the number of threads."""
    import jax
    import jax.numpy as jnp

    if workload.has_sparse_gradients:
        raise NotOffered("Optax has no sparse gradients")
    if workload.dtype == "float64":
        raise NotOffered("JAX computes in float32 by default")
    gradients = [jnp.array(array) for array in workloads.gradients(workload)]
    if workload.settings == NORM:
        import optax

        norm = jax.jit(optax.global_norm)
        return lambda: norm(gradients).block_until_ready()
    compiled = jax.jit(update_of(workload.settings), donate_argnums=(0, 1, 2))
    held = first_state(workload.settings, [jnp.array(array) for array in workloads.variables(workload)])

    def step() -> None:
        held[:] = compiled(*held, gradients)
        jax.block_until_ready(held)

    return Prepared(step, lambda: [np.asarray(array) for array in held[0]])


def update_of(settings: str) -> Callable[..., Any]:
    """Return the function from variables, state, averages and gradients to the first three after a step."""
    import optax

    transformation = _transformation(settings)

    def update(variables: Any, state: Any, averages: Any, gradients: Any) -> Any:
        updates, state = transformation.update(gradients, state, variables)
        variables = optax.apply_updates(variables, updates)
        if settings == "everything":
            averages = optax.incremental_update(variables, averages, 1 - EMA_MOMENTUM)
        return variables, state, averages

    return update


def first_state(settings: str, variables: list[Any]) -> list[Any]:
    """Return variables, state and averages before the first step."""
    import jax.numpy as jnp

    averages = [jnp.copy(array) for array in variables] if settings == "everything" else []
    return [variables, _transformation(settings).init(variables), averages]


def _transformation(settings: str) -> Any:
    import optax

    if settings == "plain":
        return optax.sgd(LEARNING_RATE)
    if settings == "momentum":
        return optax.sgd(LEARNING_RATE, MOMENTUM)
    return optax.chain(
        optax.clip_by_global_norm(HIGHEST_NORM),
        optax.trace(MOMENTUM, nesterov=True),
        optax.add_decayed_weights(WEIGHT_DECAY),
        optax.scale(-LEARNING_RATE),
    )


PREPARE = {"optax": jitted}
