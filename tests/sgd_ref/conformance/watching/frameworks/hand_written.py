"""Optimizers of PyTorch that are written by hand, each with one mistake, and a training with real data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sklearn.datasets import load_digits

from sgd_ref import conformance

STEPS, BATCH = 24, 32


class Right(torch.optim.Optimizer):
    """The rule of ``torch.optim.SGD``, written by hand."""

    def __init__(self, params: Any, lr: float, **options: Any) -> None:
        defaults = {"lr": lr, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False, **options}
        super().__init__(params, defaults)
        self.limit: float | None = defaults.get("limit")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            with_gradient = self.chosen([p for p in group["params"] if p.grad is not None])
            gradients = self.clipped(with_gradient, [self.gradient(p) for p in with_gradient])
            for p, g in zip(with_gradient, gradients, strict=True):
                self.update(p, g, self.state[p], group)

    def chosen(self, params: list[Any]) -> list[Any]:
        return params

    def gradient(self, p: Any) -> Any:
        return p.grad

    def clipped(self, params: list[Any], gradients: list[Any]) -> list[Any]:
        if self.limit is None:
            return gradients
        norm = torch.sqrt(sum((g * g).sum() for g in gradients))
        return [g * torch.clamp(self.limit / (norm + 1e-6), max=1.0) for g in gradients]

    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p
        if group["momentum"]:
            g = self.direction(g, state, group)
        p -= group["lr"] * g

    def direction(self, g: Any, state: Any, group: Any) -> Any:
        buffer = self.accelerated(g, state, group["momentum"])
        state["momentum_buffer"] = buffer
        return g + group["momentum"] * buffer if group["nesterov"] else buffer

    def accelerated(self, g: Any, state: Any, momentum: float) -> Any:
        if "momentum_buffer" not in state:
            return g.clone()
        return momentum * state["momentum_buffer"] + g


class NesterovIgnored(Right):
    def direction(self, g: Any, state: Any, group: Any) -> Any:
        return super().direction(g, state, {**group, "nesterov": False})


class NesterovUnasked(Right):
    def direction(self, g: Any, state: Any, group: Any) -> Any:
        return super().direction(g, state, {**group, "nesterov": True})


class NesterovWithoutGradient(Right):
    def direction(self, g: Any, state: Any, group: Any) -> Any:
        buffer = state["momentum_buffer"] = self.accelerated(g, state, group["momentum"])
        return group["momentum"] * buffer


class Dampened(Right):
    def accelerated(self, g: Any, state: Any, momentum: float) -> Any:
        return momentum * state.get("momentum_buffer", torch.zeros_like(g)) + (1 - momentum) * g


class FirstStepTwice(Right):
    def accelerated(self, g: Any, state: Any, momentum: float) -> Any:
        return momentum * state.get("momentum_buffer", g) + g


class RateOfLastStep(Right):
    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        last = state.get("rate", group["lr"])
        state["rate"] = group["lr"]
        super().update(p, g, state, {**group, "lr": last})


class FirstRateForever(Right):
    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        super().update(p, g, state, {**group, "lr": state.setdefault("rate", group["lr"])})


class VelocityForgotten(Right):
    def accelerated(self, g: Any, state: Any, momentum: float) -> Any:
        return g.clone()


class VelocityNeverDecays(Right):
    def accelerated(self, g: Any, state: Any, momentum: float) -> Any:
        return state.get("momentum_buffer", torch.zeros_like(g)) + g


class MomentumOnGradientToo(Right):
    def accelerated(self, g: Any, state: Any, momentum: float) -> Any:
        return momentum * (state.get("momentum_buffer", torch.zeros_like(g)) + g)


class OldVelocity(Right):
    def direction(self, g: Any, state: Any, group: Any) -> Any:
        old = state.get("momentum_buffer", torch.zeros_like(g))
        state["momentum_buffer"] = self.accelerated(g, state, group["momentum"])
        return old


class Ascends(Right):
    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        super().update(p, g, state, {**group, "lr": -group["lr"]})


class OneVelocityForEachShape(Right):
    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        first = next(other for other in group["params"] if other.shape == p.shape)
        super().update(p, g, self.state[first], group)
        self.state[p]["momentum_buffer"] = self.state[first]["momentum_buffer"]


class LastParameterSkipped(Right):
    def chosen(self, params: list[Any]) -> list[Any]:
        return params[:-1]


class OnlyFirstParameter(Right):
    def chosen(self, params: list[Any]) -> list[Any]:
        return params[:1]


class LastElementSkipped(Right):
    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        last = p.reshape(-1)[-1].clone()
        super().update(p, g, state, group)
        p.reshape(-1)[-1] = last


class VelocityInBfloat16(Right):
    def direction(self, g: Any, state: Any, group: Any) -> Any:
        exact = super().direction(g, state, group)
        state["momentum_buffer"] = state["momentum_buffer"].bfloat16().float()
        return exact


class GradientInFloat16(Right):
    def gradient(self, p: Any) -> Any:
        return p.grad.half().float()


class WeightInBfloat16(Right):
    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        super().update(p, g, state, group)
        p.copy_(p.bfloat16().float())


class GradientOfLastStep(Right):
    def gradient(self, p: Any) -> Any:
        last = self.state[p].get("gradient", torch.zeros_like(p))
        self.state[p]["gradient"] = p.grad.clone()
        return last


class DecayBesideTheGradient(Right):
    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        p -= group["lr"] * group["weight_decay"] * p
        super().update(p, g, state, {**group, "weight_decay": 0.0})


class ClipsEachTensor(Right):
    def clipped(self, params: list[Any], gradients: list[Any]) -> list[Any]:
        return [super(ClipsEachTensor, self).clipped([], [g])[0] for g in gradients]


class RightByKeras(Right):
    """The rule of Keras: the rate in the velocity, decay beside it."""

    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        p -= p * group["weight_decay"] * group["lr"]
        v = group["momentum"] * state.get("velocity", torch.zeros_like(p)) - group["lr"] * g
        state["velocity"] = v
        p += group["momentum"] * v - group["lr"] * g if group["nesterov"] else v


class BiasesNotDecayed(RightByKeras):
    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        super().update(p, g, state, {**group, "weight_decay": group["weight_decay"] if p.ndim > 1 else 0.0})


def falling(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)


MOMENTUM = {"lr": 0.05, "momentum": 0.9}
NESTEROV = {**MOMENTUM, "nesterov": True}
DECAY = {**MOMENTUM, "weight_decay": 0.01}
KERAS = {"rule": "keras"}
CLIPPED = {"global_clipnorm": 0.125}

MISTAKES: dict[str, tuple[Any, dict[str, Any], dict[str, Any], Callable[[Any], Any] | None]] = {
    "nesterov-ignored": (NesterovIgnored, NESTEROV, {}, None),
    "nesterov-unasked": (NesterovUnasked, MOMENTUM, {}, None),
    "nesterov-without-gradient": (NesterovWithoutGradient, NESTEROV, {}, None),
    "dampened": (Dampened, MOMENTUM, {}, None),
    "velocity-starts-at-gradient": (FirstStepTwice, MOMENTUM, {}, falling),
    "callable-one-call-late": (RateOfLastStep, MOMENTUM, {}, falling),
    "rate-frozen": (FirstRateForever, MOMENTUM, {}, falling),
    "velocity-not-kept": (VelocityForgotten, MOMENTUM, {}, None),
    "velocity-never-decays": (VelocityNeverDecays, MOMENTUM, {}, None),
    "momentum-scales-gradient": (MomentumOnGradientToo, MOMENTUM, {}, None),
    "moves-by-old-velocity": (OldVelocity, MOMENTUM, {}, None),
    "ascends": (Ascends, {"lr": 0.05}, {}, None),
    "velocity-by-shape": (OneVelocityForEachShape, MOMENTUM, {}, None),
    "last-variable-skipped": (LastParameterSkipped, MOMENTUM, {}, None),
    "first-variable-only": (OnlyFirstParameter, {"lr": 0.05}, {}, None),
    "last-element-skipped": (LastElementSkipped, {"lr": 0.05}, {}, None),
    "velocities-in-bfloat16": (VelocityInBfloat16, MOMENTUM, {}, None),
    "gradients-in-float16": (GradientInFloat16, MOMENTUM, {}, None),
    "variables-in-bfloat16": (WeightInBfloat16, {"lr": 0.05}, {}, None),
    "previous-gradient": (GradientOfLastStep, MOMENTUM, {}, None),
    "not decay-enters-velocity": (DecayBesideTheGradient, DECAY, {}, None),
    "vectors-not-decayed": (BiasesNotDecayed, DECAY, KERAS, None),
    "global-clipnorm-by-variable": (ClipsEachTensor, {"lr": 0.05, "limit": 0.125}, CLIPPED, None),
}
"""By the name of the mistake in the kit: the optimizer, its options, what is declared, its scheduler."""


def trained(
    optimizer_class: Any,
    options: dict[str, Any],
    declared: dict[str, Any],
    scheduler: Callable[[Any], Any] | None = None,
    steps: int = STEPS,
) -> Any:
    """Return the report on a training with the digits of scikit-learn."""
    model = network()
    optimizer = optimizer_class(model.parameters(), **options)
    with conformance.watch(optimizer, model, **declared) as report:
        train(model, optimizer, scheduler, steps)
    return report


def network(width: int = 12) -> Any:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(64, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, 10),
    )


def train(
    model: Any, optimizer: Any, scheduler: Callable[[Any], Any] | None = None, steps: int = STEPS
) -> None:
    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=next(model.parameters()).dtype)
    labels = torch.tensor(digits.target)
    schedule = None if scheduler is None else scheduler(optimizer)
    for step in range(steps):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
