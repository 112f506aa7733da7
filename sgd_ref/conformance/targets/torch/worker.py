"""The process in which PyTorch runs: ``python -m`` this module, with the variant.

This module has the training loop that a user of PyTorch writes for the features of a case. Only this process
imports this module, and PyTorch is not imported before standard output is reserved for the answers.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.conformance.catalogue.case import Case, Implementation, Record, State, Unsupported
from sgd_ref.conformance.protocol.worker import Handshake, ImplementationError, serve
from sgd_ref.conformance.targets.python_rates import rate_function
from sgd_ref.gradients import SparseRows

Gradients = Sequence[Array | SparseRows | None]

OPTIONS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False, "fused": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "compiled": {},
}
FOREACH = {"loop": False, "foreach": True}

REFUSALS = (
    r"Attempting to unscale FP16 gradients",
    r"Could not run '.*' with arguments from the '.*' backend",
    r"Nesterov momentum requires a momentum",
    r"(does not support|is not supported|not implemented for)",
)
"""Parts of the messages with which PyTorch itself says that it does not offer a feature."""


class Training:
    """One optimizer with its parameters, made for one case."""

    def __init__(self, torch: Any, variant: str, case: Case) -> None:
        self.torch = torch
        self.config = case.config
        self.foreach = FOREACH.get(variant)
        self.parameters = [torch.nn.Parameter(_tensor(torch, value)) for value in case.variables]
        self.model = torch.nn.ParameterList(self.parameters)
        self.calls = self.updates = 0
        if case.state is not None:
            self.calls = case.state.calls
            self.updates = self.calls // self.window
        schedule = self.config.get("learning_rate", 0.01)
        self.rate_is_constant = isinstance(schedule, (int, float)) and case.learning_rate_calls is None
        # A schedule multiplies this rate; a callable replaces it.
        rate: Any = schedule if self.rate_is_constant else 1.0
        if variant == "compiled" and not self.rate_is_constant:
            # A rate that changes is a tensor, as in the tutorial on compiled optimizers; with a Python float
            # there would be a new graph for every value.
            rate = torch.tensor(rate)
        self.optimizer = self._optimizer(case, variant, rate)
        self.scheduler = self._scheduler(schedule) if isinstance(schedule, dict) else None
        if variant == "compiled":
            self.optimizer.step = _compiled_step(torch, self.optimizer)
        self.averaged: Any = self._averaged_model(variant) if self.config.get("use_ema") else None
        self.scaler: Any = None
        if case.loss_scaling is not None:
            if self.window > 1:
                raise Unsupported("GradScaler keeps one scale for all gradients that are accumulated")
            self.scaler = torch.amp.GradScaler(
                "cpu",
                init_scale=case.loss_scaling.initial_scale,
                growth_interval=case.loss_scaling.dynamic_growth_steps,
            )
        if case.state is not None:
            self._resume(case.state)

    @property
    def window(self) -> int:
        """The number of calls for one update."""
        return self.config.get("gradient_accumulation_steps") or 1

    def step(self, gradients: Gradients, given_rate: float | None) -> Record:
        """Use the gradients of one batch like a training loop, and return the record of the call."""
        if given_rate is not None:
            for group in self.optimizer.param_groups:
                self._set_rate(group, given_rate)
        rate = np.float64(float(self.optimizer.param_groups[0]["lr"]))
        self._backward(gradients)
        if (self.calls + 1) % self.window or self._update():
            self.calls += 1
            if self.scheduler is not None:
                self.scheduler.step()
        return {**self.record(), "learning_rate": rate}

    def finalize(self) -> Record:
        """Write the averages into the parameters and return the record of it."""
        if self.averaged is not None:
            self._copy_averages()
        return self.record()

    def record(self) -> Record:
        """Return a copy of the state that has a counterpart in the definition.

        Momentum buffers have none: they are sums of gradients, which are no velocities if the rate changes.
        """
        record: Record = {
            "variables": [_array(parameter) for parameter in self.parameters],
            "iterations": self.updates,
            "calls": self.calls,
        }
        if self.averaged is not None and self.averaged.n_averaged > 0:
            record["averages"] = [_array(parameter) for parameter in self.averaged.parameters()]
        if self.scaler is not None:
            record["loss_scale"] = np.float32(self.scaler.get_scale())
            record["growth_counter"] = int(self.scaler.state_dict()["_growth_tracker"])
        return record

    def _backward(self, gradients: Gradients) -> None:
        """Add to the gradients what ``(loss / window).backward()`` would add."""
        if self.scaler is not None:
            self.scaler.scale(self.torch.zeros(()))
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            if gradient is None:
                continue
            # Automatic differentiation gives each gradient the dtype of its parameter.
            native = self._native(gradient).to(parameter.dtype)
            if self.window > 1:
                native = native / self.window
            parameter.grad = native if parameter.grad is None else parameter.grad + native

    def _update(self) -> bool:
        """Unscale, clip and step; return whether there was an update."""
        updated = True
        if self.scaler is None:
            self._unscale()
            self._clip()
            self.optimizer.step()
        else:
            if self._clips:
                self.scaler.unscale_(self.optimizer)
                self._clip()
            scale = self.scaler.get_scale()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            # There is no other sign that a step was skipped.
            updated = self.scaler.get_scale() >= scale
        self.optimizer.zero_grad()
        if updated:
            self.updates += 1
            self._average()
        return updated

    def _unscale(self) -> None:
        scale = self.config.get("loss_scale_factor")
        if scale is not None:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad.div_(scale)

    @property
    def _clips(self) -> bool:
        return any(self.config.get(name) is not None for name in ("clipnorm", "clipvalue", "global_clipnorm"))

    def _clip(self) -> None:
        utilities, config = self.torch.nn.utils, self.config
        if config.get("clipnorm") is not None:
            for parameter in self.parameters:
                utilities.clip_grad_norm_(parameter, config["clipnorm"], foreach=self.foreach)
        if config.get("clipvalue") is not None:
            utilities.clip_grad_value_(self.parameters, config["clipvalue"], foreach=self.foreach)
        if config.get("global_clipnorm") is not None:
            utilities.clip_grad_norm_(self.parameters, config["global_clipnorm"], foreach=self.foreach)

    def _average(self) -> None:
        if self.averaged is None:
            return
        self.averaged.update_parameters(self.model)
        frequency = self.config.get("ema_overwrite_frequency")
        if frequency is not None and self.updates % frequency == 0:
            self._copy_averages()

    def _copy_averages(self) -> None:
        with self.torch.no_grad():
            for parameter, average in zip(self.parameters, self.averaged.parameters(), strict=True):
                parameter.copy_(average)

    def _optimizer(self, case: Case, variant: str, rate: Any) -> Any:
        weight_decay = self.config.get("weight_decay") or 0.0
        patterns = case.excluded_from_weight_decay
        excluded = [any(pattern in name for pattern in patterns) for name in case.names]
        groups = []
        for is_excluded, decay in ((False, weight_decay), (True, 0.0)):
            parameters = [p for p, flag in zip(self.parameters, excluded, strict=True) if flag == is_excluded]
            if parameters:
                groups.append({"params": parameters, "weight_decay": decay, "lr": rate})
        return self.torch.optim.SGD(
            groups,
            momentum=self.config.get("momentum", 0.0),
            nesterov=self.config.get("nesterov", False),
            **OPTIONS[variant],
        )

    def _scheduler(self, schedule: dict[str, Any]) -> Any:
        rate_of_step = rate_function(schedule)
        for group in self.optimizer.param_groups:
            group["initial_lr"] = 1.0
        return self.torch.optim.lr_scheduler.LambdaLR(self.optimizer, rate_of_step, last_epoch=self.calls - 1)

    def _averaged_model(self, variant: str) -> Any:
        utilities, decay = self.torch.optim.swa_utils, self.config.get("ema_momentum", 0.99)
        if variant == "loop":
            return utilities.AveragedModel(self.model, avg_fn=utilities.get_ema_avg_fn(decay))
        return utilities.AveragedModel(self.model, multi_avg_fn=utilities.get_ema_multi_avg_fn(decay))

    def _set_rate(self, group: dict[str, Any], rate: float) -> None:
        if isinstance(group["lr"], self.torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate

    def _resume(self, state: State) -> None:
        for parameter, velocity in zip(self.parameters, state.velocities, strict=False):
            if not self.rate_is_constant:
                raise Unsupported("a momentum buffer is a velocity at a constant learning rate only")
            buffer = _exactly_scaled(velocity, -1 / Fraction(self.config.get("learning_rate", 0.01)))
            self.optimizer.state[parameter]["momentum_buffer"] = _tensor(self.torch, buffer)
        for parameter, accumulator in zip(self.parameters, state.accumulators, strict=False):
            if self.calls % self.window:
                scale = self.config.get("loss_scale_factor") or 1.0
                parameter.grad = _tensor(self.torch, _exactly_scaled(accumulator, scale / self.window))
        if self.averaged is not None and state.averages:
            with self.torch.no_grad():
                for average, value in zip(self.averaged.parameters(), state.averages, strict=True):
                    average.copy_(_tensor(self.torch, value))
            self.averaged.n_averaged.fill_(self.updates)
        if self.scaler is not None and state.loss_scale is not None:
            kept = self.scaler.state_dict()
            kept |= {"scale": float(state.loss_scale), "_growth_tracker": state.growth_counter or 0}
            self.scaler.load_state_dict(kept)

    def _native(self, gradient: Array | SparseRows) -> Any:
        if not isinstance(gradient, SparseRows):
            return _tensor(self.torch, gradient)
        indices = self.torch.tensor(np.array(gradient.indices)[None])
        return self.torch.sparse_coo_tensor(indices, _tensor(self.torch, gradient.values), gradient.shape)


def _compiled_step(torch: Any, optimizer: Any) -> Callable[[], None]:
    # Graphs belong to the code, which all cases share, and PyTorch stops compiling after a few graphs.
    torch._dynamo.reset()
    step = optimizer.step

    @torch.compile  # type: ignore[untyped-decorator]
    def compiled_step() -> None:
        step()

    compiled: Callable[[], None] = compiled_step
    return compiled


def _exactly_scaled(array: Array, factor: float | Fraction) -> Array:
    """Return an array times a factor, if its dtype holds the product."""
    exact = [Fraction(value) * Fraction(factor) for value in array.astype(np.float64).reshape(-1).tolist()]
    scaled = np.array([float(value) for value in exact]).astype(array.dtype).reshape(array.shape)
    if [Fraction(value) for value in scaled.astype(np.float64).reshape(-1).tolist()] != exact:
        raise Unsupported("the state of the case has no exact counterpart in the state of PyTorch")
    return scaled


def _tensor(torch: Any, array: Array) -> Any:
    # PyTorch writes in place, and knows nothing of the bfloat16 of ml_dtypes.
    copied = np.array(array)
    if array.dtype == BFLOAT16:
        return torch.from_numpy(copied.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copied)


def _array(tensor: Any) -> Array:
    detached = tensor.detach()
    if str(detached.dtype) == "torch.bfloat16":
        return np.array(detached.view(importlib.import_module("torch").int16).numpy()).view(BFLOAT16)
    return np.array(detached.numpy())


def run_case(torch: Any, variant: str, case: Case) -> list[Record]:
    """Return the trajectory of a case; an error names the call that raised it."""
    if case.kind != "trajectory":
        raise Unsupported(f"cases of kind {case.kind}")
    training = None
    trajectory: list[Record] = []
    rates = case.learning_rate_calls or [None] * len(case.gradients)
    try:
        training = Training(torch, variant, case)
        for gradients, rate in zip(case.gradients, rates, strict=True):
            trajectory.append(training.step(gradients, rate))
        if case.finalize:
            trajectory.append(training.finalize())
    except Unsupported:
        raise
    except Exception as error:
        if any(re.search(pattern, str(error)) for pattern in REFUSALS):
            # The text after the first sentence lists everything that is supported.
            sentence = str(error).split(". ")[0].rstrip(".")
            raise Unsupported(f"{type(error).__name__}: {sentence}") from error
        call = None if training is None else len(trajectory)
        raise ImplementationError(type(error).__name__, str(error), call) from error
    return trajectory


def prepare(variant: str) -> tuple[Handshake, Implementation]:
    """Import PyTorch and return the handshake and the implementation."""
    warnings.simplefilter("ignore")
    torch = importlib.import_module("torch")
    handshake = Handshake(
        name=f"torch {variant}",
        version=torch.__version__,
        language=f"Python {platform.python_version()}",
        versions={"numpy": importlib.metadata.version("numpy")},
    )
    return handshake, lambda case: run_case(torch, variant, case)


if __name__ == "__main__":
    serve(lambda: prepare(*sys.argv[1:]))
    # Frameworks take seconds to shut down, which is not needed here.
    os._exit(0)
