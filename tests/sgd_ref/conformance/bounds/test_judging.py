"""The judge: the reference and faithful variants are inside, mistakes are outside, and readings are one."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from sgd_ref.conformance.bounds.judging import Judgement, judge
from sgd_ref.conformance.bounds.settings import APART, AVERAGING, KEPT, LEARNING_RATE
from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare

# Nothing is rounded in big cases, and no bounds are asked for.
STANDARD = {case.id: case for case in conformance.cases() if case.made is None}
SIZE = 200


def case_of(dtype: np.dtype[Any] = FLOAT32, **settings: Any) -> Case:
    generator = np.random.default_rng(1)
    variable, *gradients = (generator.standard_normal(SIZE).astype(dtype) for _ in range(5))
    calls = tuple((gradient,) for gradient in gradients)
    return Case("judging", PLAIN_CONFIG | settings, ("w",), (variable,), calls)


def descended(case: Case, rates: list[Any], decays: list[Any]) -> list[Record]:
    """The variables after steps with rates and decays that are given, computed in double."""
    w, records = case.variables[0], []
    for record, (gradient,), rate, decay in zip(
        reference.run(case), case.gradients, rates, decays, strict=True
    ):
        wide = w.astype(FLOAT64)
        w = (wide - wide * decay * rate - gradient.astype(FLOAT64) * rate).astype(w.dtype)
        records.append({"variables": [w], "calls": record["calls"]})
    return records


def verdict(case: Case, observed: list[Record], **options: Any) -> Judgement:
    return judge(case, reference.run(case), observed, **options)


def test_the_reference_is_inside_of_every_standard_case(sweep: Any) -> None:
    cases = list(STANDARD.values())
    for index in sweep.generator.choice(len(cases), sweep.count(len(cases)), replace=False):
        expected = reference.run(cases[index])
        for is_state_hidden in (False, True):
            assert judge(cases[index], expected, expected, is_state_hidden).is_faithful, cases[index].id


def test_faithful_variants_are_inside(sweep: Any) -> None:
    # A fused norm of a million elements takes half a minute.
    asked = [case for case in STANDARD.values() if sweep.complete or case.made is None]
    pairs = [(name, case) for name in FAITHFUL for case in asked]
    for index in sweep.generator.choice(len(pairs), sweep.count(len(pairs) // 12, 100), replace=False):
        name, case = pairs[index]
        variant = FAITHFUL[name]
        found = verdict(
            case,
            variant.run(case),
            is_state_hidden=variant.hidden_wider_state,
            flushes=variant.flushes_subnormals,
        )
        assert found.is_faithful, (name, case.id, found)


def test_what_differs_in_an_exact_case_is_outside(sweep: Any) -> None:
    exact = [case for case_id, case in STANDARD.items() if case_id.startswith("exact/")]
    pairs = [(name, case) for name in DEVIATIONS for case in exact]
    differing = 0
    for index in sweep.generator.choice(len(pairs), sweep.count(len(pairs) // 2, 60), replace=False):
        name, case = pairs[index]
        deviation = DEVIATIONS[name]
        observed = reference.run(case, deviation.optimizer, deviation.wrapper)
        for record in observed:
            record.pop("learning_rate", None)
        if compare(case, reference.run(case), observed).units > 0:
            differing += 1
            assert not verdict(case, observed).is_faithful, (name, case.id)
    assert differing > 20


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32], ids=str)
def test_settings_are_rounded_or_kept_in_a_whole_run(dtype: np.dtype[Any]) -> None:
    case = case_of(dtype, learning_rate=0.1, weight_decay=0.3)
    kept = verdict(case, descended(case, [0.1] * 4, [0.3] * 4))
    assert kept.is_faithful
    if dtype != FLOAT32:
        # There, a float32 is so near to the double that both give the same.
        assert kept.reading == {LEARNING_RATE: KEPT, "weight_decay": KEPT}
    rounded = float(np.array(0.1).astype(dtype)), float(np.array(0.3).astype(dtype))
    found = verdict(case, descended(case, [rounded[0]] * 4, [rounded[1]] * 4))
    assert found.is_faithful
    mixed = verdict(case, descended(case, [0.1] * 4, [rounded[1]] * 4))
    assert mixed.is_faithful
    changing = [rounded[0], 0.1, rounded[0], 0.1]
    assert verdict(case, descended(case, changing, [0.3] * 4)).is_faithful == (dtype == FLOAT32)
    wrong = [rate * 1.01 for rate in [rounded[0]] * 4]
    assert not verdict(case, descended(case, wrong, [0.3] * 4)).is_faithful


def test_the_complement_of_the_momentum_of_averages_may_be_rounded_apart() -> None:
    case = case_of(use_ema=True, ema_momentum=0.99)
    observed = copy.deepcopy(reference.run(case))
    momentum, complement = np.float32(0.99), np.float32(1 - 0.99)
    for before, record in pairwise(observed):
        record["averages"] = [momentum * before["averages"][0] + complement * record["variables"][0]]
    found = verdict(case, observed)
    assert found.is_faithful
    assert found.reading[AVERAGING] in (APART, KEPT)


def test_the_reading_that_went_farthest_is_told() -> None:
    case = case_of(learning_rate=0.1)
    observed = descended(case, [0.1] * 4, [0.0] * 4)
    observed[3]["variables"][0][7] += 1
    found = verdict(case, observed)
    assert found.reading == {LEARNING_RATE: KEPT}
    assert found.violation is not None
    assert (found.violation.call, found.violation.element) == (3, (7,))
    assert not found.is_faithful


def test_a_fault_in_any_call_is_found() -> None:
    case = case_of(momentum=0.5, use_ema=True)
    for call in range(4):
        for quantity in ("variables", "velocities", "averages"):
            observed = copy.deepcopy(reference.run(case))
            observed[call][quantity][0][-1] *= np.float32(1 + 1e-4)
            found = verdict(case, observed)
            assert found.violation is not None
            assert (found.violation.call, found.violation.element) == (call, (SIZE - 1,))


def test_nan_where_a_number_is_due_is_outside() -> None:
    case = case_of()
    observed = copy.deepcopy(reference.run(case))
    observed[2]["variables"][0][0] = np.nan
    assert not verdict(case, observed).is_faithful
    assert not verdict(case, observed, is_state_hidden=True).is_faithful
