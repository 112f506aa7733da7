"""Settings: what is accepted, what is rejected and how, and what is said where a dtype loses one."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.base.settings import Settings

CLIPPINGS = ["clipnorm", "clipvalue", "global_clipnorm"]
DTYPES: list[Any] = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)

HUGE = 10**400
"""Too large for a float."""
ENDLESS = 10**5000
"""Too large even to be written out."""

UNIT = "a real number in [0, 1]"
REAL = "a finite real number"
POSITIVE = "a finite real number greater than 0"
BOOLEAN = "True or False"
AT_LEAST_ONE = "an integer of at least 1"
AT_LEAST_TWO = "an integer of at least 2"

TYPE, VALUE = TypeError, ValueError

REJECTED: list[tuple[type[Exception], str, Any, str]] = [
    *(
        (error, name, value, accepted)
        for name, accepted in (
            ("momentum", UNIT),
            ("ema_momentum", UNIT),
            ("weight_decay", REAL),
            ("clipnorm", POSITIVE),
            ("clipvalue", POSITIVE),
            ("global_clipnorm", POSITIVE),
            ("loss_scale_factor", POSITIVE),
        )
        for error, value in (
            (TYPE, True),
            (TYPE, np.True_),
            (TYPE, "0.5"),
            (TYPE, 0.5j),
            (TYPE, [0.5]),
            (TYPE, Decimal("0.5")),
            (TYPE, np.array(0.5)),
            (VALUE, math.nan),
            (VALUE, math.inf),
            (VALUE, -math.inf),
            (VALUE, ml_dtypes.bfloat16(math.nan)),
            (VALUE, HUGE),
        )
    ),
    *((VALUE, name, value, UNIT) for name in ("momentum", "ema_momentum") for value in (-5e-324, 1.5, 2)),
    *((TYPE, name, None, UNIT) for name in ("momentum", "ema_momentum")),
    *(
        (VALUE, name, value, POSITIVE)
        for name in (*CLIPPINGS, "loss_scale_factor")
        for value in (0, 0.0, -0.0, -1.0, Fraction(-1, 3))
    ),
    *(
        (TYPE, name, value, BOOLEAN)
        for name in ("nesterov", "use_ema")
        for value in (0, 1, None, "True", np.array(True))
    ),
    *(
        (error, name, value, accepted)
        for name, accepted in (
            ("ema_overwrite_frequency", AT_LEAST_ONE),
            ("gradient_accumulation_steps", AT_LEAST_TWO),
        )
        for error, value in (
            (TYPE, True),
            (TYPE, 2.0),
            (TYPE, 2.5),
            (TYPE, "2"),
            (TYPE, np.array(2)),
            (VALUE, 0),
            (VALUE, -1),
            (VALUE, -HUGE),
        )
    ),
    (VALUE, "gradient_accumulation_steps", 1, AT_LEAST_TWO),
    (TYPE, "name", None, "a string"),
    (TYPE, "name", b"SGD", "a string"),
    (VALUE, "name", "", "a string that is not empty"),
]


@pytest.mark.parametrize(("error", "name", "value", "accepted"), REJECTED)
def test_a_rejection_names_the_setting_the_value_and_what_is_accepted(
    error: type[Exception], name: str, value: Any, accepted: str
) -> None:
    with pytest.raises(error) as caught:
        SGD(**{name: value})
    given = repr(value) if len(repr(value)) <= 200 else repr(value)[:197] + "..."
    kind = f" of type {type(value).__name__}" if error is TypeError else ""
    assert str(caught.value) == f"{name} must be {accepted}, got {given}{kind}"


@pytest.mark.parametrize("name", ["momentum", "clipnorm", "ema_overwrite_frequency"])
def test_an_integer_that_python_does_not_write_out_is_rejected_all_the_same(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got <int object at 0x[0-9a-f]+>$"):
        SGD(**{name: -ENDLESS})  # type: ignore[arg-type]


def test_unknown_settings_are_rejected() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'lr'"):
        SGD(lr=0.1)  # type: ignore[call-arg]


@pytest.mark.parametrize("first", CLIPPINGS)
@pytest.mark.parametrize("second", CLIPPINGS)
def test_at_most_one_clipping(first: str, second: str) -> None:
    if first == second:
        return
    listed = ", ".join(f"{name}={value}" for name, value in sorted({first: 1.0, second: 1.0}.items()))
    expected = f"at most one of clipnorm, clipvalue and global_clipnorm may be set, got {listed}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        SGD(**{first: 1.0, second: 1.0})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", Settings.__dataclass_fields__)
def test_settings_are_fixed(name: str) -> None:
    optimizer = SGD()
    before = getattr(optimizer, name)
    message = f"^{name} is fixed when the optimizer is constructed, got 0.5; only learning_rate can be set$"
    with pytest.raises(AttributeError, match=message):
        setattr(optimizer, name, 0.5)
    assert getattr(optimizer, name) == before


@pytest.mark.parametrize(
    "name", ["calls", "iterations", "built", "velocities", "variables", "variable_names"]
)
def test_what_is_counted_or_kept_cannot_be_set(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        setattr(SGD(), name, 0)


@pytest.mark.parametrize(
    "half",
    [0.5, Fraction(1, 2), np.float16(0.5), ml_dtypes.bfloat16(0.5), np.float32(0.5), np.float64(0.5)],
)
def test_any_real_type_becomes_a_float(half: Any) -> None:
    for name in ("momentum", "ema_momentum", "weight_decay", *CLIPPINGS, "loss_scale_factor"):
        value = getattr(SGD(**{name: half}), name)
        assert type(value) is float
        assert value == 0.5


@pytest.mark.parametrize("three", [3, np.int64(3), np.uint8(3)])
def test_any_integer_type_becomes_an_int(three: Any) -> None:
    for name in ("ema_overwrite_frequency", "gradient_accumulation_steps"):
        value = getattr(SGD(**{name: three}), name)
        assert type(value) is int
        assert value == 3
    assert type(SGD(momentum=1).momentum) is float
    assert SGD(ema_overwrite_frequency=1).ema_overwrite_frequency == 1


@pytest.mark.parametrize("true", [True, np.True_])
def test_any_boolean_becomes_a_bool(true: Any) -> None:
    assert SGD(nesterov=true).nesterov is SGD(use_ema=true).use_ema is True


@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -1e300, 1e300])
def test_weight_decay_is_any_finite_number(value: float) -> None:
    assert repr(SGD(weight_decay=value).weight_decay) == repr(value)


def rounds_up_to_normal(dtype: Any) -> float:
    information = ml_dtypes.finfo(dtype)
    return float(information.smallest_normal) - float(information.smallest_subnormal) / 4


@every_dtype
@pytest.mark.parametrize("name", CLIPPINGS)
def test_clip_settings_must_be_normal_in_the_dtype(dtype: Any, name: str) -> None:
    information = ml_dtypes.finfo(dtype)
    largest, smallest = float(information.max), float(information.smallest_normal)
    for value in (largest, smallest, *([] if dtype == np.float64 else [rounds_up_to_normal(dtype)])):
        SGD(**{name: value}).build([np.zeros(1, dtype)])  # type: ignore[arg-type]
    too_small = math.nextafter(smallest, 0) if dtype == np.float64 else smallest * 0.99
    for value in (too_small, *([] if dtype == np.float64 else [largest * 1.01])):
        optimizer = SGD(**{name: value})  # type: ignore[arg-type]
        expected = (
            f"{name} must be finite and normal in {np.dtype(dtype)}, where it is used "
            f"(from {smallest:g} to {largest:g}), got {value!r}"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            optimizer.build([np.zeros(1), np.zeros(1, dtype)])
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            optimizer.apply([np.zeros(1), np.zeros(1, dtype)], [np.zeros(1), np.zeros(1, dtype)])
        assert not optimizer.built


@every_dtype
def test_the_loss_scale_factor_must_be_normal_in_float32_at_least(dtype: Any) -> None:
    wide = np.float64 if dtype == np.float64 else np.float32
    largest, smallest = float(np.finfo(wide).max), float(np.finfo(wide).smallest_normal)
    for value in (1e6, 1e-6, largest, smallest):
        SGD(loss_scale_factor=value).build([np.zeros(1, dtype)])
    for value in (smallest * (1 - 2.0**-20), *([] if wide == np.float64 else [largest * 1.01])):
        optimizer = SGD(loss_scale_factor=value)
        with pytest.raises(
            ValueError,
            match=f"^loss_scale_factor must be .* in {np.dtype(wide)}, .* got {re.escape(repr(value))}$",
        ):
            optimizer.build([np.zeros(1, dtype)])
        assert not optimizer.built


def test_the_number_of_steps_must_be_finite_in_the_dtype() -> None:
    expected = (
        "gradient_accumulation_steps must be finite in float16, where gradients are divided by it "
        "(at most 65504), got 65520"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        SGD(gradient_accumulation_steps=65520).build([np.zeros(1, np.float16)])
    for steps in (HUGE, ENDLESS):
        with pytest.raises(
            ValueError, match=r"^gradient_accumulation_steps must be finite in float64, .*, got .*"
        ):
            SGD(gradient_accumulation_steps=steps).build([np.zeros(1)])


@pytest.mark.parametrize(
    ("dtype", "settings", "message"),
    [
        (np.float16, {"momentum": 0.9999}, "momentum=0.9999 becomes 1 in float16"),
        (np.float16, {"momentum": 1e-9}, "momentum=1e-09 becomes 0 in float16"),
        (ml_dtypes.bfloat16, {"momentum": 0.999}, "momentum=0.999 becomes 1 in bfloat16"),
        (np.float32, {"momentum": 1 - 2.0**-30}, "momentum=0.9999999990686774 becomes 1 in float32"),
        (np.float16, {"weight_decay": 1e-8}, "weight_decay=1e-08 becomes 0 in float16"),
        (np.float16, {"weight_decay": -1e-8}, "weight_decay=-1e-08 becomes -0 in float16"),
        (
            ml_dtypes.bfloat16,
            {"ema_momentum": 0.999, "use_ema": True},
            "ema_momentum=0.999 becomes 1 in bfloat16",
        ),
        (np.float16, {"learning_rate": 1e-8}, "learning_rate=9.99999993922529e-09 becomes 0 in float16"),
        (
            ml_dtypes.bfloat16,
            {"gradient_accumulation_steps": 257},
            "gradient_accumulation_steps=257 becomes 256 in bfloat16, "
            "so that the mean of the gradients is off by that ratio",
        ),
    ],
)
def test_a_setting_that_a_dtype_loses_is_warned_of_at_build(
    dtype: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$") as caught:
        SGD(**settings).build([np.zeros(1), np.zeros(1, dtype)])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        SGD(**settings).apply([np.zeros(1, dtype)], [np.zeros(1, dtype)])


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.0},
        {"momentum": 1.0, "weight_decay": 0.0},
        {"momentum": 0.999, "learning_rate": 1e-7},
        {"ema_momentum": 0.9999},
        {"gradient_accumulation_steps": 2048},
    ],
)
def test_a_setting_that_survives_is_not_warned_of(settings: dict[str, Any]) -> None:
    SGD(**settings).build([np.zeros(1, np.float16)])


def test_a_warning_turned_into_an_error_leaves_the_optimizer_unbuilt() -> None:
    optimizer = SGD(momentum=0.9999)
    with pytest.raises(UserWarning, match=r"^momentum=0.9999 becomes 1"):
        optimizer.build([np.zeros(1, np.float16)])
    assert not optimizer.built
