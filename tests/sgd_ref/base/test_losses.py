"""Settings that a dtype does not have are told once, whichever way they come in, and used as they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import numba_kernels
import sgd_ref
from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.losses import Losses
from sgd_ref.schedules import ExponentialDecay, LearningRateSchedule, PiecewiseConstantDecay, PolynomialDecay

packages = pytest.mark.parametrize("package", [sgd_ref, numba_kernels])
TINY, HUGE = 1e-8, 1e5
values = pytest.mark.parametrize(("value", "becomes"), [(TINY, "0"), (-TINY, "-0"), (HUGE, "inf")])


def ones(dtype: Any = "float16") -> Any:
    return np.ones(3, dtype)


def built(package: Any, rate: Any, dtype: Any = "float16") -> Any:
    optimizer = package.SGD(rate)
    optimizer.build([ones(dtype)])
    return optimizer


def told(action: Callable[[], Any], *messages: str) -> None:
    """Check that an action gives these warnings, each for a line of this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    assert [str(warning.message) for warning in caught] == list(messages)
    assert all(warning.filename == __file__ for warning in caught)


@packages
@values
def test_a_rate_of_the_constructor_is_told_at_build(package: Any, value: float, becomes: str) -> None:
    expected = f"learning_rate={float(np.float32(value))!r} becomes {becomes} in float16"
    told(lambda: built(package, value), expected)


@packages
@values
@pytest.mark.parametrize("scaled", [False, True])
def test_a_rate_that_is_set_is_told(package: Any, value: float, becomes: str, scaled: bool) -> None:
    optimizer = built(package, 0.5)
    outer = sgd_ref.LossScaleOptimizer(optimizer) if scaled else optimizer
    expected = f"learning_rate={float(np.float32(value))!r} becomes {becomes} in float16"
    told(lambda: setattr(outer, "learning_rate", value), expected)
    assert optimizer.learning_rate == np.float32(value)
    told(lambda: setattr(outer, "learning_rate", value))
    told(lambda: setattr(outer, "learning_rate", value / 2))


@packages
def test_a_rate_that_float32_loses_is_told(package: Any) -> None:
    message = "learning_rate=1e-60 becomes 0 in float32"
    told(lambda: package.SGD(1e-60), message)
    optimizer = built(package, 0.5, "float64")
    told(lambda: setattr(optimizer, "learning_rate", 1e-60), message)
    optimizer = built(package, lambda: 1e-60, "float64")
    told(lambda: optimizer.apply([ones("float64")]), message)


@packages
@values
def test_the_value_of_a_callable_or_a_schedule_is_told_once(package: Any, value: float, becomes: str) -> None:
    class Own(LearningRateSchedule):
        def __call__(self, step: int) -> Any:
            return 0.5 if step < 2 else value

    calls = iter([0.5, 0.5, value, value, value])
    for rate in (Own(), lambda: next(calls)):
        optimizer = built(package, rate)
        expected = f"learning_rate={float(np.float32(value))!r} becomes {becomes} in float16"
        for call in range(5):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=RuntimeWarning)
                told(lambda: optimizer.apply([ones()]), *([expected] if call == 2 else []))  # noqa: B023


@packages
def test_each_dtype_is_told_once_at_its_first_loss(package: Any) -> None:
    rates = iter([1e-8, 1e-8, 1e5, 1e-44, 1e-44])
    optimizer = package.SGD(lambda: next(rates))
    arrays = [ones("float16"), ones(ml_dtypes.bfloat16), ones("float32")]
    optimizer.build(arrays)
    gradients = [array.copy() for array in arrays]
    tiny = float(np.float32(1e-44))
    expected = [
        ["learning_rate=9.99999993922529e-09 becomes 0 in float16"],
        [],
        [],
        [f"learning_rate={tiny!r} becomes 0 in bfloat16"],
        [],
    ]
    for messages in expected:
        told(lambda: optimizer.apply(gradients), *messages)


@packages
@pytest.mark.parametrize(
    "schedule",
    [
        PolynomialDecay(0.5, 3, end_learning_rate=0.0),
        PiecewiseConstantDecay([1], [0.5, 0.0]),
        ExponentialDecay(0.5, 1, 1e-30),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_schedules_that_end_at_zero_are_silent(package: Any, schedule: Any) -> None:
    optimizer = built(package, schedule, "float32")
    for _ in range(5):
        told(lambda: optimizer.apply([ones("float32")]))


@packages
@pytest.mark.parametrize("name", ["weight_decay", "momentum", "ema_momentum"])
def test_other_settings_are_told_at_build(package: Any, name: str) -> None:
    extra = {"use_ema": True} if name == "ema_momentum" else {}
    optimizer = package.SGD(0.5, **{name: 1e-60}, **extra)
    told(lambda: optimizer.build([ones("float32")]), f"{name}=1e-60 becomes 0 in float32")
    optimizer = package.SGD(0.5, weight_decay=1e39)
    told(lambda: optimizer.build([ones("float32")]), "weight_decay=1e+39 becomes inf in float32")


@packages
def test_a_rate_among_weights_is_told(package: Any) -> None:
    optimizer = built(package, 0.5)
    weights = optimizer.get_weights()
    weights[1] = np.array(TINY, np.float32)
    told(lambda: optimizer.set_weights(weights), "learning_rate=9.99999993922529e-09 becomes 0 in float16")


def test_a_rate_given_to_load_is_told_and_one_of_the_file_is_not(tmp_path: Path) -> None:
    w = ones()
    optimizer = sgd_ref.SGD(0.5)
    optimizer.build([w])
    sgd_ref.save(tmp_path / "a", optimizer, [w])
    told(
        lambda: sgd_ref.load(tmp_path / "a", [w], learning_rate=HUGE),
        "learning_rate=100000.0 becomes inf in float16",
    )
    told(lambda: setattr(optimizer, "learning_rate", HUGE), "learning_rate=100000.0 becomes inf in float16")
    sgd_ref.save(tmp_path / "b", optimizer, [w])
    told(lambda: sgd_ref.load(tmp_path / "b", [w]))


@pytest.mark.parametrize("dtype", FORMATS, ids=lambda dtype: dtype.name)
def test_the_limits_are_those_of_rounding(dtype: np.dtype[Any]) -> None:
    losses = Losses()
    losses.use([dtype])
    with np.errstate(all="ignore"):
        for limit, is_lost in ((losses.lowest, lambda x: x == 0), (losses.highest, np.isinf)):
            if 0 < limit < np.inf:
                assert is_lost(setting(limit, dtype))
                inside = np.nextafter(limit, 1.0)
                assert not is_lost(setting(float(inside), dtype))


def test_bits_are_those_of_the_rounded_settings() -> None:
    outcomes = []
    for package in (sgd_ref, numba_kernels):
        w = ones()
        optimizer = package.SGD(HUGE)
        with pytest.warns(UserWarning, match="becomes inf in float16"):
            optimizer.apply([ones()], [w])
        outcomes.append(w.tobytes())
    assert outcomes == [np.full(3, -np.inf, np.float16).tobytes()] * 2


@packages
def test_a_rate_of_a_config_is_told(package: Any) -> None:
    told(
        lambda: package.SGD.from_config({"learning_rate": 1e-60}),
        "learning_rate=1e-60 becomes 0 in float32",
    )


@packages
def test_two_optimizers_are_told_each_for_itself(package: Any) -> None:
    for _ in range(2):
        optimizer = built(package, 0.5)
        told(
            lambda: setattr(optimizer, "learning_rate", HUGE),  # noqa: B023
            "learning_rate=100000.0 becomes inf in float16",
        )
