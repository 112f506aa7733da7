"""Narrow cases of norms and settings: ties, numbers next to ties, and the ends of the dtypes' ranges."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.conformance.catalogue.case import Case, LossScaling
from sgd_ref.conformance.catalogue.named.narrow import ALL, narrow_case, numbers, precision

HALVES = (FLOAT16, BFLOAT16)

ONCE = "The setting is halfway between two numbers and a little more: by way of float32 it is rounded down."


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for dtype in ALL:
        yield from _norms(dtype)
        yield from _overflowing_norms(dtype)
        yield from _ends(dtype)
        yield from _complements(dtype)
        yield from _zeros(dtype)
    for dtype in HALVES:
        yield from _settings_rounded_once(dtype)
        yield from _settings_beside_ties(dtype)
    yield _negative_setting_above_a_tie()
    for dtype, momentum in ((FLOAT16, 1e-10), (BFLOAT16, 1e-60), (FLOAT32, 1e-60)):
        yield _vanishing_momentum(dtype, momentum)
    yield from _dynamic_scales()
    yield from _wider_of_two()


def _norms(dtype: np.dtype[Any]) -> Iterator[Case]:
    hard = hard_gradients(dtype)
    limit = 2.0 ** precision(dtype)
    zeros = {name: np.zeros_like(gradient) for name, gradient in hard.items()}
    yield narrow_case(
        f"norms/{dtype}",
        "Each gradient has a norm at or beside the middle of two numbers; the sum of squares has many bits.",
        zeros,
        [list(hard.values())],
        clipnorm=limit,
    )
    yield narrow_case(
        f"global-norms/{dtype}",
        "The global norm of each call is at or beside the middle of two numbers.",
        {"first": np.zeros(8, dtype), "second": np.zeros(6, dtype)},
        [[padded[:8], padded[8:]] for padded in (_padded(gradient, 14) for gradient in hard.values())],
        global_clipnorm=limit,
    )


def _overflowing_norms(dtype: np.dtype[Any]) -> Iterator[Case]:
    largest = float(FORMATS[dtype].largest)
    for clipping in ("clipnorm", "global_clipnorm"):
        settings: dict[str, Any] = {clipping: 0.5}
        yield narrow_case(
            f"{clipping}-of-an-overflow/{dtype}",
            "The norm of finite gradients is infinite where it is rounded past the largest number.",
            {"w": numbers(dtype, 1.0, -1.0, 0.0)},
            [[numbers(dtype, largest, 0.0, 0.0)], [numbers(dtype, largest, -largest, 1.0)]],
            **settings,
        )


def hard_gradients(dtype: np.dtype[Any]) -> dict[str, Array]:
    """Return gradients whose norms are hard to round: sums of squares at and next to the square of a tie.

    With p bits, ``2**p + 1`` and ``2**p + 3`` lie midway between two numbers. The even one is below the first
    midpoint and above the second. Their squares are ``2**2p + k * 2**p + odd``, which are sums of squares.
    """
    p = precision(dtype)
    count, size = (2, 2.0 ** (p // 2)) if p % 2 == 0 else (4, 2.0 ** ((p - 1) // 2))
    smallest = float(FORMATS[dtype].smallest_normal) * 2.0 ** (1 - p)
    tiny = max(smallest, 2.0 ** -(p + 16))
    down, up = [2.0**p, *[size] * count, 1.0], [2.0**p, *[size] * (3 * count), 3.0]
    below = [*up[:-1], 3.0 * (1 - 2.0 ** (2 - p))]
    return {
        "tie-down": numbers(dtype, *down),
        "tie-up": numbers(dtype, *up),
        "above-a-tie": numbers(dtype, *down, -tiny),
        "below-a-tie": numbers(dtype, *below),
    }


def _padded(gradient: Array, size: int) -> Array:
    padded = np.zeros(size, gradient.dtype)
    padded[: gradient.size] = gradient
    return padded


def _ends(dtype: np.dtype[Any]) -> Iterator[Case]:
    form = FORMATS[dtype]
    largest = float(form.largest)
    half_unit = largest / (2.0**form.precision - 1) / 2
    quarter = half_unit / 2
    yield narrow_case(
        f"overflow/{dtype}",
        "From halfway between the largest number and the next power of two on, a result is infinite.",
        {"w": numbers(dtype, largest, largest, -largest, -largest)},
        [[numbers(dtype, -half_unit, -quarter, half_unit, quarter)]],
    )


def _complements(dtype: np.dtype[Any]) -> Iterator[Case]:
    for odd, name in ((1, "down"), (3, "up")):
        momentum = 0.25 * (1 + odd * 2.0 ** (1 - precision(dtype)))
        yield narrow_case(
            f"complement-{name}/{dtype}",
            "1 - ema_momentum is halfway between two numbers and is rounded before it is multiplied.",
            {"w": numbers(dtype, 0.0, 1.0, -3.0, 1.25)},
            [[numbers(dtype, 1.0, 0.5, 2.0, call)] for call in range(3)],
            use_ema=True,
            ema_momentum=momentum,
            finalize=True,
        )


def _zeros(dtype: np.dtype[Any]) -> Iterator[Case]:
    zeros = numbers(dtype, -0.0, -0.0, 0.0, 0.0)
    signed = numbers(dtype, -0.0, 0.0, -0.0, 0.0)
    for clipping in ("clipnorm", "clipvalue", "global_clipnorm"):
        settings: dict[str, Any] = {clipping: 0.5}
        yield narrow_case(
            f"signed-zeros-{clipping}/{dtype}",
            "Clipping leaves the sign of a zero.",
            {"w": zeros, "other": numbers(dtype, 1.0)},
            [[signed, numbers(dtype, 3.0)]],
            **settings,
        )
    yield narrow_case(
        f"global-norm-of-zeros/{dtype}",
        "The inverse of a norm of 0 is infinite, and the other one is the smaller: zeros stay zeros.",
        {"w": zeros},
        [[signed], [numbers(dtype, 3.0, -4.0, 0.0, 0.0)]],
        global_clipnorm=0.5,
    )
    yield narrow_case(
        f"zeros-by-nesterov-without-momentum/{dtype}",
        "With a momentum of 0, Nesterov's update is w - learning_rate * g, which leaves -0.0.",
        {"w": zeros},
        [[signed], [signed]],
        momentum=0.0,
        nesterov=True,
    )
    yield narrow_case(
        f"overwriting-without-averages/{dtype}",
        "Without averages, ema_overwrite_frequency does nothing.",
        {"w": numbers(dtype, 1.0, -0.0)},
        [[numbers(dtype, 0.5, 0.0)]] * 3,
        ema_overwrite_frequency=2,
    )


def _settings_rounded_once(dtype: np.dtype[Any]) -> Iterator[Case]:
    value = 0.5 * (1 + 2.0 ** -precision(dtype) + 2.0**-40)
    ones, unit = numbers(dtype, 1.0, -1.0), numbers(dtype, 1.0, 0.0)
    rows: tuple[tuple[str, dict[str, Any], Array], ...] = (
        ("learning_rate", {"learning_rate": value}, ones),
        ("momentum", {"momentum": value}, ones),
        ("nesterov", {"momentum": value, "nesterov": True}, ones),
        ("weight_decay", {"weight_decay": value}, ones),
        ("ema_momentum", {"use_ema": True, "ema_momentum": value}, ones),
        ("clipvalue", {"clipvalue": value}, ones),
        ("clipnorm", {"clipnorm": value}, unit),
        ("global_clipnorm", {"global_clipnorm": value}, unit),
        ("reciprocal-of-global_clipnorm", {"global_clipnorm": 1 / value}, numbers(dtype, 0.5, 0.0)),
    )
    for name, settings, gradient in rows:
        yield narrow_case(
            f"rounded-once-{name}/{dtype}",
            ONCE if name != "learning_rate" else "The rate, alone among the settings, is a float32 first.",
            {"w": numbers(dtype, 1.0, 0.0)},
            [[gradient], [gradient]],
            finalize="use_ema" in settings,
            **settings,
        )


def _settings_beside_ties(dtype: np.dtype[Any]) -> Iterator[Case]:
    unit = 2.0 ** -precision(dtype)
    values = {
        "below": 0.5 * (1 + 3 * unit - 2.0**-40),
        "below-the-first": 0.5 * (1 + unit - 2.0**-40),
        "far-above": 0.5 * (1 + unit) + 1.5 * 2.0**-24,
    }
    for name, value in values.items():
        for sign in (1, -1):
            yield narrow_case(
                f"decay-{name}-{'a' if sign > 0 else 'a-negative'}-tie/{dtype}",
                "The setting lies beside the middle of two numbers, by a part of a unit of float32.",
                {"w": numbers(dtype, 1.0, -3.0)},
                [[numbers(dtype, 0.0, 1.0)]],
                weight_decay=sign * value,
            )


def _negative_setting_above_a_tie() -> Case:
    unit = 2.0 ** -precision(BFLOAT16)
    return narrow_case(
        "decay-just-above-a-negative-tie/bfloat16",
        "The setting is beyond the middle of two numbers by less than a unit of float32, away from zero.",
        {"w": numbers(BFLOAT16, 1.0, -3.0)},
        [[numbers(BFLOAT16, 0.0, 1.0)]],
        weight_decay=-64.0 * (1 + unit + 2.0**-40),
    )


def _vanishing_momentum(dtype: np.dtype[Any], momentum: float) -> Case:
    largest = float(FORMATS[dtype].largest)
    return narrow_case(
        f"momentum-that-vanishes/{dtype}",
        "A momentum that is 0 in the dtype is none of 0: there is a velocity, and 0 times infinity is NaN.",
        {"w": numbers(dtype, 1.0, -0.0, -0.0)},
        [[numbers(dtype, largest, 1.0, 0.0)], [numbers(dtype, 1.0, 1.0, 0.0)]],
        learning_rate=4.0,
        momentum=momentum,
    )


def _dynamic_scales() -> Iterator[Case]:
    for dtype, scale, why in (
        (FLOAT16, 2.0**17, "infinite"),
        (FLOAT16, 4099.0, "4100"),
        (BFLOAT16, 1003.0, "1000"),
        (FLOAT64, 2.0**24 + 2, "a float32"),
    ):
        yield narrow_case(
            f"dynamic-scale-{scale:g}/{dtype}",
            f"Gradients are divided by the scale in float32 at least; in a narrower dtype it would be {why}.",
            {"w": numbers(dtype, 0.0, 0.0, 0.0)},
            [[numbers(dtype, 60000.0, 3.0, -1000.0 - call)] for call in range(4)],
            loss_scaling=LossScaling(scale, 2),
        )


def _wider_of_two() -> Iterator[Case]:
    yield narrow_case(
        "wider-of-two-half-types",
        "The norm of float16 and bfloat16 gradients is a float32 (contested).",
        {"half": np.zeros(2, FLOAT16), "brain": np.zeros(2, BFLOAT16)},
        [[numbers(FLOAT16, 1.1, -2.3), numbers(BFLOAT16, 0.7, 3.0)]],
        global_clipnorm=0.7,
    )
    yield narrow_case(
        "global-product-rounded-twice",
        "A globally clipped gradient is rounded to the wider dtype, then to that of the variable (contested)",
        {"half": np.zeros(1, FLOAT16), "single": np.zeros(1, FLOAT32)},
        [[numbers(FLOAT16, 1 + 2.0**-10), numbers(FLOAT32, math.sqrt(4 - (1 + 2.0**-10) ** 2))]],
        global_clipnorm=float.fromhex("0x1.001ff8p+0"),
    )
