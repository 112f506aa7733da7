"""Loops over NumPy arrays are watched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sgd_ref
from sgd_ref import conformance

SETTINGS: list[dict[str, Any]] = [
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    {"momentum": 0.5, "clipnorm": 0.25},
    {"global_clipnorm": 0.25, "momentum": 0.5},
    {"clipvalue": 0.25, "gradient_accumulation_steps": 2, "use_ema": True, "ema_overwrite_frequency": 2},
    {"learning_rate": sgd_ref.schedules.ExponentialDecay(0.1, 3, 0.5), "momentum": 0.9},
]


def variables() -> list[Any]:
    return [np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4), np.ones(5, "float64")]


def trained(optimizer: Any, arrays: list[Any], **declared: Any) -> Any:
    with conformance.watch(optimizer, [("kernel", arrays[0]), ("bias", arrays[1])], **declared) as report:
        for step in range(6):
            optimizer.apply([w - w.dtype.type(step) for w in arrays], arrays)
    return report


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("sample", [6, None])
def test_the_reference_has_its_own_bits(settings: dict[str, Any], sample: int | None) -> None:
    report = trained(sgd_ref.SGD(**settings), variables(), sample=sample)
    assert report.ok, report.violation
    assert report.steps == 6
    # Norms of what is not looked at are not known to the last bit.
    assert report.exact == 6 or not {"clipnorm", "global_clipnorm"}.isdisjoint(settings)


def test_norms_of_accumulated_gradients_need_all_elements() -> None:
    optimizer, arrays = sgd_ref.SGD(clipnorm=0.25, gradient_accumulation_steps=2), variables()
    assert trained(optimizer, arrays).ok
    with pytest.raises(ValueError, match="sample=None"):
        trained(optimizer, arrays, sample=6)
    assert "apply" not in vars(optimizer)


def test_what_is_declared_counts_more_than_what_is_stated() -> None:
    report = trained(sgd_ref.SGD(0.125, momentum=0.5), variables(), nesterov=True)
    assert report.step == 0
    assert "nesterov-ignored" in report.mistake.names


def test_a_rate_may_be_declared_as_a_function_of_the_step() -> None:
    report = trained(sgd_ref.SGD(0.125), variables(), learning_rate=lambda step: 0.125 if step < 3 else 0.25)
    assert report.step == 3
    assert report.violation.call == 3


def test_the_method_is_the_one_of_the_class_again() -> None:
    optimizer = sgd_ref.SGD(0.5)
    own = vars(optimizer).copy()

    def loop() -> None:
        with conformance.watch(optimizer, variables()):
            assert "apply" in vars(optimizer)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        loop()
    assert "apply" not in vars(optimizer)
    assert "apply" not in own


@pytest.mark.parametrize(
    ("optimizer", "model", "message"),
    [
        (object(), [np.ones(1)], "optimizer must be"),
        (sgd_ref.SGD(), np.ones(1), "model must be"),
        (sgd_ref.SGD(), [np.ones(1, int)], r"model\[0\] must be"),
        (sgd_ref.SGD(), [("a", np.ones(1)), ("a", np.ones(1))], "distinct names"),
        (sgd_ref.SGD(), [], "at least one variable"),
    ],
)
def test_what_is_no_loop_is_refused(optimizer: Any, model: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message), conformance.watch(optimizer, model):
        pass
