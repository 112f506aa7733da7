"""Velocities of another form are given and read as declared, and nothing that is rounded is believed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance import Profile, Unsupported, Velocities, cases, check
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.grading.velocities import exactly_scaled, with_velocities
from sgd_ref.conformance.trajectories import reference
from sgd_ref.gradients import SparseRows

CASES = {case.id: case for case in cases()}

FORMS = [Velocities(-1), Velocities(1, without_rate=True), Velocities(-1, without_rate=True)]


def plain_momentum(case: Case) -> bool:
    config = case.config
    others = ("weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "gradient_accumulation_steps")
    return (
        not any(config[name] is not None for name in others)
        and not (config["use_ema"] or config["loss_scale_factor"] or case.loss_scaling)
        and bool(config["momentum"])
        and not config["nesterov"]
        and not any(isinstance(g, SparseRows) for call in case.gradients for g in call)
        and case.made is None
    )


def keeping(form: Velocities, forgets: bool = False) -> Any:
    """Return a loop that keeps velocities in a form, and may forget the sign when it is resumed."""

    def run(case: Case) -> Any:
        if not plain_momentum(case):
            raise Unsupported("more than momentum")
        variables = [np.array(w) for w in case.variables]
        kept = [np.zeros_like(w) for w in variables]
        if case.state is not None and case.state.velocities:
            kept = [np.array(v) * (-1 if forgets else 1) for v in case.state.velocities]
        records = []
        for call, gradients in enumerate(case.gradients):
            for w, t, g in zip(variables, kept, gradients, strict=True):
                if g is None:
                    continue
                rate, momentum = (w.dtype.type(x) for x in (case.rate(call), case.config["momentum"]))
                sign = w.dtype.type(form.sign)
                with np.errstate(all="ignore"):
                    term = g.astype(w.dtype) if form.without_rate else g.astype(w.dtype) * rate
                    t[...] = momentum * t - sign * term
                    w[...] = w + sign * (rate * t if form.without_rate else t)
            records.append(
                {"variables": [w.copy() for w in variables], "velocities": [t.copy() for t in kept]}
            )
        return records

    return run


@pytest.mark.share(3)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_loop_with_other_velocities_is_right_where_it_declares_them(form: Velocities) -> None:
    chosen = [
        case
        for case in CASES.values()
        if plain_momentum(case) and (not form.without_rate or isinstance(case.config["learning_rate"], float))
    ]
    resumed = [case.id for case in chosen if case.state is not None]
    report = check(keeping(form), chosen, profile=Profile(velocities=form))
    wrong = {i: str(v.violation or v.message) for i, v in report.verdicts.items() if v.grade == "diverges"}
    assert not wrong
    assert report.count("error") == 0
    graded = [i for i in resumed if report.verdicts[i].grade in ("exact", "rounding")]
    assert {f"structure/resumed/momentum/{dtype}" for dtype in ("float32", "bfloat16")} <= set(graded)
    assert len(graded) == len(resumed)


def test_without_the_declaration_it_is_rejected() -> None:
    chosen = [CASES[i] for i in ("structure/resumed/momentum/float32", "axes/momentum")]
    form = Velocities(-1)
    assert check(keeping(form), chosen).count("diverges") == 2
    assert check(keeping(form), chosen, profile=Profile(velocities=form)).count("exact") == 2
    forgetful = check(keeping(form, forgets=True), chosen, profile=Profile(velocities=form))
    assert [verdict.grade for verdict in forgetful.verdicts.values()] == ["diverges", "exact"]


def test_the_profile_may_stand_at_the_function() -> None:
    run = keeping(Velocities(-1))
    run.profile = Profile(velocities=Velocities(-1))
    assert check(run, [CASES["axes/momentum"]]).count("exact") == 1
    run.profile = {"velocities": -1}
    with pytest.raises(TypeError, match=r"profile must be a conformance\.Profile, got"):
        check(run, [CASES["axes/momentum"]])


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_is_kept_is_the_velocity_again(form: Velocities) -> None:
    velocity = np.array([1.5, -0.0, np.inf, -np.inf, np.nan, 2.0**-149, 0.0], "float32")
    kept = form.kept(velocity, 0.25)
    assert kept is not None
    again = form.documented(kept, 0.25)
    np.testing.assert_array_equal(again, velocity)
    np.testing.assert_array_equal(np.signbit(again)[:4], np.signbit(velocity)[:4])
    assert kept[0] == Fraction(3, 2) / (form.sign * (Fraction(1, 4) if form.without_rate else 1))


@pytest.mark.parametrize("rate", [None, 0.1, 0.0])
def test_nothing_is_exact_at_a_rate_that_changes_or_is_rounded_or_zero(rate: float | None) -> None:
    form, array = Velocities(without_rate=True), np.ones(2, "float32")
    assert form.kept(array, rate) is None
    assert form.documented(array, rate) is None


def test_a_rate_that_the_dtype_does_not_hold_is_not_relied_on() -> None:
    form, array = Velocities(without_rate=True), np.array([1024.0], "float16")
    assert form.documented(array, 2.0**-20) is not None
    assert form.documented(array, 2.0**-30) is None


@pytest.mark.parametrize(
    ("numbers", "factor", "dtype"),
    [
        ([1.0], Fraction(1, 3), "float32"),
        ([2.0**-149], Fraction(1, 2), "float32"),
        ([3e38], Fraction(2), "float32"),
        ([1e308], Fraction(4), "float64"),
        ([1 + 2.0**-10], Fraction(3), "float16"),
    ],
)
def test_what_would_be_rounded_is_none(numbers: list[float], factor: Fraction, dtype: str) -> None:
    assert exactly_scaled(np.array(numbers, dtype), factor) is None


def test_states_that_would_be_rounded_are_declined_and_such_velocities_left_out() -> None:
    form = Velocities(-1, without_rate=True)
    case = CASES["structure/resumed/momentum/float32"]
    case = replace(case, config=case.config | {"learning_rate": 0.3})
    report = check(keeping(form), [case], profile=Profile(velocities=form))
    (verdict,) = report.verdicts.values()
    assert (verdict.grade, verdict.message) == (
        "unsupported",
        "what it keeps for the velocities of the state would have to be rounded",
    )
    fresh = replace(case, state=None)
    assert "velocities" not in with_velocities(keeping(form), form)(fresh)[0]


def test_velocities_as_documented_change_nothing() -> None:
    assert with_velocities(reference.run, Velocities()) is reference.run


@pytest.mark.parametrize(
    ("arguments", "error"), [((2,), ValueError), ((True,), ValueError), ((1, 1), TypeError)]
)
def test_other_forms_are_refused(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Velocities(*arguments)
