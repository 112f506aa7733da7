"""The stored bounds: every faithful evaluation lies inside, what is known to be wrong outside."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32, Array
from sgd_ref.arithmetic.rounded import convert, nearest
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.golden.content.bounds import (
    Bound,
    allowed,
    bounds_from_json,
    bounds_of,
    bounds_to_json,
    first_outside,
)
from sgd_ref.conformance.golden.content.deviations import is_outside
from sgd_ref.conformance.golden.content.kill_matrix import exposed_by_case
from sgd_ref.conformance.golden.format.entries import Entry
from sgd_ref.conformance.trajectories import reference
from tests.conftest import Sweep

SEEN_ONLY_BY_A_JUDGE = {"unscaled-in-place", "clipped-in-place", "summed-in-place", "decayed-in-place"}
"""They spoil the gradients of their caller, but nothing of their own."""

ANSWERS = {"accumulator-kept-without-gradient", "accumulator-used-without-gradient", "scale-without-limits"}
"""They answer an open question otherwise, so that no case is for them."""


def one_call(w: float, g: float, rate: float) -> Case:
    arrays = [np.array([value], np.float32) for value in (w, g)]
    config = PLAIN_CONFIG | {"learning_rate": rate}
    return Case("one", config, ("w",), (arrays[0],), ((arrays[1],),))


def bound_of(case: Case) -> Bound | None:
    bounds = bounds_of(case, reference.run(case))
    return None if bounds is None else bounds[0]["variables"][0]


def test_a_fused_multiply_add_is_inside_and_nothing_beyond_is() -> None:
    w, g, rate = (float(np.float32(value)) for value in (1.1, 0.7, 0.1))
    fused = nearest(Fraction(w) - Fraction(rate) * Fraction(g), FLOAT32)
    twice = nearest(Fraction(w) - Fraction(float(nearest(Fraction(rate) * Fraction(g), FLOAT32))), FLOAT32)
    # The product with the rate that was given, 0.1, is another reading of the setting.
    double = nearest(Fraction(w) - Fraction(0.1) * Fraction(g), FLOAT32)
    results = [fused, twice, double]
    bound = bound_of(one_call(w, g, 0.1))
    if bound is None:
        assert len(set(results)) == 1
    else:
        assert (float(bound.lower[0]), float(bound.upper[0])) == (
            float(min(results)),
            float(max(results)),
        )


def test_settings_that_are_kept_in_double_are_inside_to_the_last_call() -> None:
    generator = np.random.default_rng(5)
    start = convert(generator.normal(size=50), BFLOAT16)
    gradients = [convert(generator.normal(size=50), BFLOAT16) for _ in range(6)]
    config = PLAIN_CONFIG | {"learning_rate": 0.1, "momentum": 0.9}
    case = Case("kept", config, ("w",), (start,), tuple((gradient,) for gradient in gradients))
    w, v = start, np.zeros_like(start)
    trajectory = []
    for gradient in gradients:
        v = convert(0.9 * v.astype(float) - 0.1 * gradient.astype(float), BFLOAT16)
        w = convert(w.astype(float) + v.astype(float), BFLOAT16)
        trajectory.append({"variables": [w], "velocities": [v]})
    expected = reference.run(case)
    assert first_outside(expected, None, trajectory) is not None
    assert first_outside(expected, bounds_of(case, expected), trajectory) is None


def test_what_is_not_rounded_has_no_bound() -> None:
    assert bound_of(one_call(1.0, 0.5, 0.25)) is None


def test_a_zero_that_was_computed_may_have_either_sign() -> None:
    bound = bound_of(one_call(0.5, 1.0, 0.5))
    assert bound is not None
    zeros = np.array([0.0, -0.0], np.float32)
    for zero in zeros:
        assert bound.holds(np.array([zero])).all()
    assert not bound.holds(np.array([np.float32(2.0**-149)])).any()


def test_a_zero_that_was_copied_keeps_its_sign() -> None:
    case = replace(one_call(-0.0, 1.0, 0.5), gradients=((None,), (np.ones(1, np.float32),)))
    case = replace(
        case,
        names=("w", "v"),
        variables=(*case.variables, np.ones(1, np.float32)),
        gradients=((None, np.ones(1, np.float32)),),
    )
    expected = reference.run(case)
    assert bounds_of(case, expected) is None
    other = [{**expected[0], "variables": [np.zeros(1, np.float32), expected[0]["variables"][1]]}]
    assert first_outside(expected, None, other) == (0, "variables", 0, (0,))


def test_nan_is_allowed_only_where_it_is_said() -> None:
    bound = Bound(
        np.array([np.nan, 1.0, 1.0], np.float32),
        np.array([np.nan, 2.0, 2.0], np.float32),
        np.array([True, True, False]),
    )
    nan, number = np.full(3, np.nan, np.float32), np.full(3, 1.5, np.float32)
    assert bound.holds(nan).tolist() == [True, True, False]
    assert bound.holds(number).tolist() == [False, True, True]


def test_an_infinite_result_may_be_nan_where_infinities_may_meet() -> None:
    case = one_call(np.inf, 1e38, 100.0)
    bound = bound_of(case)
    assert bound is not None
    assert bound.holds(np.array([np.nan], np.float32)).all()
    assert bound.holds(np.array([np.inf], np.float32)).all()


def test_the_stored_bounds_of_small_cases_are_those_that_are_derived(
    entries: list[Entry], sweep: Sweep
) -> None:
    small = [entry for entry in entries if entry.case.id.startswith("first/")]
    assert any(record["learning_rate"] for entry in small for record in entry.bounds or ())
    for index in sweep.generator.permutation(len(small))[: sweep.count(len(small), 4)]:
        entry = small[index]
        derived = bounds_to_json(bounds_of(entry.case, entry.expected), entry.expected)
        assert derived == bounds_to_json(entry.bounds, entry.expected), "run sgd-ref golden write"


def test_bounds_as_json_are_the_same_bounds(entries: list[Entry]) -> None:
    for entry in entries[::10]:
        document = json.loads(json.dumps(bounds_to_json(entry.bounds, entry.expected)))
        again = bounds_from_json(document, entry.expected)
        assert bounds_to_json(again, entry.expected) == document


def test_bounds_that_do_not_fit_are_refused(entries: list[Entry]) -> None:
    entry = next(entry for entry in entries if entry.bounds is not None)
    document = bounds_to_json(entry.bounds, entry.expected)
    assert document is not None
    with pytest.raises(ValueError, match=r"bounds must have \d+ records, got \d+"):
        bounds_from_json(document[1:], entry.expected)
    with pytest.raises(ValueError, match="the keys of bounds must be"):
        bounds_from_json([{} for _ in document], entry.expected)
    with pytest.raises(ValueError, match="bounds of variables must have one part for each array"):
        bounds_from_json([{**part, "variables": []} for part in document], entry.expected)


def test_the_reference_is_inside_everywhere_and_its_neighbours_are_outside_of_points(
    entries: list[Entry],
) -> None:
    for entry in entries:
        assert first_outside(entry.expected, entry.bounds, entry.expected) is None
    for entry in entries:
        # Of big cases there are digests.
        if entry.bounds is None and entry.case.made is None:
            for quantity in ("variables", "velocities", "averages"):
                for array in entry.expected[0][quantity]:
                    numbers = np.array(array[~np.isnan(array)])
                    assert not allowed(numbers, None, _next(numbers)).any()


def _next(array: Array) -> Array:
    return (array.view(f"u{array.itemsize}") ^ 1).view(array.dtype)


def test_every_faithful_variant_is_inside(entries: list[Entry], sweep: Sweep) -> None:
    variants = [variant for variant in FAITHFUL.values() if not variant.flushes_subnormals]
    # A fused norm of a million elements takes half a minute.
    asked = [entry for entry in entries if sweep.complete or entry.case.made is None]
    pairs = [(variant, entry) for variant in variants for entry in asked]
    assert len(variants) >= 100
    chosen = sweep.generator.permutation(len(pairs))[: sweep.count(len(pairs), 120)]
    outside = []
    for index in chosen:
        variant, entry = pairs[index]
        place = first_outside(entry.expected, entry.bounds, variant.run(entry.case))
        if place is not None:
            outside.append((variant.name, entry.case.id, place))
    assert outside == []


def test_every_contradiction_is_outside_somewhere(entries: list[Entry]) -> None:
    inside = set()
    judged = exposed_by_case()
    for name, deviation in DEVIATIONS.items():
        if deviation.kind == "contradiction":
            exposing = sorted(
                (entry for entry in entries if name in judged.get(entry.case.id, entry.case.exposes)),
                key=lambda entry: sum(variable.size for variable in entry.case.variables),
            )
            if not any(is_outside(entry, name) for entry in exposing):
                inside.add(name)
    assert inside == SEEN_ONLY_BY_A_JUDGE | ANSWERS
