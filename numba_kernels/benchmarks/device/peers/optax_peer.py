"""Optax under ``jax.jit`` on a device: a chain of transformations, with variables and state donated."""

from __future__ import annotations

import functools
import math
from typing import Any

from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.device.peers import NotOffered, Prepared
from numba_kernels.benchmarks.peers.optax_peer import first_state, update_of
from numba_kernels.benchmarks.workload import Workload

GPU = ("gpu", "cuda")
"""JAX's names for the platform."""


def jitted(workload: Workload, platforms: tuple[str, ...] = GPU) -> Prepared:
    """Return a step that lets XLA reuse its buffers."""
    import jax

    if jax.default_backend() not in platforms:
        raise NotOffered("JAX finds no device")
    compiled = jax.jit(update_of(workload.settings), donate_argnums=(0, 1, 2))
    gradients = _filled(workload, workloads.GRADIENTS)
    held = first_state(workload.settings, _filled(workload, workloads.VARIABLES))

    def step() -> None:
        held[:] = compiled(*held, gradients)

    return Prepared(step, lambda: jax.block_until_ready(held))


def _filled(workload: Workload, first_seed: int) -> list[Any]:
    return [_repeated()(block, shape) for shape, block in workloads.blocks(workload, first_seed)]


@functools.cache
def _repeated() -> Any:
    """Return the function that fills an array of a shape on the device, by repeating a block."""
    import jax
    import jax.numpy as jnp

    def repeated(block: Any, shape: tuple[int, ...]) -> Any:
        size = math.prod(shape)
        return jnp.tile(block, -(-size // block.size))[:size].reshape(shape)

    return jax.jit(repeated, static_argnums=1)


PREPARE = {"optax": jitted}
