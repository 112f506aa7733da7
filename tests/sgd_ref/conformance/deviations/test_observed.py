"""Deviations that libraries show, worked out by hand: what is accumulated, clipped, decayed and averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.trajectories import reference

USED = "accumulator-used-without-gradient"


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        # The definition resets 4 unused; the mean of 4 and nothing is 2.
        (None, 8.0),
        (USED, 8 - 0.5 * 2),
        ("accumulator-kept-without-gradient", 8.0),
    ],
)
def test_no_gradient_at_the_end_of_a_window(after: Any, name: str | None, variable: float) -> None:
    calls = [[4.0], [0.0]], [None, [0.0]]
    outcome = after(name, [[8.0], [0.0]], *calls, gradient_accumulation_steps=2)
    assert outcome.variables[0] == [variable]


def test_no_gradient_in_a_window(after: Any) -> None:
    calls = [[4.0], [0.0]], [None, [0.0]], [None, [0.0]], [None, [0.0]]
    outcome = after(USED, [[8.0], [0.0]], *calls, gradient_accumulation_steps=2, momentum=0.5)
    assert (outcome.variables[0], outcome.velocities[0]) == ([7.0], [-1.0])


def test_a_window_that_was_resumed_has_accumulators(after: Any) -> None:
    def after_one_call(weights: list[Any]) -> None:
        weights[0][...] = 1
        weights[-2][...] = -2.0

    settings = {"gradient_accumulation_steps": 2, "momentum": 0.5}
    calls = [[None, [0.0]]]
    assert after(None, [[8.0], [0.0]], *calls, state=after_one_call, **settings).variables[0] == [8.0]
    assert after(USED, [[8.0], [0.0]], *calls, state=after_one_call, **settings).variables[0] == [7.0]


@pytest.mark.parametrize(
    ("momentum", "gradients", "average"),
    [
        # Weights that were infinite before, and weights that become infinite.
        (0.75, (-np.inf, 0.0), np.nan),
        (0.25, (-np.inf, 0.0), np.nan),
        (0.75, (0.0, -np.inf), np.inf),
        (0.25, (0.0, -np.inf), np.nan),
        (0.75, (4.0, 4.0), 0.75 * 6 + 0.25 * 4),
    ],
)
def test_infinity_is_subtracted_from_itself(
    after: Any, momentum: float, gradients: tuple[float, float], average: float
) -> None:
    calls = [[[gradient]] for gradient in gradients]
    outcome = after("average-by-difference", [[8.0]], *calls, use_ema=True, ema_momentum=momentum)
    # Unlike numbers, texts of NaN are equal.
    assert str(outcome.averages) == str([[float(average)]])


def test_half_norms_are_rounded_before_they_are_added() -> None:
    # The square of 2**-6 is lost as the norm of the first gradient is rounded.
    gradients = [np.array([1, 2.0**-6], "float16"), np.zeros(2, "float32")]
    observed = DEVIATIONS["norm-of-half-norms"].optimizer()
    assert (observed.norm(gradients), observed.norm(gradients).dtype) == (1.0, np.float32)
    assert SGD().norm(gradients) == np.float32(np.sqrt(1 + 2.0**-12)) > 1
    assert observed.norm(gradients[:1]) == SGD().norm(gradients[:1])


@pytest.mark.parametrize(
    ("name", "weight_decay", "variable"),
    [
        (None, 0.0, np.nan),
        ("zero-decay-skipped", 0.0, np.inf),
        ("zero-decay-skipped", 0.5, np.nan),
    ],
)
def test_decay_by_zero(after: Any, name: str | None, weight_decay: float, variable: float) -> None:
    outcome = after(name, [[np.inf, 8.0]], [[0.0, 0.0]], weight_decay=weight_decay)
    assert str(outcome.variables) == str([[float(variable), 8 - 8 * weight_decay * 0.5]])


def test_one_gradient_is_clipped_together_with_the_rate(after: Any) -> None:
    half = np.float16
    gradient = np.array([3, 4, 12], half)
    factor = half(1.7) * (half(1) / half(13))
    together, apart = -(gradient * (factor * half(0.2))), -(gradient * factor * half(0.2))
    assert (together != apart).any()
    settings: dict[str, Any] = {"global_clipnorm": 1.7, "learning_rate": 0.2, "dtype": "float16"}
    name, zeros, given = "global-clip-with-rate", [0.0] * 3, gradient.tolist()
    assert after(name, [zeros], [given], **settings).variables == [together.tolist()]
    assert after(None, [zeros], [given], **settings).variables == [apart.tolist()]
    # Two gradients share the factor, which then stays by itself.
    assert after(name, [zeros, zeros], [given, zeros], **settings).variables == [apart.tolist(), zeros]


@pytest.mark.parametrize("fixed", [True, False])
def test_the_reciprocal_of_the_scale_has_the_digits_of_float32(after: Any, fixed: bool) -> None:
    scale = {"loss_scale_factor": 3.0} if fixed else {"loss_scale": 3.0}

    def left(name: str | None, dtype: str) -> Any:
        return after(name, [[0.0]], [[6.0]], dtype=dtype, learning_rate=1.0, **scale).variables

    name = "reciprocal-of-scale-in-float32"
    assert left(name, "float64") == [[-6 * float(np.float32(1 / 3))]] != left(None, "float64") == [[-2.0]]
    assert left(name, "float32") == left(None, "float32") == [[-2.0]]


def test_averages_of_a_call_without_update_are_copied_at_the_end() -> None:
    case = next(case for case in cases() if case.id == "named/narrow/finalized-before-any-update")
    names = ["averages-on-every-call", "first-average-computed"]
    last = reference.run(case, *compose(names))[-1]["variables"][0]
    # The computed average has lost the sign of a zero, and then the variable has, too.
    assert last.tobytes() == np.array([1.0, 0.0], "f4").tobytes()
    assert reference.run(case)[-1]["variables"][0].tobytes() == np.array([1.0, -0.0], "f4").tobytes()
