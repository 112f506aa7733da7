"""Loops of Hugging Face Accelerate: the same bits as a loop without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from numba_kernels.torch import SGD
from tests.numba_kernels.torch.test_training import digits, network

accelerate: Any = pytest.importorskip("accelerate")

# The library warns of its own use of PyTorch.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _another_accelerator() -> Iterator[None]:
    yield
    # The library keeps the settings of the first one for the whole process.
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


SETTINGS: dict[str, Any] = {
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "global_clipnorm": 1.0,
    "use_ema": True,
}


def loader() -> Any:
    images, labels = digits()
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images[:600], labels[:600]), batch_size=100
    )


def parts() -> tuple[Any, Any, Any, Any]:
    """Return a network, an optimizer, a scheduler and the batches."""
    net = network()
    optimizer = SGD(net.parameters(), **SETTINGS)
    return net, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40), loader()


def train(accelerator: Any, net: Any, optimizer: Any, scheduler: Any, batches: Any, epochs: int) -> None:
    for _ in range(epochs):
        for x, y in batches:
            with accelerator.accumulate(net):
                loss = functional.cross_entropy(net(x), y)
                accelerator.backward(loss)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()


def without(epochs: int, steps: int = 1) -> list[Any]:
    """Return the parameters after a loop without the library."""
    net, optimizer, scheduler, batches = parts()
    for _ in range(epochs):
        for index, (x, y) in enumerate(batches):
            (functional.cross_entropy(net(x), y) / steps).backward()
            if (index + 1) % steps == 0:
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
    return list(net.parameters())


def assert_same(net: Any, expected: list[Any]) -> None:
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), expected, strict=True))


@pytest.mark.parametrize("steps", [1, 3])
def test_a_loop_has_the_bits_of_one_without_the_library(steps: int) -> None:
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=steps)
    prepared = accelerator.prepare(*parts())
    train(accelerator, *prepared, epochs=2)
    assert_same(prepared[0], without(2, steps))


def test_a_loop_goes_on_from_saved_state(tmp_path: Path) -> None:
    accelerator = accelerate.Accelerator(cpu=True)
    prepared = accelerator.prepare(*parts())
    train(accelerator, *prepared, epochs=1)
    accelerator.save_state(str(tmp_path))
    train(accelerator, *prepared, epochs=1)
    accelerator.load_state(str(tmp_path))
    train(accelerator, *prepared, epochs=1)
    assert_same(prepared[0], without(2))


def test_its_own_clipping_and_half_precision_train() -> None:
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
    net, optimizer, _, batches = accelerator.prepare(*parts())
    before = [w.detach().clone() for w in net.parameters()]
    for x, y in list(batches)[:3]:
        accelerator.backward(functional.cross_entropy(net(x), y))
        accelerator.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
    assert not optimizer.step_was_skipped
    assert not any(torch.equal(one, other) for one, other in zip(net.parameters(), before, strict=True))
