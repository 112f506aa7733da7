"""The quick check of ordinary calls, with PyTorch's function that describes tensors and without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from numba_kernels.cpu.tensor_specs import COMPLETE, INCOMPLETE, REFUSED
from numba_kernels.torch import SGD, ordinary
from numba_kernels.torch.memory import elements_of
from numba_kernels.torch.ordinary import ExpectedGradients, KnownTensors
from tests.numba_kernels.agreement import DTYPES, numbers
from tests.numba_kernels.torch.grouped import Pair


@pytest.fixture
def has_function(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setattr(ordinary, "describing", lambda: 0)
    return bool(request.param)


def moved(tensor: Any) -> None:
    tensor.data = tensor.data.clone()


def turned(tensor: Any) -> None:
    tensor.data = tensor.data.t()


def retyped(tensor: Any) -> None:
    tensor.data = tensor.data.view(torch.bfloat16)[:, :3]


@pytest.mark.parametrize("change", [moved, turned, retyped])
@pytest.mark.parametrize("has_function", [True, False], indirect=True)
def test_known_tensors_are_recognised_and_changes_noticed(has_function: bool, change: Any) -> None:
    w, v = Parameter(torch.ones(2, 3)), torch.ones(4)
    known = KnownTensors([w, v])
    assert known.are_unchanged([w, v])
    assert not known.are_unchanged([v, w])
    assert not known.are_unchanged([w])
    assert not known.are_unchanged([w, v.detach()])
    change(w)
    assert not known.are_unchanged([w, v])


@pytest.mark.parametrize("has_function", [True, False], indirect=True)
def test_the_bits_are_the_same_with_the_function_and_without_it(has_function: bool) -> None:
    generator = np.random.default_rng(0)
    shapes = [(), (1,), (4, 3), (0, 2)]

    def drawn() -> list[Any]:
        return [numbers(generator, shape, dtype) for dtype in DTYPES for shape in shapes]

    own = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}
    pair = Pair([drawn()], [own], global_clipnorm=1.0, use_ema=True)
    for step in range(4):
        pair.step([None if step == 2 and i % 3 == 0 else g for i, g in enumerate(drawn())])


def test_gradients_are_found_unless_pytorch_has_still_to_negate_them() -> None:
    parameters = [Parameter(torch.ones(3)), Parameter(torch.ones(())), Parameter(torch.ones(3, 2).t())]
    expected = ExpectedGradients(parameters, [elements_of(w) for w in parameters])
    gradients: list[Any] = [torch.ones(3), torch.ones(()), torch.ones(3, 2).t()]
    assert expected.find(gradients) == COMPLETE
    assert expected.find([None, *gradients[1:]]) == INCOMPLETE
    for index in (1, 2):
        others = list(gradients)
        others[index] = torch._neg_view(gradients[index])
        assert expected.find(others) == REFUSED
    assert expected.find([parameters[0].detach(), *gradients[1:]]) == REFUSED


def test_parameters_with_gaps_always_take_the_full_check() -> None:
    w = Parameter(torch.ones(6)[::2])
    assert ExpectedGradients([w], [elements_of(w)]).find([torch.ones(3)]) == REFUSED


def test_a_step_makes_no_array_of_an_ordinary_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = [Parameter(torch.ones(3)), Parameter(torch.ones(2, 2))]
    optimizer = SGD(parameters, lr=0.5, momentum=0.5)
    for _ in range(3):
        for w in parameters:
            w.grad = torch.ones_like(w)
        optimizer.step()
        monkeypatch.setattr("numba_kernels.torch.plan.all_accepted", None)
        monkeypatch.setattr("numba_kernels.torch.optimizer.Plan", None)
    assert parameters[0].tolist() == [1 - 0.5 - 0.75 - 0.875] * 3
