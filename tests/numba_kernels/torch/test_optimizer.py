"""What a loop expects: groups, closures, hooks, copies, and errors that leave all as it was."""

from __future__ import annotations

import copy
import io
import math
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import Parameter
from torch.optim.optimizer import register_optimizer_step_post_hook

from numba_kernels.torch import SGD
from sgd_ref.schedules import CosineDecay

KWARGS: list[dict[str, Any]] = [
    {},
    {"lr": 0.01},
    {"lr": torch.tensor(0.001)},
    {"lr": CosineDecay(0.1, 20)},
    {"weight_decay": 0.5},
    {"momentum": 0.9},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    {"momentum": 0.9, "global_clipnorm": 1.0, "use_ema": True},
    {"momentum": 0.9, "gradient_accumulation_steps": 2, "clipvalue": 0.5},
]

each_setting = pytest.mark.parametrize("kwargs", KWARGS, ids=lambda kwargs: "-".join(kwargs) or "default")


def model() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def loss_of(net: Any) -> Any:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(16, 4, generator=generator)
    return ((net(x) - x.sum(1, keepdim=True)) ** 2).mean()


def train(net: Any, optimizer: Any, steps: int = 6) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(net).backward()
        optimizer.step()


def bits(tensors: Any) -> list[bytes]:
    return [tensor.detach().numpy().tobytes() for tensor in tensors]


def everything(optimizer: Any) -> list[Any]:
    """Return all that a step changes."""
    groups = [
        (key, value) for group in optimizer.param_groups for key, value in group.items() if key != "params"
    ]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = [(kind, bits([t])) for p in parameters for kind, t in optimizer.state.get(p, {}).items()]
    return [groups, bits(parameters), state]


@each_setting
def test_training_lowers_the_loss(kwargs: dict[str, Any]) -> None:
    net = model()
    optimizer = SGD(net.parameters(), **{**kwargs, "lr": kwargs.get("lr", 0.01)})
    before = loss_of(net).item()
    train(net, optimizer, 30)
    assert loss_of(net).item() < before


@each_setting
def test_a_deep_copy_goes_on_as_the_original(kwargs: dict[str, Any]) -> None:
    net = model()
    optimizer = SGD(net.parameters(), **kwargs)
    train(net, optimizer)
    twin_net, twin = copy.deepcopy((net, optimizer))
    assert twin.param_groups[0]["params"][0] is next(twin_net.parameters())
    assert {name for name in vars(optimizer) if name[0] != "_"} == {n for n in vars(twin) if n[0] != "_"}
    train(net, optimizer)
    train(twin_net, twin)
    assert everything(twin) == everything(optimizer)


@each_setting
@pytest.mark.parametrize("way", ["pickle", "torch.save"])
def test_a_pickled_pair_goes_on_as_the_original(kwargs: dict[str, Any], way: str) -> None:
    net = model()
    optimizer = SGD(net.parameters(), **kwargs)
    train(net, optimizer)
    if way == "pickle":
        twin_net, twin = pickle.loads(pickle.dumps((net, optimizer)))  # noqa: S301
    else:
        file = io.BytesIO()
        torch.save((net, optimizer), file)
        file.seek(0)
        twin_net, twin = torch.load(file, weights_only=False)
    train(net, optimizer)
    train(twin_net, twin)
    assert everything(twin) == everything(optimizer)


def test_a_closure_is_called_once_with_gradients_enabled_and_its_loss_is_returned() -> None:
    net = model()
    optimizer = SGD(net.parameters(), lr=0.1)
    seen = []

    def closure() -> Any:
        seen.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = loss_of(net)
        loss.backward()
        return loss

    with torch.no_grad():
        losses = [optimizer.step(closure).item() for _ in range(5)]
    assert seen == [True] * 5
    assert losses == sorted(losses, reverse=True)
    assert optimizer.step() is None


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none: bool) -> None:
    net = model()
    optimizer = SGD(net.parameters(), lr=0.1)
    loss_of(net).backward()
    optimizer.zero_grad(set_to_none=set_to_none)
    for parameter in net.parameters():
        assert parameter.grad is None if set_to_none else not parameter.grad.any()


def test_a_step_of_zero_gradients_changes_nothing() -> None:
    w = Parameter(torch.randn(5))
    optimizer = SGD([w], lr=0.1, momentum=0.9)
    before = bits([w])
    w.grad = torch.zeros(5)
    optimizer.step()
    assert bits([w]) == before


def test_a_step_without_any_gradient_is_none() -> None:
    w = Parameter(torch.randn(5))
    optimizer = SGD([w], lr=0.1, momentum=0.9, use_ema=True)
    before = everything(optimizer)
    optimizer.step()
    assert everything(optimizer) == before
    assert not optimizer.state


