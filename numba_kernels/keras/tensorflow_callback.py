"""Steps on the backend TensorFlow: graphs call Python, which returns the new values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from numba_kernels.keras.gradients import as_narrow
from numba_kernels.keras.host import HostStep, flat_lists
from numba_kernels.keras.stepper import Stepper
from sgd_ref.arithmetic.formats import Array
from sgd_ref.gradients import SparseRows


class TensorFlowCallback(Stepper):
    """Steps that graphs make by ``tf.numpy_function``."""

    def __init__(self) -> None:
        super().__init__()
        self._host = HostStep(self.engines)

    def device_of(self, variable: Any) -> str | None:
        """Return the name of the device of a variable, None for the CPU."""
        device = str(variable.value.device)
        return None if not device or "CPU" in device.upper() else device

    def distribution(self) -> str | None:
        """Return the name of the strategy in scope, None if there is none."""
        return f"a {type(tf.distribute.get_strategy()).__name__}" if tf.distribute.has_strategy() else None

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def step(self, optimizer: Any, gradients: list[Any]) -> None:
        """Make one call: at once with numbers, and as a part of the graph while TensorFlow traces."""
        _refuse_xla()
        compiled, variables = flat_lists(optimizer)
        given, forms = _flat(gradients)

        def run(*arrays: Any) -> list[Array]:
            calls, rate, *others = arrays
            values = [np.asarray(array) for array in others[len(given) :]]
            # TensorFlow may take over the memory of the results.
            return self._host(
                compiled, calls, rate, _gradients(forms, others[: len(given)], values), values, copy=True
            )

        natives = [variable.value for variable in variables]
        arguments = [optimizer._iterations.value, _rate(optimizer), *given, *natives]
        if tf.executing_eagerly():
            results = list(map(tf.convert_to_tensor, run(*[argument.numpy() for argument in arguments])))
        else:
            results = tf.numpy_function(run, arguments, [native.dtype for native in natives])
        for variable, native, result in zip(variables, natives, results, strict=True):
            result.set_shape(native.shape)
            variable.assign(result)
        optimizer._iterations.assign_add(1)


def _refuse_xla() -> None:
    if tf.executing_eagerly():
        return
    graph: Any = tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                raise RuntimeError(
                    "numba_kernels.keras.SGD must not be compiled by XLA, which cannot call Python in a "
                    "graph of TensorFlow; call model.compile(..., jit_compile=False)"
                )
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)


def _flat(gradients: Sequence[Any]) -> tuple[list[Any], list[str | None]]:
    """Return the tensors of the gradients, and the form of each: None, "dense" or "rows"."""
    given: list[Any] = []
    forms: list[str | None] = []
    for gradient in gradients:
        if gradient is None:
            forms.append(None)
        elif isinstance(gradient, tf.IndexedSlices):
            given += [gradient.indices, gradient.values]
            forms.append("rows")
        else:
            given.append(gradient.value if isinstance(gradient, keras.Variable) else gradient)
            forms.append("dense")
    return given, forms


def _gradients(forms: Sequence[Any], given: Sequence[Any], values: Sequence[Array]) -> list[Any]:
    remaining = iter(given)
    gradients: list[Any] = []
    for form, variable in zip(forms, values, strict=False):
        if form is None:
            gradients.append(None)
            continue
        first = np.asarray(next(remaining))
        if form == "dense":
            gradients.append(as_narrow(first, variable.dtype))
        else:
            rows = as_narrow(np.asarray(next(remaining)), variable.dtype)
            gradients.append(SparseRows(first, rows, variable.shape))
    return gradients


def _rate(optimizer: Any) -> Any:
    """Return the rate as a tensor; 0 if Python reads the rate."""
    if optimizer.rate_on_host is not None:
        return tf.zeros(())
    rate = optimizer._learning_rate
    return tf.convert_to_tensor(
        rate.value if isinstance(rate, keras.Variable) else rate(optimizer._iterations)
    )
