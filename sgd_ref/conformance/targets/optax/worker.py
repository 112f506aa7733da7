"""The process in which Optax runs: ``python -m`` this module, with the mode.

Only this process imports this module, and no framework is imported before standard output is reserved for the
answers.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.conformance.catalogue.case import Case, Implementation, Record, State, Unsupported
from sgd_ref.conformance.protocol.worker import Handshake, ImplementationError, serve
from sgd_ref.conformance.targets.optax import settings

CASES_TO_KEEP = 32


class Training:
    """The training loop around one optimizer, made for one case."""

    def __init__(self, jax: Any, optax: Any, mode: str, case: Case) -> None:
        self.jax = jax
        self.optax = optax
        self.config = case.config
        self.window = case.config.get("gradient_accumulation_steps") or 1
        self.optimizer = settings.optimizer(case)
        self.variables = [jax.numpy.asarray(variable) for variable in case.variables]
        self.state = self.optimizer.init(self.variables)
        self.averages: list[Any] = []
        self.calls = 0
        self.rate = None if case.learning_rate_calls else settings.learning_rate(case)
        self.counts = callable(self.rate) or case.learning_rate_calls is not None
        # A compiler merges a schedule with the code that uses it, so the rate of a call cannot be read. It
        # also compiles the condition in which MultiSteps updates.
        compiled = mode == "jitted" or case.config.get("gradient_accumulation_steps") is not None
        self.rate_is_readable = not (callable(self.rate) and compiled)
        if case.state is not None:
            self._resume(case.state)
        self._step = (
            jax.jit(self._advance, static_argnames="averaging") if mode == "jitted" else self._advance
        )

    def step(self, gradients: Sequence[Any], given_rate: float | None) -> Record:
        """Apply the gradients of one call and return the record of it."""
        rate: Record = {}
        if given_rate is not None:
            present = self.optax.tree.get(self.state, "learning_rate")
            value = self.jax.numpy.asarray(given_rate, present.dtype)
            self.state = self.optax.tree.set(self.state, learning_rate=value)
            rate["learning_rate"] = given_rate
        elif self.rate_is_readable:
            rate["learning_rate"] = self._rate()
        averaging = self._averaging()
        # The gradient of a variable has the dtype of the variable in JAX.
        pairs = zip(gradients, self.variables, strict=True)
        native = [self.jax.numpy.asarray(gradient, variable.dtype) for gradient, variable in pairs]
        self.variables, self.state, self.averages = self._step(
            self.variables, self.state, self.averages, native, averaging=averaging
        )
        self.calls += 1
        if averaging != "none" and self._overwrites():
            self.variables = self.averages
        return {**self.record(), **rate}

    def finalize(self) -> Record:
        """Write the averages into the variables and return the record of it."""
        if self.averages:
            self.variables = self.averages
        return self.record()

    def record(self) -> Record:
        """Return a copy of the state; Optax keeps a trace where Keras keeps velocities."""
        record: Record = {"variables": [np.array(variable) for variable in self.variables]}
        if self.averages:
            record["averages"] = [np.array(average) for average in self.averages]
        if self.config.get("gradient_accumulation_steps") is not None:
            record["iterations"] = int(self.state.gradient_step)
            record["calls"] = record["iterations"] * self.window + int(self.state.mini_step)
        elif self.counts:
            record["iterations"] = record["calls"] = int(self.optax.tree.get(self.state, "count"))
        return record

    def _advance(
        self, variables: list[Any], state: Any, averages: list[Any], gradients: list[Any], averaging: str
    ) -> tuple[list[Any], Any, list[Any]]:
        """Return variables, state and averages after a step, as a user would write it."""
        scale = self.config.get("loss_scale_factor")
        if scale is not None:
            gradients = self.jax.tree.map(lambda gradient: gradient / scale, gradients)
        updates, state = self.optimizer.update(gradients, state, variables)
        variables = self.optax.apply_updates(variables, updates)
        if averaging == "first":
            averages = variables
        elif averaging == "later":
            step_size = 1 - self.config.get("ema_momentum", 0.99)
            averages = self.optax.incremental_update(variables, averages, step_size)
        return variables, state, averages

    def _averaging(self) -> str:
        """Return the kind of averaging in this call: "none", "first" or "later"."""
        if not self.config.get("use_ema", False) or (self.calls + 1) % self.window:
            return "none"
        return "later" if self.averages else "first"

    def _overwrites(self) -> bool:
        frequency = self.config.get("ema_overwrite_frequency")
        return frequency is not None and self.calls // self.window % frequency == 0

    def _rate(self) -> Any:
        if not callable(self.rate):
            return self.rate
        return np.asarray(self.rate(self.optax.tree.get(self.state, "count")))[()]

    def _resume(self, state: State) -> None:
        self.calls = state.calls
        updates, accumulated = divmod(state.calls, self.window)
        values: dict[str, Any] = {}
        if self.config.get("gradient_accumulation_steps") is not None:
            values |= {"gradient_step": self._count(updates), "mini_step": self._count(accumulated)}
            if state.accumulators:
                values["acc_grads"] = self._native(running_means(state.accumulators, accumulated))
        if self.counts:
            values["count"] = self._count(updates)
        if state.velocities:
            values["trace"] = self._native(trace(state.velocities, self.rate))
        if state.averages and updates:
            self.averages = self._native(state.averages)
        for name, value in values.items():
            # If several were replaced at once, those inside the tuple of a chain would not change.
            self.state = self.optax.tree.set(self.state, **{name: value})

    def _count(self, value: int) -> Any:
        return self.jax.numpy.asarray(value, self.jax.numpy.int32)

    def _native(self, arrays: Sequence[Array]) -> list[Any]:
        return [self.jax.numpy.asarray(array) for array in arrays]


def trace(velocities: Sequence[Array], rate: Any) -> list[Array]:
    """Return the traces of Optax for velocities that were computed under a constant rate.

    Examples
    --------
    >>> trace([np.array([1.0, -2.0], "float32")], 0.5)
    [array([-2.,  4.], dtype=float32)]
    """
    if callable(rate) or rate is None:
        raise Unsupported(
            "the trace of Optax has no rates in it; velocities under changing rates are no trace"
        )
    if math.frexp(rate)[0] != 0.5:
        raise Unsupported("velocities are multiples of the trace of Optax; they resume if the rate is 2**n")
    with np.errstate(all="ignore"):
        traces = [-velocity / velocity.dtype.type(rate) for velocity in velocities]
        restored = [-found * found.dtype.type(rate) for found in traces]
    if not all(np.array_equal(*pair, equal_nan=True) for pair in zip(restored, velocities, strict=True)):
        raise Unsupported("the trace of these velocities is out of the range of their dtype")
    return traces


def running_means(accumulators: Sequence[Array], accumulated: int) -> list[Array]:
    """Return the means that MultiSteps keeps, in float32, from the sums of some gradients.

    Examples
    --------
    >>> running_means([np.array([1.0, -3.0])], 2)
    [array([ 0.5, -1.5], dtype=float32)]
    """
    # Wide enough for the product of a mean and a small number, so that it shows whether the mean is exact.
    sums = [np.asarray(accumulator, FLOAT64) for accumulator in accumulators]
    with np.errstate(all="ignore"):
        means = [np.asarray(total / max(accumulated, 1), FLOAT32) for total in sums]
        restored = [mean.astype(FLOAT64) * accumulated for mean in means]
    if not all(np.array_equal(*pair, equal_nan=True) for pair in zip(restored, sums, strict=True)):
        raise Unsupported("MultiSteps keeps the mean in float32, and that of these sums is none")
    return means


def run_case(jax: Any, optax: Any, mode: str, case: Case) -> list[Record]:
    """Return the trajectory of a case; an error names the call that raised it."""
    settings.refuse_unsupported(case)
    training = None
    trajectory: list[Record] = []
    rates = case.learning_rate_calls or [None] * len(case.gradients)
    arrays = [*case.variables, *(gradient for gradients in case.gradients for gradient in gradients)]
    try:
        # JAX has float64 only if that is switched on, and switching it on changes other dtypes as well.
        with jax.enable_x64(any(array is not None and array.dtype == FLOAT64 for array in arrays)):
            training = Training(jax, optax, mode, case)
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


def prepare(mode: str) -> tuple[Handshake, Implementation]:
    """Import Optax and return the handshake and the implementation."""
    jax = importlib.import_module("jax")
    optax = importlib.import_module("optax")
    versions = {package: importlib.metadata.version(package) for package in ("numpy", "jax", "jaxlib")}
    handshake = Handshake(
        name=f"optax {mode}",
        version=importlib.metadata.version("optax"),
        language=f"Python {platform.python_version()}",
        versions=versions,
    )
    cases = 0

    def run(case: Case) -> list[Record]:
        nonlocal cases
        cases += 1
        if cases % CASES_TO_KEEP == 0:
            # JAX keeps everything that it compiles, 13 MB for a case that calls MultiSteps eagerly.
            jax.clear_caches()
        return run_case(jax, optax, mode, case)

    return handshake, run


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]))
    # JAX takes seconds to shut down, which is not needed here.
    os._exit(0)
