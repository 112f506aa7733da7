"""What a class does not declare cannot be set, and the error names what was meant."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from sgd_ref.schedules import ExponentialDecay

KINDS: dict[str, Callable[[], Any]] = {
    "reference": sgd_ref.SGD,
    "kernels": numba_kernels.SGD,
    "loss scale": lambda: sgd_ref.LossScaleOptimizer(sgd_ref.SGD()),
    "loss scale around kernels": lambda: sgd_ref.LossScaleOptimizer(numba_kernels.SGD()),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@every_kind
@pytest.mark.parametrize("name", ["lr", "LR", "learningrate", "learning_rates", "lerning_rate", "rate"])
def test_a_misspelt_learning_rate_is_refused(make: Any, name: str) -> None:
    optimizer = make()
    with pytest.raises(
        AttributeError, match=f"no attribute '{name}' that could be set; learning_rate is meant$"
    ):
        setattr(optimizer, name, 0.001)
    assert not hasattr(optimizer, name)
    optimizer.learning_rate = 0.001
    assert optimizer.learning_rate == np.float32(0.001)


@pytest.mark.parametrize("package", [sgd_ref, numba_kernels])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("decay", "weight_decay"),
        ("wd", "weight_decay"),
        ("mu", "momentum"),
        ("beta", "momentum"),
        ("clip_norm", "clipnorm"),
        ("nestrov", "nesterov"),
        ("accumulation_steps", "gradient_accumulation_steps"),
    ],
)
def test_a_fixed_setting_under_another_name_is_refused(package: Any, name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"; {meant} is meant, which is fixed by the constructor$"):
        setattr(package.SGD(), name, 0.5)


@every_kind
@pytest.mark.parametrize("name", ["iterations", "calls", "velocities", "built", "variables"])
def test_what_can_only_be_read_says_so(make: Any, name: str) -> None:
    with pytest.raises(AttributeError, match=rf"^'{name}' of .* can only be read$"):
        setattr(make(), name, 1)


def test_a_name_that_is_like_no_other_is_refused_without_advice() -> None:
    with pytest.raises(AttributeError, match=r"^SGD has no attribute 'xyzzy' that could be set$"):
        sgd_ref.SGD().xyzzy = 1  # type: ignore[attr-defined]


def test_augmented_assignment_and_setattr_are_refused_too() -> None:
    optimizer = sgd_ref.SGD(0.5)
    with pytest.raises(AttributeError):
        optimizer.lr *= 0.5  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="momentum is fixed"):
        optimizer.momentum = 0.5  # type: ignore[misc]


def test_subclasses_declare_their_own_attributes() -> None:
    class Mine(sgd_ref.SGD):
        annotated: int
        valued = 1

        def __init__(self) -> None:
            super().__init__(0.5)
            self.annotated = 2
            self.valued = 3
            self._private = 4

        @property
        def settable(self) -> int:
            return self._private

        @settable.setter
        def settable(self, value: int) -> None:
            self._private = value

    class Further(Mine):
        pass

    optimizer = Further()
    optimizer.settable = 5
    assert (optimizer.annotated, optimizer.valued, optimizer.settable) == (2, 3, 5)
    assert copy.deepcopy(optimizer).annotated == 2
    with pytest.raises(AttributeError, match=r"; annotated is meant$"):
        optimizer.anotated = 1  # type: ignore[attr-defined]


def test_methods_can_be_wrapped() -> None:
    optimizer, seen = sgd_ref.SGD(0.5), []
    original = optimizer.apply
    optimizer.apply = lambda *arguments: (seen.append(1), original(*arguments))[1]  # type: ignore[method-assign, func-returns-value]
    optimizer.apply([np.ones(1)], [np.ones(1)])
    assert seen == [1]
    assert optimizer.calls == 1


def test_settings_of_a_schedule_cannot_be_set() -> None:
    schedule = ExponentialDecay(0.5, 10, 0.5)
    for name in ("initial_learning_rate", "decay_steps", "config"):
        with pytest.raises(AttributeError, match=name):
            setattr(schedule, name, 1)


@every_kind
def test_a_number_in_the_place_of_a_method_is_refused(make: Any) -> None:
    with pytest.raises(AttributeError, match=r"is a method$"):
        make().apply = None
