"""All schedulers of PyTorch: the rates and momenta of ``torch.optim.SGD``, and the reference's bits."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import Parameter
from torch.optim import lr_scheduler as rates
from torch.optim import swa_utils

from numba_kernels.torch import SGD
from tests.numba_kernels.agreement import DTYPES, numbers
from tests.numba_kernels.torch.grouped import Pair

STEPS = 15

SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda optimizer: rates.LambdaLR(optimizer, [lambda n: 0.9**n, lambda n: 1 / (1 + n)]),
    "MultiplicativeLR": lambda optimizer: rates.MultiplicativeLR(optimizer, lambda n: 0.8),
    "StepLR": lambda optimizer: rates.StepLR(optimizer, 2, 0.5),
    "MultiStepLR": lambda optimizer: rates.MultiStepLR(optimizer, [2, 3, 7, 9], 0.5),
    "ConstantLR": lambda optimizer: rates.ConstantLR(optimizer, 0.5, total_iters=4),
    "LinearLR": lambda optimizer: rates.LinearLR(optimizer, 0.1, total_iters=6),
    "ExponentialLR": lambda optimizer: rates.ExponentialLR(optimizer, 0.9),
    "SequentialLR": lambda optimizer: rates.SequentialLR(
        optimizer,
        [rates.LinearLR(optimizer, 0.1, total_iters=3), rates.ExponentialLR(optimizer, 0.9)],
        [3],
    ),
    "CosineAnnealingLR": lambda optimizer: rates.CosineAnnealingLR(optimizer, 8),
    "ChainedScheduler": lambda optimizer: rates.ChainedScheduler(
        [rates.ExponentialLR(optimizer, 0.9), rates.ConstantLR(optimizer, 0.5, total_iters=3)]
    ),
    "ReduceLROnPlateau": lambda optimizer: rates.ReduceLROnPlateau(optimizer, patience=1, factor=0.5),
    "CyclicLR": lambda optimizer: rates.CyclicLR(optimizer, 0.01, 0.3, step_size_up=3, cycle_momentum=True),
    "CosineAnnealingWarmRestarts": lambda optimizer: rates.CosineAnnealingWarmRestarts(optimizer, 4),
    "OneCycleLR": lambda optimizer: rates.OneCycleLR(optimizer, [0.5, 0.25], total_steps=20),
    "PolynomialLR": lambda optimizer: rates.PolynomialLR(optimizer, 20, power=2.0),
    "SWALR": lambda optimizer: swa_utils.SWALR(optimizer, [0.05, 0.01], anneal_epochs=9),
}

GROUPS: list[dict[str, Any]] = [
    {"lr": 0.1, "momentum": 0.5, "weight_decay": None, "nesterov": False},
    {"lr": 0.3, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
]


def advance(scheduler: Any) -> None:
    if isinstance(scheduler, rates.ReduceLROnPlateau):
        scheduler.step(1.0)
    else:
        scheduler.step()


def chosen(optimizer: Any) -> list[Any]:
    return [(float(group["lr"]), group["momentum"]) for group in optimizer.param_groups]


def test_none_is_forgotten() -> None:
    own = {"SWALR"}
    base = {"LRScheduler"}
    assert set(SCHEDULERS) - own == set(rates.__all__) - base


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_steps_have_the_bits_of_the_reference(dtype: Any, name: str) -> None:
    generator = np.random.default_rng(3)
    shapes = [(), (3, 4), (17,)]

    def drawn() -> list[Any]:
        return [numbers(generator, shape, dtype) for shape in shapes]

    pair = Pair([drawn() for _ in GROUPS], GROUPS, global_clipnorm=3.0)
    scheduler = SCHEDULERS[name](pair.optimizer)
    seen = set()
    for _ in range(STEPS):
        pair.step([g for _ in GROUPS for g in drawn()])
        advance(scheduler)
        seen.add(str(chosen(pair.optimizer)))
    assert len(seen) > (2 if name == "ConstantLR" else 4) - 1


@pytest.mark.parametrize("rate", [float, torch.tensor], ids=["number", "tensor"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_rates_and_momenta_are_those_of_torch_optim_sgd(name: str, rate: Callable[[float], Any]) -> None:
    found = []
    for kind, more in ((SGD, {"rule": "pytorch"}), (torch.optim.SGD, {})):
        parameters = [Parameter(torch.ones(2)) for _ in GROUPS]
        groups = [
            {"params": w, "lr": rate(group["lr"]), "momentum": group["momentum"]}
            for w, group in zip(parameters, GROUPS, strict=True)
        ]
        optimizer = kind(groups, **more)
        scheduler = SCHEDULERS[name](optimizer)
        of_kind = []
        for _ in range(STEPS):
            for w in parameters:
                w.grad = w.detach().clone()
            optimizer.step()
            advance(scheduler)
            of_kind.append(chosen(optimizer))
        found.append((of_kind, parameters))
    assert found[0][0] == found[1][0]
    for own, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(own, other)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_an_optimizer_and_its_scheduler_go_on_from_their_state_dicts(name: str) -> None:
    ends = []
    saved: list[Any] = []
    for resumes in (False, True):
        parameters = [Parameter(torch.ones(2)) for _ in GROUPS]
        optimizer = SGD([{"params": w, **own} for w, own in zip(parameters, GROUPS, strict=True)])
        scheduler = SCHEDULERS[name](optimizer)
        for step in range(STEPS):
            if step == STEPS // 2:
                parts = (optimizer, scheduler)
                if resumes:
                    with warnings.catch_warnings():
                        # SequentialLR and ChainedScheduler say that their state is to be saved, too.
                        warnings.simplefilter("ignore")
                        for part, state in zip(parts, saved[:2], strict=True):
                            part.load_state_dict(state)
                    with torch.no_grad():
                        for w, values in zip(parameters, saved[2], strict=True):
                            w.copy_(values)
                else:
                    saved += copy.deepcopy([part.state_dict() for part in parts])
                    saved.append([w.detach().clone() for w in parameters])
            if resumes and step < STEPS // 2:
                continue
            for w in parameters:
                w.grad = torch.full((2,), 1.0 + step)
            optimizer.step()
            advance(scheduler)
        ends.append([w.detach() for w in parameters])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
