"""Plain ground: every setting, dtype and telling value has a case in which nothing else is on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.conformance import Case, cases
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.named import plain_ground
from sgd_ref.conformance.catalogue.qualities import qualities
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.grading.coverage import NARROWER, discriminates
from sgd_ref.conformance.trajectories import reference

CASES = list(plain_ground.cases())
SETTINGS = (
    "momentum",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "ema_momentum",
    "loss_scale_factor",
)
FEATURES = ("update", "weight_decay", "clipping", "averages", "accumulation", "loss_scaling", "learning_rate")
FEWEST = 15


def features_on(case: Case) -> int:
    found = qualities(case)
    is_sparse_or_missing = found["gradients"] != {"dense"}
    return is_sparse_or_missing + sum(found[axis] != {PLAINEST[axis]} for axis in FEATURES)


def test_every_dtype_has_many_cases_with_one_feature_at_most() -> None:
    counts = Counter(
        case.variables[0].dtype.name
        for case in cases()
        if len({variable.dtype for variable in case.variables}) == 1 and features_on(case) <= 1
    )
    assert set(counts) == {dtype.name for dtype in FORMATS}
    assert min(counts.values()) >= FEWEST, counts


def test_nothing_else_is_on() -> None:
    for case in CASES:
        # What they are for needs two: decay by a rate of 0.0 comes from a callable, for example.
        both = ("after-unscaling", "infinity-clipped-in-windows", "first-average", "decay-called")
        assert features_on(case) <= 1 + any(words in case.id for words in both), case.id
        assert case.id.startswith("named/alone/")


@pytest.mark.parametrize("dtype", FORMATS, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_a_number_that_no_narrower_dtype_holds(name: str, dtype: np.dtype[Any]) -> None:
    values = [case.config[name] for case in CASES if case.variables[0].dtype == dtype and case.config[name]]
    assert any(
        all(float(setting(value, other)) != float(setting(value, dtype)) for other in NARROWER.get(dtype, ()))
        and float(setting(value, dtype)) != 2.0 ** round(np.log2(value))
        for value in values
    )


@pytest.mark.parametrize("dtype", FORMATS, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize(
    ("axis", "value"),
    [
        ("update", "momentum"),
        ("update", "nesterov"),
        ("weight_decay", "decay"),
        ("clipping", "clipnorm"),
        ("clipping", "clipvalue"),
        ("clipping", "global_clipnorm"),
        ("loss_scaling", "fixed-96"),
        ("accumulation", "3"),
    ],
)
def test_the_plainest_implementation_can_prove_each_feature_alone(
    axis: str, value: str, dtype: np.dtype[Any]
) -> None:
    mine = [case for case in CASES if case.variables[0].dtype == dtype and features_on(case) == 1]
    assert any(discriminates(case, axis, value) for case in mine)


@pytest.mark.share(3)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_case_exposes_what_it_is_for_with_variables_alone(case: Case) -> None:
    for name in case.exposes:

        def run(given: Case, name: str = name) -> Any:
            return [{"variables": record["variables"]} for record in reference.run(given, *compose([name]))]

        assert grade(run, case).grade == "diverges", name


def test_callables_return_zero_and_one() -> None:
    for case in CASES:
        if "/rate-called/" in case.id:
            assert {0.0, 1.0} <= set(case.learning_rate_calls or ())

            def never_zero(given: Case) -> Any:
                """What ``rate || 0.3`` of JavaScript does."""
                rates = tuple(rate or 0.3 for rate in given.learning_rate_calls or ())
                return reference.run(replace(given, learning_rate_calls=rates))

            assert grade(never_zero, case).grade == "diverges"