def test_hooks_around_a_step_are_called_in_their_order() -> None:
    w = Parameter(torch.ones(1))
    optimizer = SGD([w], lr=0.5)
    w.grad = torch.ones(1)
    seen: list[Any] = []
    optimizer.register_step_pre_hook(lambda own, args, kwargs: seen.append(("before", w.item())))
    handle = optimizer.register_step_post_hook(lambda own, args, kwargs: seen.append(("after", w.item())))
    optimizer.step()
    assert seen == [("before", 1.0), ("after", 0.5)]
    handle.remove()
    optimizer.step()
    assert seen[2:] == [("before", 0.5)]


def test_a_hook_may_replace_the_closure() -> None:
    w = Parameter(torch.ones(1))
    optimizer = SGD([w])
    w.grad = torch.ones(1)
    optimizer.register_step_pre_hook(lambda own, args, kwargs: ((own, lambda: 7), {}))
    assert optimizer.step() == 7


def test_hooks_of_all_optimizers_see_this_one() -> None:
    seen = []
    handle = register_optimizer_step_post_hook(lambda *given: seen.append(given[0]))
    try:
        w = Parameter(torch.ones(1))
        optimizer = SGD([w])
        optimizer.step()
    finally:
        handle.remove()
    assert seen == [optimizer]


def test_an_optimizer_is_freed_without_a_collection() -> None:
    w = Parameter(torch.ones(3))
    optimizer = SGD([w], momentum=0.5)
    w.grad = torch.ones(3)
    optimizer.step()
    reference = weakref.ref(optimizer)
    del optimizer
    assert reference() is None


def test_groups_have_options_of_their_own_and_the_others_by_default() -> None:
    w, v = Parameter(torch.ones(1)), Parameter(torch.ones(1))
    optimizer = SGD([{"params": w, "lr": 0.5}, {"params": [v], "weight_decay": 0.5}], lr=0.25, momentum=0.5)
    first, second = optimizer.param_groups
    assert (first["lr"], first["momentum"], first["weight_decay"]) == (0.5, 0.5, None)
    assert (second["lr"], second["momentum"], second["weight_decay"]) == (0.25, 0.5, 0.5)
    w.grad, v.grad = torch.ones(1), torch.ones(1)
    optimizer.step()
    # 1 - 0.5, and 1 - 0.5 * 0.25 - 0.25.
    assert (w.item(), v.item()) == (0.5, 0.625)


def test_a_group_keeps_its_dict_and_its_names() -> None:
    net = model()
    optimizer = SGD(net.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["param_names"] == [name for name, _ in net.named_parameters()]
    added: dict[str, Any] = {"params": [("more", Parameter(torch.ones(2)))], "lr": 0.5}
    optimizer.add_param_group(added)
    assert optimizer.param_groups[1] is added
    assert added["param_names"] == ["more"]
    assert "Parameter Group 1" in repr(optimizer)


def test_parameters_may_come_from_a_generator_or_be_one_tensor() -> None:
    optimizer = SGD({"params": Parameter(torch.ones(1))} for _ in range(2))
    assert len(optimizer.param_groups) == 2
    optimizer.add_param_group({"params": (Parameter(torch.ones(1)) for _ in range(3))})
    assert len(optimizer.param_groups[2]["params"]) == 3


def test_a_rate_that_falls_on_a_plateau() -> None:
    w = Parameter(torch.ones(1))
    optimizer = SGD([w], lr=0.5)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    w.grad = torch.ones(1)
    for _ in range(2):
        optimizer.step()
        scheduler.step(1.0)
    optimizer.step()
    # Two steps of 0.5, then one of a tenth of it.
    assert w.item() == np.float32(0.0) - np.float32(0.05)


BAD: list[tuple[Callable[[Any], Any], type[Exception], str]] = [
    (SGD, TypeError, "iterable of Tensors or dicts"),
    (lambda w: SGD([]), ValueError, "empty parameter list"),
    (lambda w: SGD([w, w]), ValueError, "must hold each parameter once"),
    (lambda w: SGD([{"params": w}, {"params": w}]), ValueError, "more than one parameter group"),
    (lambda w: SGD([("weight", w), Parameter(torch.ones(1))]), ValueError, "with/without names"),
    (lambda w: SGD([{"params": {w}}]), TypeError, "ordered collections"),
    (lambda w: SGD([w * 2]), ValueError, "non-leaf"),
    (lambda w: SGD([[1.0]]), TypeError, "can only optimize Tensors"),
    (lambda w: SGD([w], lr=torch.tensor([0.1, 0.1])), ValueError, "lr.*Tensor lr must be 1-element"),
    (lambda w: SGD([w], lr="0.1"), TypeError, "lr.*must be a real number"),
    (lambda w: SGD([w], lr=math.nan), ValueError, "lr.*must be a real number.*got nan"),
    (lambda w: SGD([w], lr=1e39), ValueError, "lr.*finite in float32"),
    (lambda w: SGD([w], momentum=-0.5), ValueError, r"momentum.*\[0, 1\], got -0.5"),
    (lambda w: SGD([w], momentum=1.5), ValueError, r"momentum.*\[0, 1\], got 1.5"),
    (lambda w: SGD([w], nesterov=1), TypeError, "nesterov.*True or False"),
    (lambda w: SGD([w], weight_decay=math.inf), ValueError, "weight_decay.*finite"),
    (lambda w: SGD([w], clipnorm=1.0, clipvalue=1.0), ValueError, "at most one of"),
    (lambda w: SGD([w], global_clipnorm=0.0), ValueError, "global_clipnorm"),
    (lambda w: SGD([w], gradient_accumulation_steps=1), ValueError, "gradient_accumulation_steps"),
    (lambda w: SGD([w], threads=0), ValueError, "threads"),
    (lambda w: SGD([{"params": w, "clipnorm": 1.0}]), ValueError, "must not have clipnorm"),
    (lambda w: SGD([{"params": w, "maximize": True}]), ValueError, "maximize.*not offered"),
    (lambda w: SGD([{"params": w, "dampening": 0.5}]), ValueError, "dampening.*not offered"),
    (lambda w: SGD([{"params": w, "momentum": 2}]), ValueError, r"param_groups\[0\]\['momentum'\]"),
    (lambda w: SGD([Parameter(torch.ones(1, dtype=torch.complex64))]), TypeError, "float16, bfloat16"),
    (lambda w: SGD([Parameter(torch.ones(1, device="meta"))]), ValueError, "on the CPU, got one on meta"),
    (lambda w: SGD([torch.ones(2, 2).to_sparse().requires_grad_()]), ValueError, "layout torch.sparse_coo"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD, ids=[message for _, _, message in BAD])
def test_what_is_wrong_is_refused_at_once(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(Parameter(torch.ones(3)))


CHANGES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"lr": math.inf}, ValueError, r"param_groups\[1\]\['lr'\]"),
    ({"lr": None}, TypeError, r"param_groups\[1\]\['lr'\]"),
    ({"momentum": -1}, ValueError, r"param_groups\[1\]\['momentum'\]"),
    ({"nesterov": None}, TypeError, r"param_groups\[1\]\['nesterov'\]"),
    ({"weight_decay": "x"}, TypeError, r"param_groups\[1\]\['weight_decay'\]"),
]


