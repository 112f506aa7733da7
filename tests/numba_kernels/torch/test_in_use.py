"""What users of PyTorch do around an optimizer: it trains as ``torch.optim.SGD`` does, up to rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad
from torch.nn import Parameter, functional
from torch.nn.utils import parametrizations, prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from numba_kernels.torch import SGD

SETTINGS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True}


def network() -> Any:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def convolutions() -> Any:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3, groups=4))


def images() -> Any:
    return torch.randn(2, 3, 9, 9)


def square(values: Any) -> Any:
    return (values**2).mean()


def loss(net: Any) -> Any:
    return square(net(torch.randn(5, 8)))


def both(make: Callable[[], Any], **settings: Any) -> list[tuple[Any, Any]]:
    """Return two equal networks, each with an optimizer: ours and PyTorch's."""
    chosen, pairs = {**SETTINGS, **settings}, []
    for kind, more in ((SGD, {"rule": "pytorch"}), (torch.optim.SGD, {})):
        torch.manual_seed(0)
        net = make()
        pairs.append((net, kind(net.parameters(), **chosen, **more)))
    return pairs


def train(net: Any, optimizer: Any, loss_of: Callable[[Any], Any], steps: int = 4) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(net).backward()
        optimizer.step()


def assert_same(pairs: list[tuple[Any, Any]], loop: Callable[[Any, Any], None]) -> None:
    """Check that a loop trains both networks alike, and that it trains them at all."""
    before = [w.detach().clone() for w in pairs[0][0].parameters()]
    for net, optimizer in pairs:
        torch.manual_seed(1)
        loop(net, optimizer)
    (net, _), (other, _) = pairs
    for found, expected in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, expected)
    assert not all(torch.equal(one, w) for one, w in zip(before, net.parameters(), strict=True))


class Tied(nn.Module):
    """A network that uses a parameter twice."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 4)
        self.last = nn.Linear(4, 10, bias=False)
        self.last.weight = self.table.weight

    def forward(self, places: Any) -> Any:
        return self.last(self.table(places))


class Strange(nn.Module):
    """Parameters that are views of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.transposed = Parameter(torch.randn(6, 8).t())
        self.with_gaps = Parameter(torch.randn(10, 4)[::2])
        self.permuted = Parameter(torch.randn(3, 4, 5).permute(2, 0, 1))
        self.number = Parameter(torch.tensor(1.5))
        self.empty = Parameter(torch.empty(0, 3))
        self.tail = Parameter(torch.randn(7)[3:])

    def forward(self) -> Any:
        others = (self.transposed, self.with_gaps, self.permuted.cumsum(0), self.number, self.tail)
        return sum(square(other) for other in others) + self.empty.sum()


def test_a_tied_parameter() -> None:
    def loss_of(net: Any) -> Any:
        places, labels = torch.randint(0, 10, (2, 7))
        return functional.cross_entropy(net(places), labels)

    assert_same(both(Tied), lambda net, optimizer: train(net, optimizer, loss_of))


def test_parameters_that_are_views() -> None:
    assert_same(both(Strange), lambda net, optimizer: train(net, optimizer, lambda net: net()))


def test_parameters_that_are_frozen_for_some_steps() -> None:
    def loop(net: Any, optimizer: Any) -> None:
        for step in range(6):
            net[0].weight.requires_grad_(step % 3 != 1)
            train(net, optimizer, loss, 1)

    assert_same(both(network), loop)


def test_a_network_that_becomes_channels_last() -> None:
    def loop(net: Any, optimizer: Any) -> None:
        train(net, optimizer, lambda net: square(net(images())), 2)
        net.to(memory_format=torch.channels_last)
        train(net, optimizer, lambda net: square(net(images())), 2)

    assert_same(both(convolutions), loop)


def test_gradients_that_are_views() -> None:
    def loop(net: Any, optimizer: Any) -> None:
        for given in (
            torch.randn(6, 5).t(),
            torch.randn(1, 6).expand(5, 6),
            torch.randn(5, 12)[:, ::2],
            torch.complex(torch.randn(5, 6), torch.randn(5, 6)).conj().imag,
        ):
            net.weight.grad, net.bias.grad = given, torch.tensor(0.5).expand(5)
            optimizer.step()

    assert_same(both(lambda: nn.Linear(6, 5)), loop)


@pytest.mark.parametrize("kind", ["bag", "embedding"])
def test_sparse_gradients_with_duplicates(kind: str) -> None:
    def make() -> Any:
        return (
            nn.EmbeddingBag(20, 4, mode="sum", sparse=True)
            if kind == "bag"
            else nn.Embedding(20, 4, sparse=True, padding_idx=0)
        )

    def loss_of(net: Any) -> Any:
        places = torch.randint(0, 9, (30,))
        return square(net(places, torch.tensor([0, 5, 9])) if kind == "bag" else net(places))

    plain = {"momentum": 0.0, "weight_decay": 0.0, "nesterov": False}
    assert_same(both(make, **plain), lambda net, optimizer: train(net, optimizer, loss_of))


def test_functional_calls() -> None:
    def loop(net: Any, optimizer: Any) -> None:
        for _ in range(4):
            x, parameters = torch.randn(5, 8), dict(net.named_parameters())
            values = {name: w.detach() for name, w in parameters.items()}
            found = grad(lambda given, x=x: square(functional_call(net, given, (x,))))(values)
            for name, w in parameters.items():
                w.grad = found[name]
            optimizer.step()

    assert_same(both(network), loop)


