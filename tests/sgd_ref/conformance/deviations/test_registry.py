from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, LossScaleOptimizer, conformance
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, nearest
from sgd_ref.conformance import Case
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.conformance.deviations.mistakes import MISTAKES
from sgd_ref.conformance.deviations.observed.subnormals import FlushedArray, flush
from sgd_ref.conformance.diagnosis.attribution import explain
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare, equal_bits

SHOWN_BY = {
    "reciprocal-of-scale-in-float32": "named/alone/scale-decimal/float64",
    "subnormals-flushed": "named/scale-stays-normal",
    "count-wraps": "named/count-above-the-integers-of-32-bits",
    "rate-frozen": "axes/momentum/callable",
    "rate-not-rounded": "axes/float64/momentum/accumulation-2/callable/decimal",
    "restart-missed": "named/thirteenth-restart",
    "quotient-in-float32": "named/single-precision-restart",
    "quotient-by-reciprocal": "named/single-precision-restart",
    "polynomial-remainder-fused": "named/polynomial-ends-at-its-end",
    "boundary-wraps": "named/boundary-above-the-integers-of-32-bits",
    "settings-become-integers": "named/integer-rate-of-a-schedule",
    "schedule-in-float32": "named/thirteenth-restart",
    "averages-on-every-call": "named/averages-while-accumulating",
    "first-average-computed": "named/overwrite-not-due",
    "overwrite-blends": "named/overwrite-not-due",
    "average-by-difference": "named/overwrite-not-due",
    "averages-fused": "named/float64-settings",
    "half-averages-with-float32-momentum": ("axes/float16/averages/piecewise/missing"),
    "accumulator-kept-without-gradient": "named/missing-on-update-call",
    "accumulator-used-without-gradient": "named/missing-on-update-call",
    "accumulator-reset-by-multiplication": "named/averages-while-accumulating",
    "mean-by-reciprocal": "named/mean-of-three",
    "bfloat16-mean-by-reciprocal": (
        "axes/bfloat16/exclusion/clipvalue/overwrite/accumulation-3/piecewise/special"
    ),
    "unscale-with-rate": "named/unscale-by-three",
    "unscale-by-reciprocal": "named/unscale-by-three",
    "float16-unscale-by-reciprocal": ("axes/float16/nesterov/decay/fixed-96/piecewise/missing/decimal"),
    "single-unscale-by-reciprocal": ("axes/momentum/fixed-96"),
    "bfloat16-unscale-by-reciprocal": ("axes/bfloat16/clipvalue/fixed-96/sparse"),
    "unscale-in-dtype-of-gradient": "named/large-scale-of-half-gradients",
    "quotient-in-dtype-of-gradient": "named/half-gradient-of-a-wider-variable",
    "wide-unscaled-gradients": ("axes/bfloat16/clipnorm/overwrite/dynamic/restarts/missing/decimal"),
    "scale-without-limits": "named/scale-stays-finite",
    "scalar-gradients-in-float32": ("axes/bfloat16/nesterov/clipvalue"),
    "rows-merged-late": "named/sparse-rows-are-unscaled",
    "rows-clipped-one-by-one": "named/duplicate-rows-are-added-before-clipping",
    "clipping-through-float32": "named/float64-settings",
    "clipnorm-by-reciprocal": "named/clipping-without-need",
    "clipnorm-by-one-factor": "named/clipping-without-need",
    "clipnorm-not-rounded": "axes/mixed/momentum/clipnorm/inverse_time/decimal",
    "global-clipnorm-not-rounded": (
        "axes/float16/momentum/global_clipnorm/overwrite/accumulation-2/fixed/special/decimal"
    ),
    "global-clip-with-rate": "named/missing-under-global-norm-float16",
    "norm-of-half-norms": "axes/mixed/global_clipnorm/fixed/cosine/decimal",
    "norm-summed-in-another-order": "named/squares-overflow",
    "norm-of-rounded-squares": "named/squares-overflow",
    "exclusion-by-pattern": "named/exclusion-is-a-substring",
    "zero-decay-skipped": "named/infinite-weight-without-decay",
    "decay-by-one-factor": "axes/exclusion/accumulation-2/callable/decimal",
    "decay-factor-in-single": "named/float64-settings",
    "decay-fused": "named/float64-settings",
    "decay-reassociated": "axes/exclusion/accumulation-2/callable/decimal",
    "update-fused": "named/float64-settings",
    "update-in-fused-steps": "named/nesterov-adds-once",
    "half-update-in-blocks": "named/update-below-half-a-unit",
    "momentum-through-float32": "named/float64-settings",
    "averaging-through-float32": "named/float64-settings",
}

