"""`keras.optimizers.SGD` on each backend of Keras, compiled if ``fit`` compiles it on that backend."""

from __future__ import annotations

import os
from typing import Any

from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.peers import NotOffered, Prepared
from numba_kernels.benchmarks.workload import NORM, SETTINGS, Workload


def on_jax(workload: Workload, threads: int) -> Prepared:
    """Return a jitted ``stateless_apply`` that lets XLA reuse its buffers."""
    keras, optimizer, variables, gradients = _built(workload, "jax")
    import jax

    compiled = jax.jit(optimizer.stateless_apply, donate_argnums=(0, 2))
    arrays = [keras.ops.convert_to_tensor(gradient) for gradient in gradients]
    held = [
        [variable.value for variable in optimizer.variables],
        [variable.value for variable in variables],
    ]

    def step() -> None:
        trainable, state = compiled(held[0], arrays, held[1])
        held[:] = [state, trainable]
        jax.block_until_ready(held)

    return Prepared(step, lambda: [keras.ops.convert_to_numpy(array) for array in held[1]])


def on_tensorflow(workload: Workload, threads: int) -> Prepared:
    """Return ``apply`` in a ``tf.function``."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras, optimizer, variables, gradients = _built(workload, "tensorflow")
    tensors = [tf.constant(gradient) for gradient in gradients]
    compiled = tf.function(lambda: optimizer.apply(tensors))
    return Prepared(compiled, lambda: [keras.ops.convert_to_numpy(variable) for variable in variables])


def on_torch(workload: Workload, threads: int) -> Prepared:
    """Return ``apply`` without automatic differentiation; Keras does not compile it."""
    keras, optimizer, variables, gradients = _built(workload, "torch")
    import torch

    torch.set_num_threads(threads)
    tensors = [torch.from_numpy(gradient) for gradient in gradients]
    step = torch.no_grad()(lambda: optimizer.apply(tensors))
    return Prepared(step, lambda: [keras.ops.convert_to_numpy(variable) for variable in variables])


def _built(workload: Workload, backend: str) -> tuple[Any, Any, list[Any], list[Any]]:
    if workload.settings == NORM or workload.has_sparse_gradients or workload.dtype != "float32":
        raise NotOffered("measured with dense gradients of float32 only")
    os.environ["KERAS_BACKEND"] = backend
    import keras

    variables = [keras.Variable(array) for array in workloads.variables(workload)]
    optimizer = keras.optimizers.SGD(**SETTINGS[workload.settings])
    optimizer.build(variables)
    return keras, optimizer, variables, workloads.gradients(workload)


PREPARE = {"keras jax": on_jax, "keras tensorflow": on_tensorflow, "keras torch": on_torch}
