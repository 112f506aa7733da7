"""What real Optax is known for in both modes: each deviation by numbers, and the errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FLOAT16, Array
from sgd_ref.conformance.catalogue.case import Case, Record, State
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.protocol.worker import ImplementationError
from sgd_ref.conformance.targets.known import known_failure
from sgd_ref.conformance.targets.optax.known import KNOWN, KNOWN_DEVIATIONS, expected
from sgd_ref.conformance.targets.optax.launch import MODES, Optax
from sgd_ref.conformance.trajectories import reference

Start = Callable[[str], Optax]
on = pytest.mark.parametrize
in_both_modes = on("mode", MODES)

PLAIN: dict[str, Any] = {
    "learning_rate": 0.5,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.5,
    "ema_overwrite_frequency": None,
    "name": "SGD",
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


def case(variables: tuple[Array, ...], *calls: tuple[Any, ...], **changes: Any) -> Case:
    settings = {name: value for name, value in changes.items() if name in PLAIN}
    others = {name: value for name, value in changes.items() if name not in PLAIN}
    names = tuple(f"variable_{index}" for index in range(len(variables)))
    parts: dict[str, Any] = {"id": "one", "config": PLAIN | settings, "names": names, **others}
    return Case(variables=variables, gradients=calls, **parts)


def single(*values: float) -> Array:
    return np.array(values, np.float32)


def values_of(found: list[Record], quantity: str = "variables") -> list[list[float]]:
    """Return the first variable of each record."""
    return [record[quantity][0].tolist() for record in found]


def scheduled(name: str, config: dict[str, Any], **changes: Any) -> Case:
    """Return a case in which the k-th element of the variable becomes the rate of the k-th call."""
    calls = [(-np.eye(9, dtype=np.float32)[call],) for call in range(9)]
    rate = {"class_name": name.partition(" ")[0], "config": config}
    return case((np.zeros(9, np.float32),), *calls, learning_rate=rate, **changes)


ONE = single(1)

SATURATES = "count-saturates"
"""It shows in no variable."""

REMAINDER, FUSED = "polynomial-remainder-fused", "update-fused"
"""What is jitted only; that updates are fused is shown where the mapping is tested."""


@in_both_modes
def test_known_failures(start_optax: Start, mode: str) -> None:
    steps = {"boundaries": [3e9], "values": [0.25, 0.5]}
    large = scheduled("PiecewiseConstantDecay", steps | {"boundaries": [3_000_000_000]})
    many = replace(
        scheduled("PiecewiseConstantDecay", steps | {"boundaries": [2]}), state=State(calls=2**31 + 5)
    )
    for failing, name in ((large, "boundary-too-large"), (many, "count-too-large")):
        with pytest.raises(ImplementationError) as caught:
            start_optax(mode)(failing)
        assert known_failure(failing, str(caught.value), KNOWN[mode].failures) == name
        assert known_failure(case((ONE,), (ONE,)), str(caught.value), KNOWN[mode].failures) is None


def test_what_is_known_is_a_deviation() -> None:
    for known in KNOWN_DEVIATIONS:
        assert (DEVIATIONS[known.name].kind == "contradiction") == (known.name != FUSED), known.name
        assert known.evidence
    for mode in MODES:
        names = {name for one in cases("standard") for name in expected(one, mode)}
        assert names == set(KNOWN[mode].deviations)
        assert expected(case((ONE,), (ONE,), momentum=0.5), mode) == ()


BOUNDARIES = {"boundaries": [2], "values": [0.5, 0.25]}
HALVES = {"initial_learning_rate": 0.5, "decay_steps": 2, "decay_rate": 0.5, "staircase": True}
ZERO, INFINITY = single(0), single(np.inf)

# What Optax gives is worked out by hand from its source; the last record is compared.
SHOWN: dict[str, tuple[Case, list[float]]] = {
    # -1, then -1.9, and 0.1 of all three gradients then.
    "rate-outside-velocity": (
        case((ZERO,), (ONE,), (ZERO,), momentum=0.5, learning_rate=None, learning_rate_calls=(1.0, 0.25)),
        [-1.125],
    ),
    # Updates 0 to 3 have the rates 1/2, 1/2, 1/4 and 1/4; calls 1, 3, 5 and 7 halve each time.
    "schedule-counts-updates": (
        scheduled("ExponentialDecay", HALVES, gradient_accumulation_steps=2),
        [0.25, 0.25, 0.25, 0.25, 0.125, 0.125, 0.125, 0.125, 0.0],
    ),
    "boundary-excluded": (scheduled("PiecewiseConstantDecay", BOUNDARIES), [0.5, 0.5, *[0.25] * 7]),
    # 1 + 2**-40 is kept as 1.
    "accumulator-in-single": (
        case((np.zeros(1),), (np.array([1 + 2**-40]),), (np.ones(1),), gradient_accumulation_steps=2),
        [-0.5],
    ),
    # Zero times infinity would be NaN.
    "zero-decay-skipped": (case((INFINITY,), (ONE,), weight_decay=0.0), [np.inf]),
    # A variable with an axis: XLA selects where there is none.
    "updates-times-zero": (
        case((single(0, -0.0),), (single(np.inf, 1),), gradient_accumulation_steps=2),
        [np.nan, 0.0],
    ),
    # (inf - inf) / 2 is NaN where the sum of both is infinity, which clipvalue makes 1.
    "infinity-in-running-mean": (
        case((ZERO,), (INFINITY,), (INFINITY,), gradient_accumulation_steps=2, clipvalue=1.0),
        [np.nan],
    ),
    "accumulator-reset-by-multiplication": (
        case(
            (ZERO,), *[(g,) for g in (ONE, INFINITY, ONE, ONE)], gradient_accumulation_steps=2, clipvalue=1.0
        ),
        [np.nan],
    ),
    "norm-of-rounded-squares": (case((single(0, 0),), (single(3e20, 4e20),), clipnorm=5.0), [0.0, 0.0]),
    "infinite-norm-hides-gradients": (
        case((single(0, 0),), (single(np.inf, 4),), global_clipnorm=5.0),
        [np.nan, 0.0],
    ),
    # The scale is infinite in float16.
    "unscale-in-dtype-of-gradient": (
        case((np.zeros(1, FLOAT16),), (np.array([1000], FLOAT16),), loss_scale_factor=1e6),
        [0.0],
    ),
    # XLA divides where there is but one element. In float16 1/3 is 1365/4096, of which 5 times are
    # 1706.25/1024, and 5/3 are 1706.67/1024.
    "float16-unscale-by-reciprocal": (
        case((np.zeros(2, FLOAT16),), (np.array([5, 0], FLOAT16),), loss_scale_factor=3.0, learning_rate=1.0),
        [-1706 / 1024, 0.0],
    ),
    "subnormals-flushed": (case((single(2.0**-127),), (ZERO,)), [0.0]),
}


def test_everything_that_is_known_is_shown() -> None:
    assert {known.name for known in KNOWN_DEVIATIONS} == {*SHOWN, SATURATES, REMAINDER, FUSED}


@in_both_modes
@on("name", SHOWN)
def test_contradictions(start_optax: Start, mode: str, name: str) -> None:
    one, last = SHOWN[name]
    # Unlike numbers, texts tell zeros apart, and NaN is NaN.
    assert str(values_of(start_optax(mode)(one))[-1]) == str(last)
    assert str(values_of(reference.run(one))[-1]) != str(last)


@in_both_modes
def test_a_polynomial_misses_its_end_where_it_is_jitted(
    start_optax: Start, mode: str, xla_fuses: bool
) -> None:
    settings = {"initial_learning_rate": 0.5, "decay_steps": 7, "end_learning_rate": 0.0, "power": 1.0}
    one = scheduled("PolynomialDecay", settings)
    assert (REMAINDER in expected(one, mode)) == (mode == "jitted")
    # Seven times the rounded 1/7 is 1 + 3/2**26, and not rounded before 1 is subtracted.
    rate = -0.5 * 3 * 2.0**-26 if mode == "jitted" and xla_fuses else 0.0
    assert values_of(start_optax(mode)(one))[-1][7:] == [rate, rate]


@in_both_modes
def test_the_count_stays_at_the_largest_integer_of_32_bits(start_optax: Start, mode: str) -> None:
    one = replace(scheduled("ExponentialDecay", HALVES), state=State(calls=2**31 - 4))
    assert SATURATES in expected(one, mode)
    assert [record["calls"] - 2**31 for record in start_optax(mode)(one)][:4] == [-3, -2, -1, -1]


@in_both_modes
@on("name", SHOWN)
def test_what_is_shown_is_expected(mode: str, name: str) -> None:
    assert name in expected(SHOWN[name][0], mode)


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="mode must be one of eager, jitted, got 'jit'"):
        expected(case((ONE,), (ONE,)), "jit")
