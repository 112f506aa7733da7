"""State dicts: of this optimizer, whole and wrong ones, and of ``torch.optim.SGD``."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch.nn import Parameter

from numba_kernels.torch import SGD
from sgd_ref.schedules import PolynomialDecay
from tests.numba_kernels.torch.test_optimizer import bits, each_setting, everything, model, train


@each_setting
@pytest.mark.parametrize("through_a_file", [False, True])
def test_another_optimizer_goes_on_from_a_state_dict(kwargs: dict[str, Any], through_a_file: bool) -> None:
    net, other_net = model(), model()
    optimizer, other = SGD(net.parameters(), **kwargs), SGD(other_net.parameters(), **{**kwargs, "lr": 0.9})
    train(net, optimizer, 5)
    saved = optimizer.state_dict()
    if through_a_file:
        file = io.BytesIO()
        torch.save(saved, file)
        file.seek(0)
        # Only plain data and tensors are unpickled.
        saved = torch.load(file, weights_only=True)
    other_net.load_state_dict(net.state_dict())
    other.load_state_dict(saved)
    train(net, optimizer, 5)
    train(other_net, other, 5)
    assert everything(other) == everything(optimizer)


def test_nothing_is_shared_with_the_dict_that_is_loaded() -> None:
    net, other_net = model(), model()
    optimizer, other = SGD(net.parameters(), momentum=0.9), SGD(other_net.parameters(), momentum=0.9)
    train(net, optimizer, 2)
    saved = optimizer.state_dict()
    before = copy.deepcopy(saved)
    other.load_state_dict(saved)
    train(other_net, other, 2)
    assert str(saved) == str(before)


def test_loaded_state_may_lie_otherwise_than_its_parameter() -> None:
    start, g = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    trained = []
    for format_ in (torch.contiguous_format, torch.channels_last):
        w = Parameter(start.clone(memory_format=format_))
        optimizer = SGD([w], lr=0.5, momentum=0.5)
        saved = optimizer.state_dict()
        saved["state"] = {0: {"velocity": start.clone()}}
        optimizer.load_state_dict(saved)
        w.grad = g
        optimizer.step()
        assert optimizer.state[w]["velocity"].stride() == w.stride()
        trained.append([w, optimizer.state[w]["velocity"]])
    assert all(torch.equal(one, other) for one, other in zip(*trained, strict=True))


def test_a_scheduler_goes_on_with_a_loaded_optimizer() -> None:
    def made() -> tuple[Any, Any, Any]:
        net = model()
        optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
        return net, optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=20)

    nets, optimizers, schedulers = zip(*(made() for _ in range(2)), strict=True)
    for _ in range(5):
        train(nets[0], optimizers[0], 1)
        schedulers[0].step()
    for parts in (nets, schedulers, optimizers):
        parts[1].load_state_dict(copy.deepcopy(parts[0].state_dict()))
    for _ in range(10):
        for net, optimizer, scheduler in zip(nets, optimizers, schedulers, strict=True):
            train(net, optimizer, 1)
            scheduler.step()
    assert everything(optimizers[0]) == everything(optimizers[1])


def test_hooks_around_saving_and_loading() -> None:
    net = model()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    train(net, optimizer, 2)
    seen = []
    optimizer.register_state_dict_pre_hook(lambda own: seen.append("before saving"))
    optimizer.register_state_dict_post_hook(lambda own, saved: {**saved, "more": 1})
    saved = optimizer.state_dict()
    assert saved["more"] == 1

    def changed(own: Any, given: Any) -> Any:
        groups = [{**group, "lr": 0.5} for group in given["param_groups"]]
        return {**given, "param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(changed)
    optimizer.register_load_state_dict_post_hook(lambda own: seen.append(own.param_groups[0]["lr"]))
    optimizer.load_state_dict(saved)
    assert seen == ["before saving", 0.5]


def test_a_schedule_is_saved_as_plain_data() -> None:
    optimizer = SGD([Parameter(torch.ones(1))], lr=PolynomialDecay(0.5, 10))
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["schedule"]["class_name"] == "PolynomialDecay"
    other = SGD([Parameter(torch.ones(1))])
    other.load_state_dict(saved)
    assert other.param_groups[0]["schedule"] == PolynomialDecay(0.5, 10)


def wrong(saved: Any) -> list[tuple[str, type[Exception], str]]:
    """Return changes of a dict as code, with the errors that they give."""
    return [
        ("saved['param_groups'].append(saved['param_groups'][0])", ValueError, "different number"),
        ("saved['param_groups'][0]['params'].pop()", ValueError, "doesn't match the size"),
        ("saved['param_groups'][0]['momentum'] = 3.0", ValueError, "momentum"),
        ("saved['param_groups'][0]['calls'] = -1", ValueError, "calls"),
        ("saved['param_groups'][0]['lr'] = None", TypeError, "lr"),
        (
            "saved['state'][1]['velocity'] = torch.ones(3)",
            ValueError,
            r"the velocity of .*shape \(8,\).*\(3,\)",
        ),
        ("saved['state'][1]['velocity'] = [1.0]", TypeError, "the velocity of .*got a list"),
        (
            "saved['state'][1]['accumulator'] = torch.ones(8)",
            ValueError,
            "gradient_accumulation_steps must be",
        ),
        ("del saved['state'][1]['average']", ValueError, "the average of .*must be there after 2 steps"),
    ]


@pytest.mark.parametrize(("change", "error", "message"), wrong(None), ids=[row[0] for row in wrong(None)])
def test_a_wrong_dict_changes_nothing(change: str, error: type[Exception], message: str) -> None:
    net = model()
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9, use_ema=True)
    train(net, optimizer, 2)
    before = everything(optimizer)
    saved = copy.deepcopy(optimizer.state_dict())
    exec(change, {"saved": saved, "torch": torch})
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(saved)
    assert everything(optimizer) == before
    train(net, optimizer, 1)


def test_groups_that_are_not_equally_far_from_an_update_are_refused() -> None:
    groups = [{"params": Parameter(torch.ones(1))} for _ in range(2)]
    optimizer = SGD(groups, gradient_accumulation_steps=2)
    saved = optimizer.state_dict()
    saved["param_groups"][1]["calls"] = 3
    saved["state"] = {1: {"accumulator": torch.ones(1)}}
    with pytest.raises(ValueError, match="equally far from an update in 2 steps"):
        optimizer.load_state_dict(saved)


def test_state_is_cast_to_the_dtype_of_the_parameter_as_by_pytorch() -> None:
    w = Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimizer = SGD([w], momentum=0.5)
    saved = optimizer.state_dict()
    saved["state"] = {0: {"velocity": torch.tensor([0.1])}}
    optimizer.load_state_dict(saved)
    assert optimizer.state[w]["velocity"].dtype == torch.bfloat16


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_pytorchs_own_state_goes_both_ways(dtype: Any, nesterov: bool) -> None:
    """With powers of two nothing is rounded, and the two rules give the same bits."""
    own, other = (Parameter(torch.tensor([1.0, -2.0], dtype=dtype)) for _ in range(2))
    theirs = torch.optim.SGD([other], lr=0.25, momentum=0.5, nesterov=nesterov)
    ours = SGD([own], lr=1.0)

    def step(w: Any, optimizer: Any) -> None:
        w.grad = torch.tensor([0.5, 1.0], dtype=dtype)
        optimizer.step()

    for _ in range(2):
        step(other, theirs)
    ours.load_state_dict(theirs.state_dict())
    buffer = theirs.state[other]["momentum_buffer"]
    assert bits([ours.state[own]["velocity"].double()]) == bits([-0.25 * buffer.double()])
    assert ours.param_groups[0]["lr"] == 0.25
    own.data.copy_(other)
    step(other, theirs)
    step(own, ours)
    assert own.tolist() == other.tolist()
    again = torch.optim.SGD([Parameter(own.detach().clone())], lr=1.0)
    again.load_state_dict(ours.pytorch_state_dict())
    (w,) = again.param_groups[0]["params"]
    assert again.state[w]["momentum_buffer"].tolist() == theirs.state[other]["momentum_buffer"].tolist()
    step(other, theirs)
    step(w, again)
    assert w.tolist() == other.tolist()


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"weight_decay": 0.1}, "weight_decay"),
        ({"momentum": 0.5, "dampening": 0.5}, "dampening"),
        ({"maximize": True}, "maximize"),
    ],
)
def test_what_means_something_else_in_pytorch_is_not_loaded(settings: dict[str, Any], option: str) -> None:
    theirs = torch.optim.SGD([Parameter(torch.ones(1))], lr=0.1, **settings)
    ours = SGD([Parameter(torch.ones(1))])
    before = everything(ours)
    with pytest.raises(ValueError, match=f"{option}.*to mean the same here"):
        ours.load_state_dict(theirs.state_dict())
    assert everything(ours) == before


def test_the_state_of_another_optimizer_is_refused() -> None:
    theirs = torch.optim.Adam([Parameter(torch.ones(1))])
    with pytest.raises(
        ValueError, match=r"must come from numba_kernels\.torch\.SGD or torch\.optim\.SGD.*betas"
    ):
        SGD([Parameter(torch.ones(1))]).load_state_dict(theirs.state_dict())


def test_options_that_a_dict_lacks_are_the_defaults() -> None:
    optimizer = SGD([Parameter(torch.ones(1))], lr=0.5)
    saved = optimizer.state_dict()
    for option in ("schedule", "nesterov", "weight_decay"):
        del saved["param_groups"][0][option]
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["nesterov"] is False


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_decay": 0.1},
        {"clipnorm": 1.0},
        {"clipvalue": 1.0},
        {"global_clipnorm": 1.0},
        {"gradient_accumulation_steps": 2},
        {"use_ema": True, "ema_overwrite_frequency": 3},
        {"lr": PolynomialDecay(0.1, 5)},
    ],
    ids="-".join,
)
def test_what_pytorch_does_not_do_is_not_given_to_it(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be off to mean the same in torch\.optim\.SGD"):
        SGD([Parameter(torch.ones(1))], **settings).pytorch_state_dict()


def test_a_velocity_is_not_divided_by_a_rate_of_zero() -> None:
    w = Parameter(torch.ones(1))
    optimizer = SGD([w], lr=0.0, momentum=0.5)
    w.grad = torch.ones(1)
    optimizer.step()
    with pytest.raises(ValueError, match="must not be 0"):
        optimizer.pytorch_state_dict()
