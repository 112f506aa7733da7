"""Clipping and its norm: variables of 0 at the learning rate 1/2 show half of the clipped gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

NORM = {"clipnorm": 2.5}
VALUE = {"clipvalue": 2.0}
GLOBAL = {"global_clipnorm": 5.0}


def clipped(after: Any, name: str | None, *gradients: Any, **settings: Any) -> list[Any]:
    """Return what becomes of the gradients of one call."""
    zeros = [np.zeros_like(gradient) for gradient in gradients]
    return [
        (-2 * np.array(variable)).tolist() for variable in after(name, zeros, gradients, **settings).variables
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, [1.5, 2.0]),
        ("clipping-ignored", [3.0, 4.0]),
        ("clipping-with-momentum-only", [3.0, 4.0]),
        ("clips-to-one", [3 / 5, 4 / 5]),
        ("limit-squared", [3.0, 4.0]),
        ("norm-without-root", [3 * 2.5 / 25, 4 * 2.5 / 25]),
        ("largest-element-as-norm", [3 * 2.5 / 4, 4 * 2.5 / 4]),
        ("sum-of-elements-as-norm", [3 * 2.5 / 7, 4 * 2.5 / 7]),
        ("root-of-mean-square-as-norm", [3 * 2.5 / math.sqrt(12.5), 4 * 2.5 / math.sqrt(12.5)]),
        ("clip-adds-epsilon", [3 * 2.5 / (5 + 1e-6), 4 * 2.5 / (5 + 1e-6)]),
    ],
)
def test_one_gradient_above_the_limit(after: Any, name: str | None, expected: list[float]) -> None:
    observed = clipped(after, name, [3.0, 4.0], dtype="float64", **NORM)
    assert observed == [pytest.approx(expected, rel=1e-14)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [(None, [0.3, 0.4]), ("scales-up-to-clipnorm", [1.5, 2.0]), ("clips-to-one", [0.3, 0.4])],
)
def test_one_gradient_below_the_limit(after: Any, name: str | None, expected: list[float]) -> None:
    assert clipped(after, name, [0.3, 0.4], dtype="float64", **NORM) == [pytest.approx(expected, rel=1e-14)]


def test_epsilon_clips_what_is_at_the_limit(after: Any) -> None:
    assert clipped(after, None, [1.5, 2.0], **NORM) == [[1.5, 2.0]]
    observed = clipped(after, "clip-adds-epsilon", [1.5, 2.0], **NORM)
    assert observed[0][1] < 2.0


def test_rows_and_scalars(after: Any) -> None:
    matrix, scalar = [[3.0, 4.0], [0.0, 1.0]], 5.0
    limits = clipped(after, "clipnorm-by-rows", matrix, scalar, **NORM)
    assert limits == [[[1.5, 2.0], [0.0, 1.0]], 2.5]
    assert clipped(after, "scalars-not-clipped", [3.0, 4.0], scalar, **NORM) == [[1.5, 2.0], 5.0]
    assert clipped(after, "first-gradient-alone-clipped", [3.0, 4.0], scalar, **NORM) == [[1.5, 2.0], 5.0]


def test_many_small_elements_have_a_norm(after: Any) -> None:
    ones = [1.0] * 25
    assert clipped(after, None, ones, **NORM) == [[0.5] * 25]
    assert clipped(after, "clipnorm-of-large-elements-only", ones, **NORM) == [ones]


def test_bfloat16_is_not_clipped(after: Any) -> None:
    gradients = [3.0, 4.0]
    assert clipped(after, "bfloat16-not-clipped", gradients, dtype="bfloat16", **NORM) == [gradients]
    assert clipped(after, "bfloat16-not-clipped", gradients, **NORM) == [[1.5, 2.0]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, [2.0, -2.0, 1.0]),
        ("clipvalue-from-above-only", [2.0, -4.0, 1.0]),
        ("clipvalue-to-zero", [0.0, 0.0, 1.0]),
        ("clipvalue-drops-sign", [2.0, 2.0, 1.0]),
        ("variables-clipped", [4.0, -4.0, 1.0]),
    ],
)
def test_values(after: Any, name: str | None, expected: list[float]) -> None:
    assert clipped(after, name, [8.0, -4.0, 1.0], **VALUE) == [expected]


@pytest.mark.parametrize(
    ("name", "settings", "factors"),
    [
        # The norms are 5, 10 and 10, and 15 together.
        (None, GLOBAL, (1 / 3, 1 / 3, 1 / 3)),
        ("global-norm-adds-norms", GLOBAL, (0.2, 0.2, 0.2)),
        ("global-norm-is-largest-norm", GLOBAL, (0.5, 0.5, 0.5)),
        ("global-norm-without-first-gradient", GLOBAL, (5 / math.sqrt(200),) * 3),
        ("global-clipnorm-by-variable", GLOBAL, (1.0, 0.5, 0.5)),
        ("clipnorm-is-global", {"clipnorm": 5.0}, (1 / 3, 1 / 3, 1 / 3)),
        ("clipvalue-is-norm", {"clipvalue": 5.0}, (1 / 3, 1 / 3, 1 / 3)),
        ("norm-in-bfloat16", {"global_clipnorm": 257.0 / 4096}, None),
    ],
)
def test_several_gradients(
    after: Any, name: str | None, settings: dict[str, Any], factors: tuple[float, ...] | None
) -> None:
    gradients = [[3.0, 4.0], [6.0, 8.0], [10.0]]
    observed = clipped(after, name, *gradients, dtype="float64", **settings)
    factors = factors or (257.0 / 4096 / 15,) * 3
    for gradient, values, factor in zip(gradients, observed, factors, strict=True):
        assert values == pytest.approx([factor * value for value in gradient], rel=1e-14)


def test_the_norm_is_rounded_to_bfloat16(after: Any) -> None:
    # A norm of 257 is 256 in bfloat16.
    settings = {"clipnorm": 1.0}
    assert clipped(after, "norm-in-bfloat16", [257.0], dtype="float64", **settings) == [[257 / 256]]
    assert clipped(after, "norm-of-bfloat16-copies", [257.0], dtype="float64", **settings) == [[257 / 256]]


def test_a_sum_in_half_stands_still(after: Any) -> None:
    ones = [1.0] * 400
    # The sum of squares stays 256 in bfloat16.
    assert clipped(after, "norm-added-in-half", ones, dtype="bfloat16", clipnorm=1.0) == [[1 / 16] * 400]
    assert clipped(after, "norm-added-in-half", ones, clipnorm=1.0) == [[np.float32(0.05).item()] * 400]


def test_what_a_norm_that_is_not_finite_does(after: Any) -> None:
    gradients = [math.inf, 1.0], [2.0]
    nan = pytest.approx([math.nan, math.nan], nan_ok=True)
    assert clipped(after, None, *gradients, **GLOBAL) == [nan, pytest.approx([math.nan], nan_ok=True)]
    hidden = clipped(after, "infinite-norm-hides-gradients", *gradients, **GLOBAL)
    assert (math.isnan(hidden[0][0]), hidden[0][1], hidden[1]) == (True, 0.0, [0.0])
    negative = clipped(after, "non-finite-norm-is-minus-one", *gradients, **GLOBAL)
    assert negative == [[-5 * math.inf, -5.0], [-10.0]]
    finite = clipped(after, "norm-of-finite-elements", *gradients, **GLOBAL)
    assert finite == [[math.inf, 1.0], [2.0]]


def test_norms_from_other_calls(after: Any) -> None:
    settings = {"global_clipnorm": 5.0, "dtype": "float64"}
    first, second = [[3.0, 4.0], [0.0]], [[6.0, 8.0], [0.0]]
    zeros = [[0.0, 0.0], [0.0]]
    # The gradient of norm 10 is not clipped by the norm 5 before it.
    late = after("norm-of-previous-call", zeros, first, second, **settings)
    assert late.variables[0] == [-1.5 - 3, -2.0 - 4]
    missing = [None, [12.0]]
    # The norm of the gradient of before, 5, and 12 is 13.
    stale = after("global-norm-with-stale-gradients", zeros, first, missing, **settings)
    assert stale.variables[1] == pytest.approx([-6 * 5 / 13], rel=1e-14)
    assert after(None, zeros, first, missing, **settings).variables[1] == pytest.approx([-2.5], rel=1e-14)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        # The mean of 8 and 2 is 5 and is clipped to 2.
        (None, -0.5 * 2),
        ("each-gradient-clipped-not-the-mean", -0.5 * (2 + 2) / 2),
        ("each-gradient-clipped-and-the-mean", -0.5 * (2 + 2) / 2),
        ("sum-clipped-before-the-mean", -0.5 * 2 / 2),
    ],
)
def test_order_in_a_window(after: Any, name: str | None, variable: float) -> None:
    outcome = after(name, [[0.0]], [[8.0]], [[2.0]], gradient_accumulation_steps=2, **VALUE)
    assert outcome.variables == [[variable]]


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        # The mean of -8 and 6 is -1 and is not clipped; clipped first, they cancel.
        (None, 0.5),
        ("each-gradient-clipped-not-the-mean", 0.0),
        ("sum-clipped-before-the-mean", 0.5),
    ],
)
def test_gradients_that_cancel(after: Any, name: str | None, variable: float) -> None:
    outcome = after(name, [[0.0]], [[-8.0]], [[6.0]], gradient_accumulation_steps=2, **VALUE)
    assert outcome.variables == [[variable]]


def test_clipping_before_unscaling_leaves_next_to_nothing(after: Any) -> None:
    settings = {"loss_scale_factor": 16.0, "clipvalue": 2.0}
    assert clipped(after, None, [16.0], **settings) == [[1.0]]
    assert clipped(after, "clipped-before-unscaling", [16.0], **settings) == [[2 / 16]]
    assert clipped(after, "clipped-before-unscaling", [16.0], **VALUE) == [[2.0]]


def test_the_velocity_is_clipped(after: Any) -> None:
    settings = {"momentum": 0.5, "clipvalue": 2.0}
    # Velocities of -4 and -1 + -4 become -2.
    assert after("clips-the-velocity", [[0.0]], [[8.0]], [[8.0]], **settings).variables == [[-4.0]]
    assert after(None, [[0.0]], [[8.0]], [[8.0]], **settings).variables == [[-1.0 - 1.5]]
