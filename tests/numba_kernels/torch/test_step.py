"""The bits of the reference: all settings and dtypes, groups, schedulers, and random configurations."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import torch

import sgd_ref
from numba_kernels.torch import SGD
from numba_kernels.torch.memory import array_of
from tests.conftest import Sweep
from tests.numba_kernels.agreement import DTYPES, assert_equal_bits, numbers
from tests.numba_kernels.torch.grouped import Pair, tensor

SHAPES = [(), (1,), (7,), (0, 3), (33, 5), (2, 3, 4, 5)]

GROUP: list[dict[str, Any]] = [
    {"lr": 0.1, "momentum": 0.0, "weight_decay": None, "nesterov": False},
    {"lr": 0.25, "momentum": 0.9, "weight_decay": 0.01, "nesterov": False},
    {"lr": 0.3, "momentum": 0.7, "weight_decay": 0.0, "nesterov": True},
]

COMMON: list[dict[str, Any]] = [
    {},
    {"clipnorm": 1.0},
    {"clipvalue": 0.5},
    {"global_clipnorm": 1.0},
    {"use_ema": True, "ema_momentum": 0.9},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2, "global_clipnorm": 2.0},
    {"gradient_accumulation_steps": 2},
    {"gradient_accumulation_steps": 3, "use_ema": True, "ema_momentum": 0.7, "clipnorm": 0.7},
]


def drawn(generator: np.random.Generator, dtypes: list[Any], special: float = 0.0) -> list[Any]:
    return [numbers(generator, shape, dtype, special) for dtype in dtypes for shape in SHAPES]


@pytest.mark.parametrize("common", COMMON, ids=lambda common: "-".join(common) or "plain")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("special", [0.0, 0.1], ids=["numbers", "special"])
def test_all_settings_give_the_bits_of_the_reference(
    dtype: Any, common: dict[str, Any], special: float
) -> None:
    generator = np.random.default_rng(1)
    pair = Pair([drawn(generator, [dtype]) for _ in GROUP], GROUP, **common)
    for step in range(7):
        gradients = [g for _ in GROUP for g in drawn(generator, [dtype], special)]
        if step in (2, 5):
            gradients[3] = gradients[8] = None
        pair.step(gradients)


def test_ordinary_gradients_take_the_quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(7)
    pair = Pair([drawn(generator, DTYPES) for _ in GROUP], GROUP, clipnorm=1.0)
    pair.step([g for _ in GROUP for g in drawn(generator, DTYPES)])
    monkeypatch.setattr("numba_kernels.torch.plan.all_accepted", None)
    monkeypatch.setattr("numba_kernels.torch.optimizer.Plan", None)
    for missing in ([], [3, 8], range(5)):
        gradients = [g for _ in GROUP for g in drawn(generator, DTYPES)]
        pair.step([None if i in missing else g for i, g in enumerate(gradients)])


@pytest.mark.parametrize("common", COMMON, ids=lambda common: "-".join(common) or "plain")
def test_groups_may_mix_dtypes(common: dict[str, Any]) -> None:
    generator = np.random.default_rng(2)
    dtypes = [DTYPES[:2], DTYPES[1:], DTYPES]
    pair = Pair([drawn(generator, of_group) for of_group in dtypes], GROUP, **common)
    for step in range(5):
        gradients = [g for of_group in dtypes for g in drawn(generator, of_group)]
        if step == 3:
            # No gradient of float64 takes part, and the norm is rounded to float32.
            gradients = [None if g.dtype == np.float64 else g for g in gradients]
        pair.step(gradients)


def test_the_norm_is_rounded_to_the_dtype_of_the_gradients_that_are_there() -> None:
    generator = np.random.default_rng(10)
    dtypes = DTYPES[:2]
    pair = Pair([drawn(generator, [dtype]) for dtype in dtypes], GROUP[:2], global_clipnorm=1.0)
    for step in range(8):
        # Of float16 alone it is a float16, of both dtypes a float32.
        gradients = [drawn(generator, [dtype]) for dtype in dtypes]
        pair.step(gradients[0] + ([None] * len(SHAPES) if step % 2 else gradients[1]))


def test_a_norm_in_float64_takes_all_digits_of_narrower_gradients() -> None:
    generator = np.random.default_rng(9)
    shapes = [(60000,), (50,)]
    draw = lambda: [numbers(generator, n, dtype) for n, dtype in zip(shapes, DTYPES[2:], strict=True)]  # noqa: E731
    pair = Pair([[w] for w in draw()], GROUP[:2], global_clipnorm=1.0)
    for _ in range(10):
        pair.step(draw())


def test_the_options_of_a_group_may_change_between_steps() -> None:
    generator = np.random.default_rng(4)
    dtype = DTYPES[2]
    pair = Pair([drawn(generator, [dtype])], [GROUP[0]], use_ema=True)
    (group,) = pair.optimizer.param_groups
    for change in (
        {},
        {"momentum": 0.5},
        {"momentum": 0.0},
        {"momentum": 0.75, "nesterov": True},
        {"nesterov": False, "weight_decay": 0.1},
        {"weight_decay": None, "lr": torch.tensor(0.5)},
        {"lr": 0.0},
        {"lr": -0.0, "momentum": 0.0},
        {"lr": 0.0},
    ):
        group.update(change)
        pair.step(drawn(generator, [dtype]))
    rate = group["lr"] = torch.tensor(0.25)
    pair.step(drawn(generator, [dtype]))
    rate.mul_(2)
    pair.step(drawn(generator, [dtype]))


def test_a_rate_of_zero_has_a_sign() -> None:
    w = torch.nn.Parameter(torch.tensor([-0.0]))
    optimizer = SGD([w], lr=0.0)
    w.grad = torch.ones(1)
    optimizer.step()
    # -0.0 - 1 * 0.0
    assert torch.signbit(w).item()
    optimizer.param_groups[0]["lr"] = -0.0
    optimizer.step()
    # -0.0 - 1 * -0.0
    assert not torch.signbit(w).item()


@pytest.mark.parametrize("option", ["momentum", "weight_decay"])
def test_an_option_may_be_a_tensor_that_changes_in_place(option: str) -> None:
    generator = np.random.default_rng(8)
    pair = Pair([drawn(generator, DTYPES)], [GROUP[1]])
    value = pair.optimizer.param_groups[0][option] = torch.tensor(0.5, dtype=torch.float64)
    for _ in range(3):
        pair.step(drawn(generator, DTYPES))
        value.mul_(0.5)


def test_a_schedule_beside_a_rate_of_its_own_is_refused() -> None:
    w = torch.nn.Parameter(torch.ones(1))
    optimizer = SGD([w], lr=0.5)
    w.grad = torch.ones(1)
    optimizer.step()
    (group,) = optimizer.param_groups
    group["schedule"] = sgd_ref.schedules.CosineDecay(0.25, 5)
    with pytest.raises(ValueError, match="must be left to"):
        optimizer.step()
    assert w.item() == 0.5
    # As the rate, it is adopted, and goes on from the count of the group.
    group["lr"] = sgd_ref.schedules.PiecewiseConstantDecay([0], [1.0, 0.25])
    optimizer.step()
    assert (w.item(), group["lr"]) == (0.25, 0.25)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_do_not_change_a_bit(threads: int) -> None:
    generator = np.random.default_rng(5)
    shapes = [(1100, 1000), (1200, 1000), (3,)]
    draw = lambda: [numbers(generator, shape, np.float32) for shape in shapes]  # noqa: E731
    pair = Pair([draw()], [GROUP[1]], global_clipnorm=1.0, threads=threads)
    for _ in range(2):
        pair.step(draw())


def random_configuration(generator: np.random.Generator) -> tuple[list[list[Any]], list[dict[str, Any]], Any]:
    groups, dtypes = [], []
    for _ in range(generator.integers(1, 4)):
        groups.append(
            {
                "lr": float(generator.choice([0.1, 1e-3, 0.7, 1.0])),
                "momentum": float(generator.choice([0.0, 0.5, 0.9, 1.0])),
                "weight_decay": [None, 0.0, 1e-4, 0.3][generator.integers(4)],
                "nesterov": bool(generator.integers(2)),
            }
        )
        dtypes.append(
            [DTYPES[i] for i in sorted(generator.choice(4, generator.integers(1, 3), replace=False))]
        )
    common: dict[str, Any] = {}
    clipping = [None, "clipnorm", "clipvalue", "global_clipnorm"][generator.integers(4)]
    if clipping:
        common[clipping] = float(generator.choice([0.1, 1.0, 7.0]))
    if generator.integers(2):
        common.update(use_ema=True, ema_momentum=float(generator.choice([0.5, 0.99])))
        common["ema_overwrite_frequency"] = [None, 1, 3][generator.integers(3)]
    if generator.integers(3) == 0:
        common["gradient_accumulation_steps"] = int(generator.integers(2, 4))
    return dtypes, groups, common


def test_random_configurations_with_schedulers(sweep: Sweep) -> None:
    for _ in range(sweep.count(300, share=25)):
        generator = np.random.default_rng(sweep.generator.integers(2**32))
        dtypes, groups, common = random_configuration(generator)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pair = Pair([drawn(generator, of_group) for of_group in dtypes], groups, **common)
        scheduler = torch.optim.lr_scheduler.LambdaLR(pair.optimizer, lambda step: 1 / (1 + step))
        for _ in range(8):
            gradients = [g for of_group in dtypes for g in drawn(generator, of_group, 0.01)]
            missing = generator.random(len(gradients)) < 0.1
            pair.step([None if skip else g for skip, g in zip(missing, gradients, strict=True)])
            scheduler.step()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("common", COMMON[:4], ids=lambda common: "-".join(common) or "plain")
def test_the_scale_of_a_scaler_divides_the_gradients(dtype: Any, common: dict[str, Any]) -> None:
    generator = np.random.default_rng(6)
    pair = Pair([drawn(generator, [dtype]) for _ in GROUP], GROUP, **common)
    for scale in (8.0, 1024.0, 3.0):
        pair.reference.settings = pair.reference.settings.__class__.checked(
            **{**vars(pair.reference.settings), "loss_scale_factor": scale}
        )
        pair.optimizer.grad_scale, pair.optimizer.found_inf = torch.tensor(scale), torch.tensor(0.0)
        pair.step([g for _ in GROUP for g in drawn(generator, [dtype])])


def test_a_schedule_of_the_reference_gives_its_rates() -> None:
    schedule = sgd_ref.schedules.CosineDecay(0.5, 6)
    w = torch.nn.Parameter(torch.ones(3))
    optimizer = SGD([w], lr=schedule, momentum=0.5)
    array = np.ones(3, np.float32)
    reference = sgd_ref.SGD(schedule, momentum=0.5)
    for step in range(8):
        (group,) = optimizer.param_groups
        assert group["lr"] == float(schedule(step))
        g = np.float32([1.0, -2.0, 0.3]) * (step + 1)
        w.grad = tensor(g)
        optimizer.step()
        reference.apply([g], [array])
        assert_equal_bits("w", [array], [array_of(w)])
    group["lr"] = 0.125
    with pytest.raises(ValueError, match="must be left to param_groups\\[0\\]\\['schedule'\\]"):
        optimizer.step()
    group["schedule"] = None
    optimizer.step()


def test_later_groups_begin_with_their_own_average_and_schedule() -> None:
    schedule = sgd_ref.schedules.ExponentialDecay(0.5, 2, 0.5)
    first, second = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = SGD([first], lr=schedule, use_ema=True, ema_momentum=0.5)
    arrays = [np.ones(2, np.float32), np.ones(2, np.float32)]
    references = [sgd_ref.SGD(schedule, use_ema=True, ema_momentum=0.5) for _ in arrays]
    parameters = [first, second]
    for step, index in itertools.product(range(5), range(2)):
        if index == 1 and step < 2:
            continue
        if (step, index) == (2, 1):
            optimizer.add_param_group({"params": [second]})
        references[index].apply([np.full(2, step + 1, np.float32)], [arrays[index]])
        if index == 1 or step < 2:
            for parameter in parameters[: index + 1]:
                parameter.grad = torch.full((2,), step + 1.0)
            optimizer.step()
            assert_equal_bits("w", arrays[: index + 1], [array_of(w) for w in parameters[: index + 1]])
    averages = [array_of(optimizer.state[w]["average"]) for w in parameters]
    assert_equal_bits("average", [reference.averages[0] for reference in references], averages)