@pytest.mark.parametrize(("change", "error", "message"), CHANGES, ids=[str(c[0]) for c in CHANGES])
def test_a_wrong_option_is_refused_by_the_step_before_anything_changes(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    parameters = [Parameter(torch.ones(2)), Parameter(torch.ones(2))]
    optimizer = SGD([{"params": [p]} for p in parameters], lr=0.5, momentum=0.5, use_ema=True)
    for p in parameters:
        p.grad = torch.ones(2)
    optimizer.step()
    group = optimizer.param_groups[1]
    kept = dict(group)
    group.update(change)
    before = everything(optimizer)
    for _ in range(2):
        with pytest.raises(error, match=message):
            optimizer.step()
    assert everything(optimizer) == before
    group.update(kept)
    optimizer.step()
    assert group["calls"] == 2


def test_a_refused_group_leaves_the_optimizer_as_it_was() -> None:
    w = Parameter(torch.ones(2))
    optimizer = SGD([w], gradient_accumulation_steps=3)
    with pytest.raises(ValueError, match="momentum"):
        optimizer.add_param_group({"params": Parameter(torch.ones(1)), "momentum": 7})
    w.grad = torch.ones(2)
    optimizer.step()
    with pytest.raises(RuntimeError, match="after 1 of 3 steps"):
        optimizer.add_param_group({"params": Parameter(torch.ones(1))})
    assert len(optimizer.param_groups) == 1


def test_a_thread_that_flushes_subnormals_is_refused() -> None:
    w = Parameter(torch.ones(2))
    optimizer = SGD([w])
    w.grad = torch.ones(2)
    optimizer.step()
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor has no such mode")
    try:
        with pytest.raises(RuntimeError, match="flushes subnormal"):
            optimizer.step()
    finally:
        torch.set_flush_denormal(False)


def test_an_interrupt_before_the_kernels_leaves_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = []
    for interrupted in (False, True):
        w = Parameter(torch.ones(3))
        optimizer = SGD([w], lr=0.5, momentum=0.5)
        w.grad = torch.ones(3)
        optimizer.step()
        group = optimizer.param_groups[0]
        # Another kernel is needed.
        group.update(nesterov=True, weight_decay=0.5, lr=0.25)

        def interrupt(*given: Any) -> Any:
            raise KeyboardInterrupt

        if interrupted:
            before = everything(optimizer)
            with monkeypatch.context() as patch:
                patch.setattr("numba_kernels.torch.plan.compiled_work", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    optimizer.step()
            assert everything(optimizer) == before
        optimizer.step()
        twins.append(everything(optimizer))
    assert twins[0] == twins[1]


def test_autograd_is_told_of_the_new_values() -> None:
    w = Parameter(torch.ones(2))
    optimizer = SGD([w], lr=0.5)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_the_kernels_alone_do_without_pytorch() -> None:
    program = "import sys, numba_kernels; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
