"""Loops of PyTorch Lightning: the same bits as a loop that is written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from numba_kernels.torch import SGD
from tests.numba_kernels.torch.test_training import digits, network

lightning: Any = pytest.importorskip("lightning")

# The library warns of its own use of PyTorch.
pytestmark = pytest.mark.filterwarnings("ignore")

BATCH, EPOCHS = 100, 2

SETTINGS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4}


def loader() -> Any:
    images, labels = digits()
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images[:600], labels[:600]), batch_size=BATCH
    )


class Module(lightning.LightningModule):  # type: ignore[misc]
    """The network, its loss and its optimizer."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.net, self.settings = network(), {**SETTINGS, **settings}

    def training_step(self, batch: Any, index: int) -> Any:
        return functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), **self.settings)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=20)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def trainer(folder: Path, epochs: int = EPOCHS, **arguments: Any) -> Any:
    return lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )


def written_out(steps: int = 1, **settings: Any) -> list[Any]:
    """Return the parameters after a loop in which `steps` batches make a step."""
    module = Module(**settings)
    chosen = module.configure_optimizers()
    optimizer, scheduler = chosen["optimizer"], chosen["lr_scheduler"]["scheduler"]
    for _ in range(EPOCHS):
        for index, batch in enumerate(loader()):
            (module.training_step(batch, index) / steps).backward()
            if (index + 1) % steps == 0:
                optimizer.step()
                optimizer.zero_grad()
                scheduler.step()
    return list(module.parameters())


def assert_same(found: Any, expected: list[Any]) -> None:
    assert all(torch.equal(one, other) for one, other in zip(found.parameters(), expected, strict=True))


def test_fit_is_the_loop(tmp_path: Path) -> None:
    for settings in ({}, {"global_clipnorm": 1.0, "use_ema": True}):
        module = Module(**settings)
        trainer(tmp_path, enable_checkpointing=False).fit(module, loader())
        assert_same(module, written_out(**settings))


def test_fit_accumulates(tmp_path: Path) -> None:
    module = Module()
    trainer(tmp_path, enable_checkpointing=False, accumulate_grad_batches=3).fit(module, loader())
    assert_same(module, written_out(steps=3))


def test_fit_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    settings = {"global_clipnorm": 1.0, "use_ema": True}
    first = trainer(tmp_path, epochs=1)
    first.fit(Module(**settings), loader())
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    module = Module(**settings)
    trainer(tmp_path).fit(module, loader(), ckpt_path=checkpoint, weights_only=True)
    assert_same(module, written_out(**settings))


class InHand(Module):
    """The same with the step written in the module."""

    automatic_optimization = False

    def training_step(self, batch: Any, index: int) -> Any:
        optimizer, scheduler = self.optimizers(), self.lr_schedulers()
        with optimizer.toggle_model():
            self.manual_backward(super().training_step(batch, index))
            optimizer.step()
            optimizer.zero_grad()
        scheduler.step()


def test_a_module_may_make_the_step_itself(tmp_path: Path) -> None:
    module = InHand()
    trainer(tmp_path, enable_checkpointing=False).fit(module, loader())
    assert_same(module, written_out())


@pytest.mark.parametrize("option", [{"gradient_clip_val": 0.5}, {"precision": "bf16-mixed"}], ids=list)
def test_its_own_clipping_and_half_precision_train(tmp_path: Path, option: dict[str, Any]) -> None:
    module = Module()
    before = [w.detach().clone() for w in module.parameters()]
    trainer(tmp_path, enable_checkpointing=False, epochs=1, **option).fit(module, loader())
    assert not any(torch.equal(one, other) for one, other in zip(module.parameters(), before, strict=True))