@pytest.mark.parametrize("kind", ["weight-norm", "spectral-norm", "pruned"])
def test_parametrized_networks(kind: str) -> None:
    changes: dict[str, Callable[[Any], Any]] = {
        "weight-norm": parametrizations.weight_norm,
        "spectral-norm": parametrizations.spectral_norm,
        "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
    }

    def make() -> Any:
        net = network()
        changes[kind](net[0])
        return net

    assert_same(both(make), lambda net, optimizer: train(net, optimizer, loss))


def test_averages_of_pytorch() -> None:
    averages: list[Any] = []

    def make() -> Any:
        return nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))

    def loop(net: Any, optimizer: Any) -> None:
        equal, moving = AveragedModel(net), AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        for _ in range(5):
            train(net, optimizer, loss, 1)
            equal.update_parameters(net)
            moving.update_parameters(net)
        update_bn([torch.randn(6, 8) for _ in range(3)], equal)
        averages.append([*equal.parameters(), *equal.buffers(), *moving.parameters()])

    assert_same(both(make), loop)
    for found, expected in zip(*averages, strict=True):
        torch.testing.assert_close(found, expected)


def test_an_optimizer_for_each_parameter_that_steps_in_the_backward_pass() -> None:
    def loop(net: Any, optimizer: Any) -> None:
        more = {"rule": "pytorch"} if isinstance(optimizer, SGD) else {}
        own = {w: type(optimizer)([w], **SETTINGS, **more) for w in net.parameters()}

        def update(w: Any) -> None:
            own[w].step()
            own[w].zero_grad()

        for w in own:
            w.register_post_accumulate_grad_hook(update)
        for _ in range(4):
            loss(net).backward()

    assert_same(both(network), loop)


def test_memory_that_becomes_shared() -> None:
    def loop(net: Any, optimizer: Any) -> None:
        train(net, optimizer, loss, 2)
        net.share_memory()
        train(net, optimizer, loss, 2)

    assert_same(both(network), loop)


@pytest.mark.parametrize("swaps", [False, True], ids=["in-place", "swapped"])
def test_a_network_that_gets_another_dtype(swaps: bool) -> None:
    def loop(net: Any, optimizer: Any) -> None:
        train(net, optimizer, loss, 2)
        optimizer.zero_grad()
        net.double()
        train(net, optimizer, lambda net: square(net(torch.randn(5, 8).double())), 2)

    torch.__future__.set_swap_module_params_on_conversion(swaps)
    try:
        # Without momentum there is no state of the old dtype.
        assert_same(both(network, momentum=0.0, nesterov=False), loop)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)


def test_steps_under_no_grad_and_in_inference_mode() -> None:
    def loop(net: Any, optimizer: Any) -> None:
        for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
            optimizer.zero_grad()
            loss(net).backward()
            with mode():
                optimizer.step()

    # PyTorch's own state, if made in inference mode, could not be changed outside of it.
    assert_same(both(network), loop)


def test_a_parameter_that_was_made_in_inference_mode() -> None:
    with torch.inference_mode():
        w = Parameter(torch.ones(3), requires_grad=False)
        w.grad = torch.ones(3)
    optimizer = SGD([w], lr=0.5)
    optimizer.step()
    assert (w.tolist(), optimizer.param_groups[0]["calls"]) == ([0.5] * 3, 1)


def test_another_default_dtype() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert_same(both(network), lambda net, optimizer: train(net, optimizer, loss))
    finally:
        torch.set_default_dtype(torch.float32)


def test_another_default_device() -> None:
    w = Parameter(torch.ones(4, 3, 2, 2).to(memory_format=torch.channels_last))
    optimizer = SGD([w], lr=0.5, momentum=0.5, use_ema=True, ema_momentum=0.5)
    w.grad = torch.ones(4, 3, 2, 2)
    with torch.device("meta"):
        for _ in range(2):
            optimizer.step()
            optimizer.load_state_dict(optimizer.state_dict())
    assert w.unique().tolist() == [1 - 0.5 - 0.75]
    assert {tensor.device.type for tensor in optimizer.state[w].values()} == {"cpu"}


def test_lazy_parameters_are_there_after_a_forward_pass() -> None:
    net = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match=r"params'\]\[0\] must be initialized by a forward pass first"):
        optimizer.step()
    train(net, optimizer, loss)
    assert len(optimizer.state) == 4


ONLY_PYTORCH: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"foreach": True}, ValueError, "foreach must be left out, None or False, .* got True"),
    ({"fused": True}, ValueError, "fused must be left out, None or False, .* got True"),
    ({"maximize": True}, ValueError, "maximize must be left out or False, .* got True"),
    ({"differentiable": True}, ValueError, "differentiable must be left out or False, .* got True"),
    ({"capturable": True}, ValueError, "capturable must be left out or False, .* got True"),
    ({"dampening": 0.5}, ValueError, "dampening must be left out or 0, .* got 0.5"),
    ({"nestrov": True}, TypeError, "must not get 'nestrov', which is no argument of it"),
]


@pytest.mark.parametrize(("given", "error", "message"), ONLY_PYTORCH, ids=[str(g) for g, *_ in ONLY_PYTORCH])
def test_arguments_that_only_pytorch_has_are_refused_by_name(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    w = Parameter(torch.ones(1))
    with pytest.raises(error, match=message):
        SGD([w], lr=0.1, **given)
    if error is ValueError:
        with pytest.raises(error, match=message.replace(" must", r"'\] must", 1)):
            SGD([{"params": [w], **given}])


def test_such_arguments_are_accepted_if_they_ask_for_nothing() -> None:
    neutral = {"dampening": 0, "maximize": False, "foreach": None, "differentiable": False, "fused": None}
    net = network()
    optimizer = SGD(net.parameters(), lr=0.1, **neutral)
    assert not set(neutral) & set(optimizer.param_groups[0])
    train(net, optimizer, loss)
