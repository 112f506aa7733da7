"""Mistakes that public projects have made, each in a training with PyTorch, are named."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from sgd_ref import conformance

torch = pytest.importorskip("torch", reason="the loops are PyTorch's, an extra")
pytest.importorskip("sklearn", reason="the data are scikit-learn's digits")

spec = importlib.util.spec_from_file_location("hand_written", Path(__file__).with_name("hand_written.py"))
assert spec is not None
assert spec.loader is not None
written: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(written)

STEPS = 9


class SubtractsAConstant(written.Right):
    """https://github.com/jettify/pytorch-optimizer/issues/454."""

    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        super().update(p, g, state, {**group, "weight_decay": 0.0})
        p -= group["weight_decay"] * group["lr"]


class RateTwiceInDecay(written.RightByKeras):
    """https://github.com/dholzmueller/pytabkit/issues/40."""

    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        super().update(p, g, state, {**group, "weight_decay": group["weight_decay"] * group["lr"]})


class MomentumOnGradient(written.Right):
    """https://github.com/ooples/AiDotNet/issues/2008."""

    def accelerated(self, g: Any, state: Any, momentum: float) -> Any:
        return state.get("momentum_buffer", torch.zeros_like(g)) + momentum * g


class BufferIsReset(written.Right):
    """https://github.com/kozistr/pytorch_optimizer/pull/516."""

    def accelerated(self, g: Any, state: Any, momentum: float) -> Any:
        state["momentum_buffer"] = torch.zeros_like(g)
        return state["momentum_buffer"].lerp(g, 1 - momentum)


class BufferDecaysByOneMinusRate(written.Right):
    """The factor of another formula."""

    def direction(self, g: Any, state: Any, group: Any) -> Any:
        return super().direction(g, state, {**group, "momentum": 1 - group["lr"]})


class Rebinds(written.Right):
    """The new tensor is bound to a name that nobody reads."""

    def update(self, p: Any, g: Any, state: Any, group: Any) -> None:
        p = p - group["lr"] * g


class Averages(written.Right):
    """The gradients are divided by a number that has nothing to do with them."""

    def gradient(self, p: Any) -> Any:
        return p.grad / 4


def plainly(model: Any, optimizer: Any, step: int) -> None:
    written.train(model, optimizer, steps=1)


def clipped_before_it_is_unscaled(model: Any, optimizer: Any, step: int) -> None:
    """https://github.com/milesial/Pytorch-UNet/issues/468."""
    optimizer.zero_grad()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    torch.manual_seed(step)
    scaler.scale(model(torch.randn(8, 64)).square().sum()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.125)
    scaler.step(optimizer)


def clipped_where_no_gradients_are(model: Any, optimizer: Any, step: int) -> None:
    """https://github.com/fla-org/flame/issues/20."""
    optimizer.zero_grad()
    torch.manual_seed(step)
    model(torch.randn(8, 64)).square().sum().backward()
    torch.nn.utils.clip_grad_norm_([torch.nn.Parameter(torch.ones(2))], 0.125)
    optimizer.step()


def decay_from_before_a_resume(model: Any, optimizer: Any, step: int) -> None:
    """https://github.com/NVIDIA/Megatron-LM/pull/7468."""
    optimizer.param_groups[0]["weight_decay"] = 0.01 if step else 0.1
    plainly(model, optimizer, step)


CLIPPED = {"global_clipnorm": 0.125}
MOMENTUM = {"lr": 0.05, "momentum": 0.9}
SGD = torch.optim.SGD
MISTAKES: dict[str, tuple[Any, dict[str, Any], dict[str, Any], Any, tuple[str, str]]] = {
    "a constant decay": (
        SubtractsAConstant,
        {**MOMENTUM, "weight_decay": 0.01},
        {"rule": "sutskever"},
        plainly,
        ("decay-is-constant", "it equals decay-is-constant"),
    ),
    "the rate twice in the decay": (
        RateTwiceInDecay,
        {"lr": 0.05, "weight_decay": 0.5},
        {"rule": "keras"},
        plainly,
        ("other weight_decay", "weight_decay=0.025 in place of 0.5"),
    ),
    "momentum on the gradient": (
        MomentumOnGradient,
        MOMENTUM,
        {},
        plainly,
        ("momentum-on-gradient-alone", "it equals momentum-on-gradient-alone"),
    ),
    "a buffer that is reset": (
        BufferIsReset,
        MOMENTUM,
        {},
        plainly,
        ("velocity-not-kept", "it equals dampened with velocity-not-kept"),
    ),
    "another momentum": (
        BufferDecaysByOneMinusRate,
        MOMENTUM,
        {},
        plainly,
        ("other momentum", "momentum=0.95 in place of 0.9"),
    ),
    "no update": (
        Rebinds,
        {"lr": 0.05},
        {},
        plainly,
        ("other learning_rate", "learning_rate=0 in place of 0.05"),
    ),
    "divided gradients": (
        Averages,
        MOMENTUM,
        {},
        plainly,
        ("other loss_scale_factor", "loss_scale_factor=4 in place of none"),
    ),
    "clipping before unscaling": (
        SGD,
        MOMENTUM,
        CLIPPED,
        clipped_before_it_is_unscaled,
        ("other global_clipnorm", "in place of 0.125"),
    ),
    "clipping of nothing": (
        SGD,
        MOMENTUM,
        CLIPPED,
        clipped_where_no_gradients_are,
        ("clipping-ignored", "it equals clipping-ignored"),
    ),
    "the decay before a resume": (
        SGD,
        MOMENTUM,
        {"weight_decay": 0.01},
        decay_from_before_a_resume,
        ("other weight_decay", "weight_decay=0.1 in place of 0.01 up to call 0"),
    ),
}


@pytest.mark.share(5)
@pytest.mark.parametrize("what", MISTAKES)
def test_the_mistake_is_named(what: str) -> None:
    optimizer_class, options, declared, step, (name, text) = MISTAKES[what]
    model = written.network()
    optimizer = optimizer_class(model.parameters(), **options)
    with conformance.watch(optimizer, model, **declared) as report:
        for number in range(STEPS):
            step(model, optimizer, number)
    assert report.step == 0 or what == "another momentum"
    assert name in report.mistake.names, report
    assert text in str(report)
