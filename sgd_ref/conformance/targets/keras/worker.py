"""The process in which Keras runs: ``python -m`` this module, with the backend and the mode.

Only this process imports this module, and no framework is imported before standard output is reserved for the
answers.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.metadata
import os
import platform
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.conformance.catalogue.case import Case, Implementation, Record, State, Unsupported
from sgd_ref.conformance.protocol.worker import Handshake, ImplementationError, serve
from sgd_ref.gradients import SparseRows

Gradients = Sequence[Array | SparseRows | None]
Apply = Callable[[list[Any]], None]

CASES_TO_KEEP = 8


class Backend(ABC):
    """The differences between the backends, apart from the bits."""

    packages: tuple[str, ...]

    @abstractmethod
    def scope(self, case: Case) -> contextlib.AbstractContextManager[Any]:
        """Return the configuration to run a case in."""

    @abstractmethod
    def sparse(self, rows: SparseRows) -> Any:
        """Return the native gradient of an embedding."""

    @abstractmethod
    def compiled_apply(self, optimizer: Any, variables: list[Any]) -> Apply:
        """Return ``optimizer.apply``, compiled the way ``model.fit`` does."""


class Jax(Backend):
    """Keras on JAX."""

    packages = ("jax", "jaxlib")

    def __init__(self) -> None:
        self.jax = importlib.import_module("jax")
        self.cases = 0

    @contextlib.contextmanager
    def scope(self, case: Case) -> Iterator[None]:
        arrays = [*case.variables, *(g for gradients in case.gradients for g in gradients if g is not None)]
        try:
            # JAX has float64 only if that is switched on, and switching it on changes other dtypes as well.
            with self.jax.enable_x64(any(array.dtype == FLOAT64 for array in arrays)):
                yield
        finally:
            # JAX compiles eager conditions anew in every call and keeps all of them, 20 MB for each case.
            self.cases += 1
            if self.cases % CASES_TO_KEEP == 0:
                self.jax.clear_caches()

    def sparse(self, rows: SparseRows) -> Any:
        raise Unsupported("the gradient of an embedding is dense in Keras on JAX")

    def compiled_apply(self, optimizer: Any, variables: list[Any]) -> Apply:
        stateless_apply = self.jax.jit(optimizer.stateless_apply)

        def apply(gradients: list[Any]) -> None:
            state = [variable.value for variable in optimizer.variables]
            values, state = stateless_apply(state, gradients, [variable.value for variable in variables])
            for variable, value in zip([*variables, *optimizer.variables], [*values, *state], strict=True):
                variable.assign(value)

        return apply


class TensorFlow(Backend):
    """Keras on TensorFlow."""

    packages = ("tensorflow",)

    def __init__(self) -> None:
        self.tensorflow = importlib.import_module("tensorflow")

    def scope(self, case: Case) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def sparse(self, rows: SparseRows) -> Any:
        constant = self.tensorflow.constant
        return self.tensorflow.IndexedSlices(
            constant(rows.values), constant(rows.indices), constant(rows.shape, "int64")
        )

    def compiled_apply(self, optimizer: Any, variables: list[Any]) -> Apply:
        def apply(gradients: list[Any]) -> None:
            optimizer.apply(gradients, variables)

        # The arguments are those of fit(), whose jit_compile="auto" means False on a CPU.
        compiled: Apply = self.tensorflow.function(
            apply, reduce_retracing=True, jit_compile=False, autograph=False
        )
        return compiled


class Torch(Backend):
    """Keras on PyTorch."""

    packages = ("torch",)

    def __init__(self) -> None:
        self.torch = importlib.import_module("torch")

    def scope(self, case: Case) -> contextlib.AbstractContextManager[Any]:
        # Like fit(), it applies gradients without recording them.
        scope: contextlib.AbstractContextManager[Any] = self.torch.no_grad()
        return scope

    def sparse(self, rows: SparseRows) -> Any:
        raise Unsupported("the gradient of an embedding is dense in Keras on PyTorch")

    def compiled_apply(self, optimizer: Any, variables: list[Any]) -> Apply:
        raise Unsupported("fit() does not compile on PyTorch")


BACKENDS: dict[str, Callable[[], Backend]] = {"jax": Jax, "tensorflow": TensorFlow, "torch": Torch}


class GivenRate:
    """A callable learning rate that returns a given value."""

    def __init__(self) -> None:
        self.value = 0.0

    def __call__(self) -> float:
        return self.value


class Training:
    """One optimizer with its variables, made for one case."""

    def __init__(self, keras: Any, backend: Backend, mode: str, case: Case) -> None:
        self.keras = keras
        self.backend = backend
        self.given_rate = GivenRate()
        pairs = zip(case.names, case.variables, strict=True)
        self.variables = [self._variable(name, value) for name, value in pairs]
        self.inner = keras.optimizers.SGD.from_config(self._config(case))
        if case.excluded_from_weight_decay:
            self.inner.exclude_from_weight_decay(var_names=list(case.excluded_from_weight_decay))
        self.optimizer = self.inner
        self.scaled = case.loss_scaling is not None
        if case.loss_scaling is not None:
            self.optimizer = keras.optimizers.LossScaleOptimizer(
                self.inner,
                initial_scale=case.loss_scaling.initial_scale,
                dynamic_growth_steps=case.loss_scaling.dynamic_growth_steps,
            )
        self.optimizer.build(self.variables)
        if case.state is not None:
            self._resume(case.state)
        # Compilers merge a schedule with the code that uses it, so the rate of a call cannot be read.
        schedule = self.keras.optimizers.schedules.LearningRateSchedule
        self.rate_is_readable = mode == "eager" or not isinstance(self.inner._learning_rate, schedule)
        if mode == "compiled":
            self._apply = backend.compiled_apply(self.optimizer, self.variables)
        else:
            self._apply = lambda gradients: self.optimizer.apply(gradients, self.variables)

    def step(self, gradients: Gradients, given_rate: float | None) -> Record:
        """Apply the gradients of one call and return the record of it."""
        native = [self._native(gradient) for gradient in gradients]
        rate: Record = {}
        if given_rate is not None:
            self.given_rate.value = given_rate
            rate["learning_rate"] = given_rate
        elif self.rate_is_readable:
            rate["learning_rate"] = self._number(self.inner.learning_rate)
        self._apply(native)
        return {**self.record(), **rate}

    def finalize(self) -> Record:
        """Write the averages into the variables and return the record of it."""
        self.optimizer.finalize_variable_values(self.variables)
        return self.record()

    def record(self) -> Record:
        """Return a copy of the state."""
        record: Record = {
            "variables": self._arrays(self.variables),
            "velocities": self._arrays(self.inner.momentums),
            "averages": self._arrays(self._averages()),
            "accumulators": self._arrays(self._accumulators()),
            "iterations": int(self._array(self.optimizer.iterations)),
            "calls": int(self._array(self.inner._iterations)),
        }
        if self.scaled:
            record["loss_scale"] = self._number(self.optimizer.dynamic_scale)
            record["growth_counter"] = int(self._array(self.optimizer.step_counter))
        return record

    def _variable(self, name: str, value: Array) -> Any:
        # In a model, the part before a slash is the name of the layer, which is a scope.
        *layers, last = name.split("/")
        with contextlib.ExitStack() as scopes:
            for layer in layers:
                scopes.enter_context(self.keras.name_scope(layer))
            return self.keras.Variable(value, dtype=value.dtype.name, name=last)

    def _config(self, case: Case) -> dict[str, Any]:
        # Keras changes the config that it is given.
        config = copy.deepcopy(case.config)
        for name in ("learning_rate", "momentum"):
            # Keras refuses integers here.
            if isinstance(config.get(name), int):
                config[name] = float(config[name])
        if case.learning_rate_calls is not None:
            config["learning_rate"] = self.given_rate
        elif isinstance(config.get("learning_rate"), dict):
            schedules = self.keras.optimizers.schedules
            config["learning_rate"] = schedules.deserialize(config["learning_rate"])
        return config

    def _resume(self, state: State) -> None:
        self.inner._iterations.assign(state.calls)
        self._assign(self.inner.momentums, state.velocities)
        self._assign(self._averages(), state.averages)
        self._assign(self._accumulators(), state.accumulators)
        if state.loss_scale is not None:
            self.optimizer.dynamic_scale.assign(state.loss_scale)
        if state.growth_counter is not None:
            self.optimizer.step_counter.assign(state.growth_counter)

    def _assign(self, variables: Sequence[Any], values: Sequence[Array]) -> None:
        # An empty list stands for zeros, which Keras begins with.
        for variable, value in zip(variables, values, strict=bool(values)):
            variable.assign(value)

    def _averages(self) -> Sequence[Any]:
        averages: Sequence[Any] = getattr(self.inner, "_model_variables_moving_average", ())
        return averages

    def _accumulators(self) -> Sequence[Any]:
        accumulators: Sequence[Any] = getattr(self.inner, "_accumulated_gradients", ())
        return accumulators

    def _native(self, gradient: Array | SparseRows | None) -> Any:
        if gradient is None:
            return None
        if isinstance(gradient, SparseRows):
            return self.backend.sparse(gradient)
        return self.keras.ops.convert_to_tensor(gradient)

    def _array(self, tensor: Any) -> Array:
        # PyTorch updates in place: without a copy every record would be the last one.
        return np.array(self.keras.ops.convert_to_numpy(tensor))

    def _number(self, tensor: Any) -> Any:
        return self._array(tensor)[()]

    def _arrays(self, variables: Sequence[Any]) -> list[Array]:
        return [self._array(variable) for variable in variables]


def _excludes_by_scope(case: Case) -> bool:
    """Whether a string that excludes from decay is in the name of a scope, where Keras does not look."""
    return any(
        part in name and part not in name.rpartition("/")[2]
        for part in case.excluded_from_weight_decay
        for name in case.names
    )


def run_case(keras: Any, backend: Backend, mode: str, case: Case) -> list[Record]:
    """Return the trajectory of a case; an error names the call that raised it."""
    if case.kind != "trajectory":
        raise Unsupported(f"cases of kind {case.kind}")
    if _excludes_by_scope(case):
        raise Unsupported("the name of a variable of Keras is the last part of its path")
    training = None
    trajectory: list[Record] = []
    rates = case.learning_rate_calls or [None] * len(case.gradients)
    try:
        with backend.scope(case):
            training = Training(keras, backend, mode, case)
            for gradients, rate in zip(case.gradients, rates, strict=True):
                trajectory.append(training.step(gradients, rate))
            if case.finalize:
                trajectory.append(training.finalize())
    except Unsupported:
        raise
    except Exception as error:
        call = None if training is None else len(trajectory)
        raise ImplementationError(type(error).__name__, str(error), call) from error
    return trajectory


def prepare(name: str, mode: str) -> tuple[Handshake, Implementation]:
    """Import Keras and return the handshake and the implementation."""
    warnings.filterwarnings("ignore", message="Gradients do not exist for variables")
    backend = BACKENDS[name]()
    keras = importlib.import_module("keras")
    keras.config.set_floatx("float32")
    versions = {package: importlib.metadata.version(package) for package in ("numpy", *backend.packages)}
    handshake = Handshake(
        name=f"keras {name} {mode}",
        version=keras.__version__,
        language=f"Python {platform.python_version()}",
        versions=versions,
    )
    return handshake, lambda case: run_case(keras, backend, mode, case)


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]))
    # Frameworks take seconds to shut down, which is not needed here.
    os._exit(0)