# No standard case tells these apart: the scale is 0 or a power of two in the half type, and weights times
# ``1 - 0.0 * learning_rate`` are not decayed.
TWINS = {
    "zero-decay-skipped": {"decay-by-one-factor"},
    "unscale-in-dtype-of-gradient": {"unscale-with-rate", "float16-unscale-by-reciprocal"},
    "quotient-in-dtype-of-gradient": {"unscale-in-dtype-of-gradient", "float16-unscale-by-reciprocal"},
}


# The mistakes have tests of their own.
OBSERVED = tuple(name for name in DEVIATIONS if name not in {mistake.name for mistake in MISTAKES})


@cache
def standard_cases() -> Mapping[str, Case]:
    return MappingProxyType({case.id: case for case in conformance.cases() if case.made is None})


def test_every_deviation_has_a_case_that_shows_it() -> None:
    assert SHOWN_BY.keys() == set(OBSERVED)


@pytest.mark.share(4)
@pytest.mark.parametrize("name", SHOWN_BY)
def test_a_deviation_changes_bits_and_is_found_by_them(name: str, sweep: Any) -> None:
    case = standard_cases()[SHOWN_BY[name]]
    observed = reference.run(case, *compose([name]))
    assert not compare(case, reference.run(case), observed).equal
    assert explain(case, observed, [name]).names == (name,)
    same = {name} | TWINS.get(name, set())
    assert {
        other for other in OBSERVED if compare(case, observed, reference.run(case, *compose([other]))).equal
    } == same
    # Nor does the diagnosis take another one for it, which costs more than a run.
    others = sorted(set(OBSERVED) - same)
    chosen = sweep.generator.choice(others, sweep.count(len(others)), replace=False).tolist()
    assert {other for other in (*same, *chosen) if explain(case, observed, [other]).complete} == same


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_deviation_says_what_it_is(name: str) -> None:
    deviation = DEVIATIONS[name]
    assert deviation.name == name
    assert deviation.kind in ("contradiction", "rounding")
    assert deviation.summary.endswith(".")
    assert "Evidence:" in deviation.description


def test_deviations_run_on_every_case(sweep: Any) -> None:
    cases = list(standard_cases().values())
    pairs = [(name, case) for name in OBSERVED for case in cases]
    chosen = sweep.generator.choice(len(pairs), sweep.count(len(pairs), 60), replace=False)
    for index in chosen:
        name, case = pairs[index]
        assert len(reference.run(case, *compose([name]))) == len(case.gradients) + case.finalize


def test_the_composition_of_nothing_is_the_reference() -> None:
    case = standard_cases()["named/float64-settings"]
    assert compare(case, reference.run(case), reference.run(case, *compose([]))).equal


def test_compositions_do_not_depend_on_the_order_of_names() -> None:
    names = ["update-fused", "scale-without-limits", "averages-on-every-call"]
    assert compose(names) == compose(reversed(names))


def test_all_deviations_compose() -> None:
    optimizer_class, wrapper_class = compose(DEVIATIONS)
    for deviation in DEVIATIONS.values():
        assert issubclass(optimizer_class, deviation.optimizer)
        assert issubclass(wrapper_class, deviation.wrapper)
    assert issubclass(optimizer_class, SGD)
    assert issubclass(wrapper_class, LossScaleOptimizer)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"names must be names of deviations, .*got 'averages'"):
        compose(["update-fused", "averages"])


def test_a_misspelt_name_is_answered_with_similar_ones_in_a_short_message() -> None:
    with pytest.raises(ValueError, match=r"such as clip-adds-epsilon, .*got 'clip-add-epsilon'") as refused:
        compose(["clip-add-epsilon"])
    assert len(str(refused.value)) < 300


def exact_multiply_add(a: Any, b: Any, c: Any, dtype: np.dtype[Any]) -> Any:
    x, y, z = float(a), float(b), float(c)
    if math.isfinite(x) and math.isfinite(y) and math.isfinite(z):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        if exact:
            return nearest(exact, dtype)
    with np.errstate(all="ignore"):
        return np.asarray(np.float64(x) * np.float64(y) + np.float64(z)).astype(dtype)[()]


