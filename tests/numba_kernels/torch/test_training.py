"""Whole training loops on handwritten digits, with what stands around ``numba_kernels.torch.SGD`` in them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

import sgd_ref
from numba_kernels.torch import SGD
from numba_kernels.torch.memory import array_of
from tests.numba_kernels.agreement import assert_equal_bits

CORRECT = 0.85
"""Share of the digits; each of the loops below gets more of them right."""


def digits() -> tuple[Any, Any]:
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(labels)


def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3, padding=1),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 16, 10),
    )


def batches(epochs: int) -> Any:
    images, labels = digits()
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        # The last 297 are kept for the test.
        for batch in torch.randperm(1500, generator=generator).split(50):
            yield images[batch], labels[batch]


def share_of_correct(net: Any) -> float:
    images, labels = digits()
    net.eval()
    with torch.no_grad():
        share = (net(images[1500:]).argmax(1) == labels[1500:]).float().mean().item()
    net.train()
    return share


def groups_of(net: Any) -> list[dict[str, Any]]:
    """Return a group with decay and one, of biases and scales, without."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    return [
        {"params": decayed},
        {"params": [p for p in net.parameters() if p.ndim < 2], "weight_decay": None},
    ]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_convolutional_network_has_the_bits_of_the_reference(memory_format: Any) -> None:
    net = network().to(memory_format=memory_format)
    optimizer = SGD(
        groups_of(net),
        lr=0.1,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-4,
        global_clipnorm=1.0,
        use_ema=True,
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    arrays = [array_of(p).copy() for p in parameters]
    reference = sgd_ref.SGD(
        0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, global_clipnorm=1.0, use_ema=True
    )
    reference.exclude_from_weight_decay([w for w in arrays if w.ndim < 2])
    reference.build(arrays)
    for x, y in batches(2):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        reference.learning_rate = optimizer.param_groups[0]["lr"]
        reference.apply([array_of(p.grad).copy() for p in parameters])
        optimizer.step()
        scheduler.step()
    assert_equal_bits("parameters", arrays, [array_of(p) for p in parameters])
    averages = [array_of(optimizer.state[p]["average"]) for p in parameters]
    assert_equal_bits("averages", reference.averages, averages)
    reference.finalize_variable_values(arrays)
    with optimizer.swap_averages():
        assert_equal_bits("parameters", arrays, [array_of(p) for p in parameters])
        assert share_of_correct(net) > CORRECT
    optimizer.finalize()
    assert_equal_bits("parameters", arrays, [array_of(p) for p in parameters])


@pytest.mark.parametrize("unscales", [False, True], ids=["in-the-step", "before-the-step"])
def test_a_loop_with_a_scaler_skips_and_goes_on(unscales: bool) -> None:
    net = network()
    optimizer = SGD(groups_of(net), lr=0.1, momentum=0.9, weight_decay=1e-4)
    # Its scale is too high at first, so that float16 overflows.
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=20)
    skipped = made = 0
    for x, y in batches(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            loss = functional.cross_entropy(net(x), y)
        scaler.scale(loss).backward()
        if unscales:
            scaler.unscale_(optimizer)
        before = [p.detach().clone() for p in net.parameters()]
        scale, calls = scaler.get_scale(), optimizer.param_groups[0]["calls"]
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() < scale:
            skipped += 1
            assert all(torch.equal(old, p) for old, p in zip(before, net.parameters(), strict=True))
            assert optimizer.param_groups[0]["calls"] == calls
        else:
            made += 1
            assert not any(
                torch.equal(old, p) for old, p in zip(before[-2:], net[-1].parameters(), strict=True)
            )
    assert skipped > 0
    assert optimizer.param_groups[0]["calls"] == made
    assert share_of_correct(net) > CORRECT


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_network_of_a_half_type_trains_with_a_scaler(dtype: Any) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    )
    net.to(dtype)
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    parameters = list(net.parameters())
    arrays = [array_of(p).copy() for p in parameters]
    reference = sgd_ref.SGD(0.1, momentum=0.9, loss_scale_factor=2.0**8)
    for x, y in batches(3):
        optimizer.zero_grad()
        scaler.scale(functional.cross_entropy(net(x.to(dtype)).float(), y)).backward()
        reference.apply([array_of(p.grad).copy() for p in parameters], arrays)
        scaler.step(optimizer)
        scaler.update()
        assert_equal_bits("parameters", arrays, [array_of(p) for p in parameters])
    images, labels = digits()
    assert (net(images[1500:].to(dtype)).argmax(1) == labels[1500:]).float().mean() > CORRECT


def test_gradients_of_many_steps_are_one_update() -> None:
    net, other = network().eval(), network().eval()
    optimizer = SGD(net.parameters(), lr=0.5, gradient_accumulation_steps=4)
    reference = sgd_ref.SGD(0.5, gradient_accumulation_steps=4)
    arrays = [array_of(p) for p in other.parameters()]
    for x, y in batches(1):
        for module in (net, other):
            module.zero_grad()
            functional.cross_entropy(module(x), y).backward()
        optimizer.step()
        reference.apply([array_of(p.grad) for p in other.parameters()], arrays)
    assert_equal_bits("parameters", arrays, [array_of(p) for p in net.parameters()])


@pytest.mark.sweep
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_network_trains_as_the_plain_one(backend: str) -> None:
    trained = []
    for compiles in (False, True):
        torch.compiler.reset()
        net = network()
        run = torch.compile(net, backend=backend) if compiles else net
        optimizer = SGD(run.parameters(), lr=0.1, momentum=0.9)
        for x, y in batches(1):
            optimizer.zero_grad()
            functional.cross_entropy(run(x), y).backward()
            optimizer.step()
        trained.append([array_of(p).copy() for p in net.parameters()])
    assert_equal_bits("parameters", *trained)


def test_a_step_within_compiled_code_runs_as_it_is() -> None:
    torch.compiler.reset()
    trained = []
    for compiles in (False, True):
        net = network()
        optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9)

        def update(optimizer: Any = optimizer) -> None:
            optimizer.step()

        run = torch.compile(update, backend="eager") if compiles else update
        for x, y in batches(1):
            optimizer.zero_grad()
            functional.cross_entropy(net(x), y).backward()
            run()
        trained.append([array_of(p).copy() for p in net.parameters()])
    assert_equal_bits("parameters", *trained)
