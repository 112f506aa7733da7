"""Steps on the backend JAX: compiled code calls Python, which returns the new values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp
from jax.experimental import io_callback

from numba_kernels.keras.gradients import as_narrow
from numba_kernels.keras.host import Compiled, HostStep, flat_lists
from numba_kernels.keras.stepper import Stepper
from sgd_ref.arithmetic.formats import Array


class JaxCallback(Stepper):
    """Steps that compiled code makes by ``jax.pure_callback``."""

    def __init__(self) -> None:
        super().__init__()
        self._host = HostStep(self.engines)

    def device_of(self, variable: Any) -> str | None:
        """Return the name of the device of a variable, None for the CPU."""
        devices = variable.value.devices()
        is_here = len(devices) == 1 and all(device.platform == "cpu" for device in devices)
        return None if is_here else ", ".join(sorted(map(str, devices)))

    def distribution(self) -> str | None:
        """Return the name of the distribution of Keras, None if there is none."""
        distribution = keras.distribution.distribution()
        return None if distribution is None else f"a {type(distribution).__name__}"

    def step(self, optimizer: Any, gradients: list[Any]) -> None:
        """Make one call: at once with numbers, and as a part of the program while JAX compiles."""
        compiled, variables = flat_lists(optimizer)
        present = [index for index, gradient in enumerate(gradients) if gradient is not None]
        arguments = (
            optimizer._iterations.value,
            _rate(optimizer),
            [jnp.asarray(getattr(gradients[index], "value", gradients[index])) for index in present],
            [variable.value for variable in variables],
        )
        run = partial(self._run, compiled, present, len(gradients))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments)):
            on_host = optimizer.rate_on_host
            call = jax.pure_callback if on_host is None or on_host.is_pure else io_callback
            shapes = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in arguments[3]]
            results = call(run, shapes, *arguments)
        else:
            results = [jnp.array(result, copy=True) for result in run(*arguments)]
        for variable, result in zip(variables, results, strict=True):
            variable.assign(result)
        optimizer._iterations.assign_add(1)

    def _run(
        self,
        compiled: Compiled,
        present: Sequence[int],
        count: int,
        calls: Any,
        rate: Any,
        given: Sequence[Any],
        values: Sequence[Any],
    ) -> list[Array]:
        arrays = [np.asarray(value) for value in values]
        gradients: list[Any] = [None] * count
        for index, gradient in zip(present, given, strict=True):
            gradients[index] = as_narrow(np.asarray(gradient), arrays[index].dtype)
        # JAX copies the results before it calls Python again.
        return self._host(compiled, calls, rate, gradients, arrays, copy=False)


def _rate(optimizer: Any) -> Any:
    """Return the rate as an array; 0 if Python reads the rate."""
    if optimizer.rate_on_host is not None:
        return jnp.zeros(())
    rate = optimizer._learning_rate
    return jnp.asarray(rate.value if isinstance(rate, keras.Variable) else rate(optimizer._iterations))
