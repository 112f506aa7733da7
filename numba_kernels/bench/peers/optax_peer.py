"""Optax under ``jax.jit``: a chain of transformations, with variables and state donated."""

from __future__ import annotations

from typing import Any

from numba_kernels.bench import workload as workloads
from numba_kernels.bench.peers import NotOffered, Step
from numba_kernels.bench.workload import (
    EMA_MOMENTUM,
    HIGHEST_NORM,
    LEARNING_RATE,
    MOMENTUM,
    NORM,
    WEIGHT_DECAY,
    Workload,
)


def jitted(workload: Workload, threads: int) -> Step:
    """Return a step whose buffers XLA may reuse; the number of threads is that of the process."""
    import jax
    import jax.numpy as jnp
    import optax

    if workload.has_sparse_gradients:
        raise NotOffered("Optax has no sparse gradients")
    if workload.dtype == "float64":
        raise NotOffered("JAX computes in float32 by default")
    gradients = [jnp.array(array) for array in workloads.gradients(workload)]
    if workload.settings == NORM:
        norm = jax.jit(optax.global_norm)
        return lambda: norm(gradients).block_until_ready()
    transformation = _transformation(optax, workload.settings)
    has_averages = workload.settings == "everything"

    def update(variables: Any, state: Any, averages: Any, gradients: Any) -> Any:
        updates, state = transformation.update(gradients, state, variables)
        variables = optax.apply_updates(variables, updates)
        if has_averages:
            averages = optax.incremental_update(variables, averages, 1 - EMA_MOMENTUM)
        return variables, state, averages

    compiled = jax.jit(update, donate_argnums=(0, 1, 2))
    variables = [jnp.array(array) for array in workloads.variables(workload)]
    averages = [jnp.copy(array) for array in variables] if has_averages else []
    held = [variables, transformation.init(variables), averages]

    def step() -> None:
        held[:] = compiled(*held, gradients)
        jax.block_until_ready(held)

    return step


def _transformation(optax: Any, settings: str) -> Any:
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
