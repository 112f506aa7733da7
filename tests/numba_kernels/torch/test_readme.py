"""The loop on the first page runs before and after its lines are changed to ``numba_kernels.torch``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

import numba_kernels.torch

PAGE = Path(__file__).parents[3] / "README.md"
DIFF = re.compile(r"```diff\n(.*?)```", re.DOTALL)


@pytest.fixture
def lines() -> list[str]:
    if not PAGE.is_file():
        pytest.skip("a wheel has no page")
    (diff,) = DIFF.findall(PAGE.read_text(encoding="utf-8"))
    return str(diff).splitlines()


def run(program: str) -> Any:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    batches = [(x, x.sum(1, keepdim=True)) for x in torch.randn(40, 8, 4)]
    loss = torch.nn.functional.mse_loss
    names = {"torch": torch, "OneCycleLR": OneCycleLR, "model": model, "batches": batches, "loss": loss}
    before = loss(model(batches[0][0]), batches[0][1])
    exec(program, names)
    assert loss(model(batches[0][0]), batches[0][1]) < before / 10
    return names["optimizer"]


def test_three_lines_change(lines: list[str]) -> None:
    assert len([line for line in lines if line.startswith("-")]) == 3
    assert len([line for line in lines if line.startswith("+")]) == 2
    before = run("\n".join(line[1:] for line in lines if not line.startswith("+")))
    after = run("\n".join(line[1:] for line in lines if not line.startswith("-")))
    assert type(before) is torch.optim.SGD
    assert type(after) is numba_kernels.torch.SGD
