"""What an optimizer or a schedule shows of itself refuses changes that would do nothing."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from sgd_ref.schedules import PolynomialDecay

OPTIMIZERS = [sgd_ref.SGD, numba_kernels.SGD]
STATES = ["velocities", "averages", "accumulators", "variables"]


def built(make: Callable[..., Any]) -> Any:
    optimizer = make(0.5, momentum=0.5, use_ema=True, gradient_accumulation_steps=2)
    optimizer.build([np.zeros(2, np.float32), np.zeros(3, np.float64)])
    return optimizer


def assigned(items: Any) -> None:
    items[0] = np.ones(2, np.float32)


def deleted(items: Any) -> None:
    del items[0]


def extended_in_place(items: Any) -> None:
    items += [np.ones(2)]


def repeated_in_place(items: Any) -> None:
    items *= 2


CHANGES: list[Callable[[Any], None]] = [
    assigned,
    deleted,
    extended_in_place,
    repeated_in_place,
    lambda items: items.append(np.ones(2)),
    lambda items: items.clear(),
    lambda items: items.extend([np.ones(2)]),
    lambda items: items.insert(0, np.ones(2)),
    lambda items: items.pop(),
    lambda items: items.remove(items[0]),
    lambda items: items.reverse(),
    lambda items: items.sort(key=len),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("kind", STATES)
@pytest.mark.parametrize("change", CHANGES, ids=list(range(len(CHANGES))))
def test_lists_of_state_refuse_changes(make: Any, kind: str, change: Callable[[Any], None]) -> None:
    items = getattr(built(make), kind)
    with pytest.raises(
        TypeError, match=rf"^{kind} cannot be changed by .*: write into an array of it, as in"
    ):
        change(items)


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("kind", STATES)
def test_they_are_lists_in_every_other_respect(make: Any, kind: str) -> None:
    items = getattr(built(make), kind)
    assert isinstance(items, list)
    pickled = pickle.loads(pickle.dumps(items))  # noqa: S301
    for plain in (items[:], items + items[:0], items.copy(), copy.copy(items), pickled):
        assert type(plain) is list
        assert len(plain) == len(items)
        plain.append(np.ones(2))
    assert copy.copy(items)[0] is items[0]
    assert copy.deepcopy(items)[0] is not items[0]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_arrays_of_state_are_the_optimizers_own(make: Any) -> None:
    optimizer = built(make)
    optimizer.velocities[0][...] = 3
    assert optimizer.velocities[0].tolist() == [3, 3]


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_without_a_feature_and_before_build_the_list_is_empty(make: Any) -> None:
    for optimizer in (make(0.5), make(0.5, momentum=0.5)):
        assert optimizer.velocities == []
        with pytest.raises(TypeError, match=r"^velocities cannot be changed by append"):
            optimizer.velocities.append(np.ones(2))


@pytest.mark.parametrize("make", OPTIMIZERS)
def test_numbers_among_the_variables_cannot_be_written_to(make: Any) -> None:
    optimizer = built(make)
    for number in optimizer.variables[:2]:
        with pytest.raises(ValueError, match="read-only"):
            number[...] = 7
    optimizer.get_weights()[0][...] = 7
    assert optimizer.calls == 0


def test_numbers_of_a_loss_scale_cannot_be_written_to() -> None:
    optimizer = sgd_ref.LossScaleOptimizer(built(sgd_ref.SGD))
    assert len(optimizer.variables) == len(optimizer.variable_names)
    for number in optimizer.variables[:6]:
        with pytest.raises(ValueError, match="read-only"):
            number[...] = 7
    with pytest.raises(TypeError, match=r"^variables cannot be changed by assignment"):
        optimizer.variables[3] = np.float32(1)


SETTINGS: list[Callable[[Any], Any]] = [
    lambda config: config.__setitem__("power", 2.0),
    lambda config: config.__delitem__("power"),
    lambda config: config.__ior__({"power": 2.0}),
    lambda config: config.clear(),
    lambda config: config.pop("power"),
    lambda config: config.popitem(),
    lambda config: config.setdefault("power", 2.0),
    lambda config: config.update(power=2.0),
]


@pytest.mark.parametrize("change", SETTINGS, ids=list(range(len(SETTINGS))))
def test_the_config_of_a_schedule_refuses_changes(change: Callable[[Any], Any]) -> None:
    schedule = PolynomialDecay(0.5, 10)
    with pytest.raises(TypeError, match=r"^config of a schedule cannot be changed by .*another schedule$"):
        change(schedule.config)
    pickled = pickle.loads(pickle.dumps(schedule))  # noqa: S301
    for copied in (copy.copy(schedule), copy.deepcopy(schedule), pickled):
        assert copied == schedule
        with pytest.raises(TypeError, match=r"^config of a schedule"):
            change(copied.config)


def test_a_config_that_is_given_away_is_a_plain_dict() -> None:
    schedule = PolynomialDecay(0.5, 10)
    for config in (schedule.get_config(), schedule.config.copy()):
        config["power"] = 2.0
        assert type(config) is dict
    assert schedule.config["power"] == 1.0
