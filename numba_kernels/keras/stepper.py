"""The parts that differ between the backends of Keras: checks of variables, and the step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from numba_kernels.keras.engine import Engines
from sgd_ref.arithmetic.formats import BFLOAT16

DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "bfloat16": BFLOAT16,
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}
"""The dtypes that the kernels compute in, by their names in Keras."""

ON_THE_CPU = "on the CPU, where the kernels run (keras.optimizers.SGD takes variables on devices)"


class Stepper(ABC):
    """The steps of one optimizer on one backend.

    Extending
    ---------
    A subclass says on which device a variable is, and makes a step. It may refuse modes of the backend in
    which it cannot make a step.
    """

    def __init__(self) -> None:
        self.engines = Engines()

    def check(self, variables: Sequence[Any]) -> None:
        """Check the variables that an optimizer is built with.

        Raises
        ------
        TypeError
            If one of them is no ``keras.Variable`` or has another dtype than the four.
        ValueError
            If one of them is given twice, is not on the CPU, or is to be overwritten by its gradient, or if
            several devices or processes share the work.
        """
        if not variables:
            raise ValueError("variables must have at least one variable, got none")
        distributed = self.distribution()
        if distributed is not None:
            raise ValueError(
                f"numba_kernels.keras.SGD works on one device, the CPU, got variables in {distributed}; "
                "build the model outside of it"
            )
        for index, variable in enumerate(variables):
            if not isinstance(variable, keras.Variable):
                raise TypeError(
                    f"variables[{index}] must be a keras.Variable, got a {type(variable).__name__}"
                )
            if variable.dtype not in DTYPES:
                raise TypeError(
                    f"{variable.path} must have one of the dtypes {', '.join(DTYPES)}, got {variable.dtype}"
                )
            if getattr(variable, "overwrite_with_gradient", False):
                raise ValueError(
                    f"{variable.path} must not be overwritten by its gradient, as variables of float8 layers "
                    "are; use keras.optimizers.SGD for these layers"
                )
            if any(variable is other for other in variables[:index]):
                raise ValueError(f"{variable.path} must be given once, got it twice")
            device = self.device_of(variable)
            if device is not None:
                raise ValueError(f"{variable.path} must be {ON_THE_CPU}, got one on {device}")

    @abstractmethod
    def device_of(self, variable: Any) -> str | None:
        """Return the name of the device of a variable, None for the CPU."""

    def distribution(self) -> str | None:
        """Return the name of the strategy that distributes variables over devices; None if there is none."""
        return None

    @abstractmethod
    def step(self, optimizer: Any, gradients: list[Any]) -> None:
        """Make one call with a gradient or None for each variable of an optimizer, and count it."""

    def copies(self, tensors: Sequence[Any]) -> list[Any]:
        """Return tensors that a step may write into, if it writes into the tensors of the caller at all."""
        return list(tensors)


def stepper() -> Stepper:
    """Return the steps for the backend that Keras runs on.

    Raises
    ------
    RuntimeError
        If this backend has no gradients.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        from numba_kernels.keras.in_place import InPlace  # noqa: PLC0415 - the others may not be installed

        return InPlace()
    if backend == "jax":
        from numba_kernels.keras.jax_callback import JaxCallback  # noqa: PLC0415

        return JaxCallback()
    if backend == "tensorflow":
        from numba_kernels.keras.tensorflow_callback import TensorFlowCallback  # noqa: PLC0415

        return TensorFlowCallback()
    raise RuntimeError(
        f"numba_kernels.keras.SGD needs Keras on PyTorch, JAX or TensorFlow, got the backend {backend!r}; "
        "set KERAS_BACKEND before Keras is imported"
    )
