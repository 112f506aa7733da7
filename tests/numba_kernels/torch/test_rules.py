"""The rule of PyTorch: its bits, and state that goes from ``torch.optim.SGD`` here and back."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from numba_kernels.torch import SGD
from numba_kernels.torch.rules import RULES
from tests.numba_kernels.agreement import DTYPES, numbers
from tests.numba_kernels.torch.grouped import TORCH, Pair

GROUPS: list[dict[str, Any]] = [
    {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.3, "nesterov": False},
    {"lr": 0.25, "momentum": 0.9, "weight_decay": None, "nesterov": False},
    {"lr": 0.3, "momentum": 0.7, "weight_decay": 0.01, "nesterov": True},
    {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.0, "nesterov": False},
]

COMMON: list[dict[str, Any]] = [
    {},
    {"clipnorm": 1.0},
    {"clipvalue": 0.5},
    {"global_clipnorm": 2.0, "use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 3, "use_ema": True, "ema_momentum": 0.7},
]

SHAPES = [(), (1,), (7,), (0, 3), (33, 5)]

PLAIN: list[dict[str, Any]] = [
    {},
    {"momentum": 0.5},
    {"momentum": 0.5, "nesterov": True},
    {"weight_decay": 0.25},
    {"momentum": 0.5, "weight_decay": 0.25},
    {"momentum": 0.5, "nesterov": True, "weight_decay": 0.25},
]


@pytest.mark.share(10)
@pytest.mark.parametrize("common", COMMON, ids=lambda common: "-".join(common) or "plain")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("special", [0.0, 0.1], ids=["numbers", "special"])
def test_all_settings_give_the_bits_of_the_rule_as_code(
    dtype: Any, common: dict[str, Any], special: float
) -> None:
    generator = np.random.default_rng(1)

    def drawn(share: float = 0.0) -> list[Any]:
        return [numbers(generator, shape, dtype, share) for shape in SHAPES]

    pair = Pair([drawn() for _ in GROUPS], GROUPS, rule="pytorch", **common)
    for step in range(7):
        for group in pair.optimizer.param_groups:
            group["lr"] *= 0.75
        gradients = [g for _ in GROUPS for g in drawn(special)]
        if step in (2, 5):
            gradients[3] = gradients[8] = None
        pair.step(gradients)


def integers(dtype: Any, seed: int = 0) -> Any:
    """Return small integers, of which a few steps with powers of two round nothing, in any dtype."""
    return torch.randint(-4, 5, (37,), generator=torch.Generator().manual_seed(seed)).to(dtype)


def step_both(pairs: list[tuple[Any, Any]], rate: float, seed: int) -> None:
    for parameter, optimizer in pairs:
        parameter.grad = integers(parameter.dtype, seed)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()


def assert_alike(ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> None:
    (w, optimizer), (other, pytorch) = ours, theirs
    assert torch.equal(w, other)
    buffer = pytorch.state[other].get("momentum_buffer")
    if buffer is not None:
        assert torch.equal(optimizer.state[w]["momentum_buffer"], buffer)


@pytest.mark.share(4)
@pytest.mark.parametrize("settings", PLAIN, ids=lambda settings: "-".join(settings) or "plain")
@pytest.mark.parametrize("dtype", TORCH.values(), ids=str)
def test_where_nothing_is_rounded_it_is_pytorch_and_either_goes_on_with_the_others_state(
    dtype: Any, settings: dict[str, Any]
) -> None:
    w, other = Parameter(integers(dtype)), Parameter(integers(dtype))
    ours, theirs = SGD([w], rule="pytorch", **settings), torch.optim.SGD([other], foreach=False, **settings)
    # Fewer bits are enough for fewer steps.
    for seed, rate in enumerate((0.5, 0.25)):
        step_both([(w, ours), (other, theirs)], rate, seed)
        assert_alike((w, ours), (other, theirs))
    saved, foreign = ours.pytorch_state_dict(), copy.deepcopy(theirs.state_dict())
    theirs.load_state_dict(saved)
    ours = SGD([w], rule="pytorch")
    ours.load_state_dict(foreign)
    assert ours.param_groups[0]["weight_decay"] == settings.get("weight_decay", 0)
    step_both([(w, ours), (other, theirs)], 0.5, 7)
    assert_alike((w, ours), (other, theirs))


def test_the_rate_of_a_step_multiplies_earlier_gradients() -> None:
    w = {rule: Parameter(torch.zeros(1)) for rule in RULES}
    for rule, parameter in w.items():
        optimizer = SGD([parameter], lr=1.0, momentum=0.5, rule=rule)
        for rate, gradient in ((1.0, 4.0), (0.25, 0.0)):
            optimizer.param_groups[0]["lr"] = rate
            parameter.grad = torch.tensor([gradient])
            optimizer.step()
    assert {rule: parameter.item() for rule, parameter in w.items()} == {"keras": -6.0, "pytorch": -4.5}


def test_a_decay_of_zero_is_none_and_that_of_keras_is_not() -> None:
    for rule, expected in (("keras", True), ("pytorch", False)):
        w = Parameter(torch.tensor([torch.inf]))
        w.grad = torch.zeros(1)
        SGD([w], lr=0.5, weight_decay=0.0, rule=rule).step()
        assert torch.isnan(w).item() == expected


def test_copies_and_pickles_keep_the_rule() -> None:
    w = Parameter(integers(torch.float32))
    optimizer = SGD([w], lr=0.5, momentum=0.5, rule="pytorch")
    step_both([(w, optimizer)], 0.5, 1)
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):  # noqa: S301
        (parameter,) = twin.param_groups[0]["params"]
        again = Parameter(w.detach().clone())
        plain = SGD([again], lr=0.5, momentum=0.5, rule="pytorch")
        plain.load_state_dict(optimizer.state_dict())
        step_both([(parameter, twin), (again, plain)], 0.25, 2)
        assert torch.equal(parameter, again)
        assert "momentum_buffer" in twin.state[parameter]


@pytest.mark.parametrize(("own", "other"), [("keras", "pytorch"), ("pytorch", "keras")])
def test_state_of_another_rule_is_refused(own: str, other: str) -> None:
    w = Parameter(integers(torch.float32))
    trained = SGD([w], momentum=0.5, rule=other)
    step_both([(w, trained)], 0.5, 1)
    optimizer = SGD([w], momentum=0.5, rule=own)
    message = f"must be that of rule={own!r}, got a {RULES[other].velocity}, which belongs to rule={other!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.load_state_dict(trained.state_dict())
    assert not optimizer.state
    optimizer.state[w] = dict(trained.state[w])
    before = w.detach().clone()
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.step()
    assert torch.equal(w, before)


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        ("Pytorch", ValueError, "rule must be one of 'keras', 'pytorch', got 'Pytorch'"),
        ("", ValueError, "rule must be a string that is not empty, got ''"),
        (None, TypeError, "rule must be a string, got None"),
    ],
)
def test_a_wrong_name_is_refused(rule: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        SGD([Parameter(torch.ones(1))], rule=rule)


def test_a_rule_is_not_the_option_of_a_group() -> None:
    with pytest.raises(ValueError, match="must not have rule, which the constructor takes for all groups"):
        SGD([{"params": [Parameter(torch.ones(1))], "rule": "pytorch"}])
