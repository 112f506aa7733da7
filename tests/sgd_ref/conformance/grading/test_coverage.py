"""Coverage: what was graded and what never was is said, and a claim counts only where it matters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sgd_ref.conformance import Case, Profile, Unsupported, cases, check
from sgd_ref.conformance.catalogue.axes import AXES, PLAINEST
from sgd_ref.conformance.catalogue.qualities import BESIDE_AXES, FINDERS, qualities
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.grading.coverage import discriminates
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.reports.tables import summary_line
from sgd_ref.conformance.trajectories import reference

GRID = [case for case in cases() if case.features]


def with_features(**features: str) -> Case:
    return make_case(PLAINEST | features)


def float32_without_momentum(case: Case) -> Any:
    if case.config["momentum"] or {variable.dtype.name for variable in case.variables} != {"float32"}:
        raise Unsupported("momentum, other dtypes")
    return reference.run(case)


def test_every_axis_is_found_in_the_settings_and_numbers_of_a_case() -> None:
    assert list(FINDERS) == [*AXES, *BESIDE_AXES]
    for case in GRID:
        bare = qualities(replace(case, features=None))
        for axis, value in (case.features or {}).items():
            # Numbers are drawn, so that a schedule or a half type may have more than the axis says.
            if axis not in ("values", "settings"):
                assert value in bare[axis], (case.id, axis)


def test_what_was_never_graded_is_said_loudly() -> None:
    asked = [
        with_features(),
        with_features(update="momentum"),
        with_features(dtype="bfloat16", clipping="clipnorm"),
        with_features(update="nesterov", accumulation="2"),
    ]
    report = check(float32_without_momentum, asked, "a part")
    assert report.ok
    assert report.coverage.never_graded == {
        "dtype": ("bfloat16",),
        "update": ("momentum", "nesterov"),
        "clipping": ("clipnorm",),
        "accumulation": ("2",),
    }
    assert report.coverage.graded["dtype"] == {"float32": 1}
    said = "NEVER GRADED: dtype bfloat16; update momentum, nesterov; clipping clipnorm; accumulation 2"
    assert str(report).endswith(said)
    assert said in summary_line(Findings(report))
    assert "NEVER" not in str(check(reference.run, asked))
    assert check(reference.run, asked).coverage.in_words == ""


@pytest.mark.parametrize(
    ("case", "axis", "value"),
    [
        (with_features(update="momentum", settings="decimal"), "update", "momentum"),
        (with_features(dtype="float16", update="momentum"), "update", "momentum"),
        (with_features(averages="overwrite", settings="decimal"), "averages", "overwrite"),
        (with_features(loss_scaling="dynamic"), "loss_scaling", "dynamic"),
        (with_features(gradients="sparse"), "gradients", "sparse"),
        (with_features(), "update", "plain"),
        (with_features(dtype="float64"), "dtype", "float64"),
    ],
)
def test_a_feature_is_shown_where_it_matters(case: Case, axis: str, value: str) -> None:
    assert discriminates(case, axis, value)


def test_a_feature_without_effect_is_not_shown() -> None:
    case = with_features(clipping="clipvalue", settings="decimal")
    assert discriminates(case, "clipping", "clipvalue")
    loose = replace(case, config=case.config | {"clipvalue": 1000.1})
    assert not discriminates(loose, "clipping", "clipvalue")


def test_a_number_that_a_narrower_dtype_holds_shows_too_little() -> None:
    assert not discriminates(with_features(update="momentum"), "update", "momentum")
    wide = with_features(dtype="float64", update="momentum", settings="decimal")
    assert discriminates(wide, "update", "momentum")
    single = replace(wide, config=wide.config | {"momentum": 1 - 2.0**-20})
    assert not discriminates(single, "update", "momentum")


def test_a_claim_counts_only_where_it_matters() -> None:
    profile = Profile(features={"update": frozenset({"momentum"})})
    dyadic, decimal = with_features(update="momentum"), with_features(update="momentum", settings="decimal")

    def avoids_what_matters(case: Case) -> Any:
        if case is not dyadic and case.config == decimal.config:
            raise Unsupported("such numbers")
        return reference.run(case)

    assert check(reference.run, [dyadic, decimal], profile=profile).ok
    report = check(avoids_what_matters, [dyadic, decimal], profile=profile)
    assert report.unproven_claims() == [("update", "momentum")]
    assert not report.ok
    # Nothing that was run could have shown it.
    assert check(reference.run, [dyadic], profile=profile).ok


def test_the_standard_tier_can_prove_every_claim() -> None:
    standard = cases()
    for axis, values in AXES.items():
        for value in values:
            assert any(discriminates(case, axis, value) for case in standard), (axis, value)