def numbers(generator: np.random.Generator, count: int, spread: int, dtype: np.dtype[Any]) -> Array:
    special = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, 2.0**-1074, 2.0**-149, 1.7e308, 65504.0]
    values = generator.standard_normal(count) * 2.0 ** generator.integers(-spread, spread, count)
    places = generator.random(count) < 0.1
    values[places] = generator.choice(special, np.count_nonzero(places))
    return convert(values, dtype)


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("spread", [30, 130, 1000])
@pytest.mark.parametrize("cancels", [False, True])
def test_fused_multiply_add_rounds_once(dtype: np.dtype[Any], spread: int, cancels: bool, sweep: Any) -> None:
    count = sweep.count(4000)
    with np.errstate(all="ignore"):
        a, b = (numbers(sweep.generator, count, spread, dtype) for _ in range(2))
        c = -(a * b) if cancels else numbers(sweep.generator, count, spread, dtype)
    expected = np.array([exact_multiply_add(*abc, dtype) for abc in zip(a, b, c, strict=True)], dtype)
    result = fused_multiply_add(a, b, c)
    assert result.dtype == dtype
    assert equal_bits(expected, result).all()


def test_fused_multiply_add_broadcasts() -> None:
    result = fused_multiply_add(np.float32(2), np.ones((2, 3), FLOAT32), np.float32(1))
    assert result.shape == (2, 3)
    assert fused_multiply_add(np.float64(2), np.array(3.0), np.array(1.0)).shape == ()


def test_fused_multiply_add_flushes_with_flushed_arrays() -> None:
    tiny = np.array([2.0**-127], FLOAT32)
    assert fused_multiply_add(np.float32(1), tiny, np.float32(0))[0] == tiny[0]
    for dtype in (FLOAT32, FLOAT64, BFLOAT16):
        smallest = float(FORMATS[dtype].smallest_normal)
        operand = convert(np.array([smallest, smallest / 2]), dtype).view(FlushedArray)
        half = convert(np.array([0.5]), dtype)[0]
        zero = convert(np.array([0.0]), dtype)[0]
        assert not np.asarray(fused_multiply_add(half, operand, zero)).any()
        assert not np.asarray(fused_multiply_add(zero, zero, operand))[1]
        large = convert(np.array([2.0**20]), dtype)[0]
        assert not np.asarray(fused_multiply_add(large, operand, zero))[1]


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64, BFLOAT16], ids=str)
def test_subnormal_numbers_are_flushed_with_their_sign(dtype: np.dtype[Any]) -> None:
    normal = float(FORMATS[dtype].smallest_normal)
    array = convert(np.array([normal / 2, -normal / 4, normal, -0.0, math.inf, math.nan]), dtype)
    expected = convert(np.array([0.0, -0.0, normal, -0.0, math.inf, math.nan]), dtype)
    assert equal_bits(expected, flush(array)).all()
    flushing = array.view(FlushedArray)
    with np.errstate(invalid="ignore"):
        assert equal_bits(expected, np.asarray(flushing * convert(np.array(1.0), dtype))).all()
    assert not np.asarray(flushing[2:3] * convert(np.array(0.5), dtype)).any()


def test_what_is_computed_from_flushed_arrays_is_flushed_in_turn() -> None:
    array = np.array([1.0, 2.0], FLOAT32).view(FlushedArray)
    scalar = np.array(1.0, FLOAT32).view(FlushedArray)
    for result in (array + array, 2 - array, scalar * scalar, np.where(array > 1, array, 0 * array)):
        assert isinstance(result, FlushedArray)


def test_float16_is_not_flushed() -> None:
    array = np.array([2.0**-20], FLOAT16)
    assert flush(array)[0] == array[0]


@pytest.mark.parametrize("name", ["update-in-fused-steps", "half-update-in-blocks"])
def test_an_update_of_other_dtypes_is_that_of_the_definition(name: str) -> None:
    case = standard_cases()["axes/float16" if name == "update-in-fused-steps" else "axes/plain"]
    assert compare(case, reference.run(case), reference.run(case, *compose([name]))).equal


def test_half_updates_depend_on_the_place_of_an_element() -> None:
    generator = np.random.default_rng(0)
    w, g = (convert(generator.standard_normal(70), FLOAT16) for _ in range(2))
    results = []
    for optimizer_class in (SGD, compose(["half-update-in-blocks"])[0]):
        variable = w.copy()
        optimizer_class(0.1).apply([g], [variable])
        results.append(variable)
    differing = np.flatnonzero(results[0] != results[1])
    assert len(differing) > 0
    assert differing.max() < 64
