"""``check`` believes nobody: each way to look right without being right is found."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance import Case, Profile, Report, Unsupported, Verdict, cases, check
from sgd_ref.conformance.answers.scales import LimitedAbove
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.deviations.observed.accumulation import AccumulatorKeptWithoutGradient
from sgd_ref.conformance.faithful.hidden import HiddenFloat64
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.grading.verdict import GRADES
from sgd_ref.conformance.trajectories import reference

Records = list[dict[str, Any]]
Run = Callable[[Case], Any]

MOMENTUM = make_case(PLAINEST | {"update": "momentum"})
CASES = [
    make_case(PLAINEST | features)
    for features in (
        {},
        {"update": "momentum", "weight_decay": "decay"},
        {"dtype": "bfloat16", "update": "nesterov", "averages": "overwrite"},
        {"dtype": "float64", "gradients": "sparse", "accumulation": "2"},
        {"dtype": "mixed", "loss_scaling": "dynamic", "learning_rate": "callable"},
    )
]
EXACT = [case for case in cases("standard") if case.id.startswith("exact/")][::9]
CONTESTED = make_case(PLAINEST | {"gradients": "missing", "accumulation": "2"})


def perfect(case: Case) -> Records:
    return reference.run(case)


def changed(change: Callable[[Records], Any]) -> Run:
    """An implementation that is perfect but for a last change to its records."""

    def run(case: Case) -> Any:
        records = reference.run(case)
        answer = change(records)
        return records if answer is None else answer

    return run


def verdicts(run: Run) -> list[Verdict]:
    return list(check(run, CASES).verdicts.values())


def test_a_perfect_implementation_is_ok() -> None:
    report = check(perfect, CASES, name="perfect")
    assert report.ok
    assert list(report.verdicts) == [case.id for case in CASES]
    assert {verdict.grade for verdict in report.verdicts.values()} == {"exact"}
    assert all(verdict.passes and not verdict.contested for verdict in report.verdicts.values())
    assert all(verdict.compared > 1000 and verdict.trajectory for verdict in report.verdicts.values())
    counts = "5 exact, 0 rounding, 0 diverges, 0 unsupported, 0 error"
    assert str(report) == f"perfect: 5 of 5 cases graded, held to keras; {counts}"
    assert (report.count("exact"), report.count("error"), report.contested_share) == (5, 0, 0.0)
    assert report.seconds > 0


def test_the_standard_tier_is_the_default() -> None:
    assert set(check(raises(Unsupported("no SGD here"))).verdicts) == {case.id for case in cases("standard")}


def test_only_what_is_required_will_do() -> None:
    assert check(lambda case: [{"variables": r["variables"]} for r in reference.run(case)], CASES).ok
    assert check(lambda case: tuple(reference.run(case)), CASES).ok


def always_ones(case: Case) -> Records:
    record = {"variables": [np.ones_like(variable) for variable in case.variables]}
    return [record] * (len(case.gradients) + case.finalize)


def unchanged_variables(case: Case) -> Records:
    return [{"variables": list(case.variables)}] * (len(case.gradients) + case.finalize)


def nothing_but_nan(case: Case) -> Records:
    record = {"variables": [np.full_like(variable, np.nan) for variable in case.variables]}
    return [record] * (len(case.gradients) + case.finalize)


def one_unit_off(records: Records) -> None:
    weights = records[-1]["variables"][2].reshape(-1)
    weights[-1] = np.nextafter(weights[-1], weights.dtype.type(9))


def wrong_velocity(records: Records) -> None:
    for velocity in records[3]["velocities"] or records[3]["variables"]:
        velocity.reshape(-1)[:1] *= velocity.dtype.type(-1)


def wrong_count(records: Records) -> None:
    records[0]["calls"] += 1


def wrong_rate(records: Records) -> None:
    records[1]["learning_rate"] = np.nextafter(records[1]["learning_rate"], np.float32(9))


class KeepsState:
    """Begins each case with the variables at the end of the one before, where they have the same shape."""

    def __init__(self) -> None:
        self.kept: tuple[Any, ...] = ()

    def __call__(self, case: Case) -> Records:
        if [array.dtype for array in self.kept] == [variable.dtype for variable in case.variables]:
            case = replace(case, variables=self.kept)
        records = reference.run(case)
        self.kept = tuple(records[-1]["variables"])
        return records


def same_arrays_for_each_call(case: Case) -> Records:
    records = reference.run(case)
    variables = records[-1]["variables"]
    return [record | {"variables": variables} for record in records]


@pytest.mark.parametrize(
    "run",
    [
        always_ones,
        unchanged_variables,
        nothing_but_nan,
        changed(wrong_velocity),
        changed(wrong_count),
        changed(wrong_rate),
        same_arrays_for_each_call,
    ],
)
def test_wrong_numbers_diverge(run: Run) -> None:
    report = check(run, CASES)
    assert not report.ok
    for verdict in report.verdicts.values():
        assert verdict.grade == "diverges"
        assert not verdict.passes
        assert verdict.difference is not None
        assert 0 < verdict.differing <= verdict.compared
        assert verdict.trajectory is not None


def test_one_unit_in_one_element_is_shown_as_what_it_is() -> None:
    verdict = grade(changed(one_unit_off), MOMENTUM)
    assert (verdict.grade, verdict.differing, verdict.units) == ("diverges", 1, 1.0)
    assert verdict.difference is not None
    where = (verdict.difference.call, verdict.difference.variable, verdict.difference.element)
    assert where == (8, "table", (16, 3))


def fused(case: Case) -> Records:
    return reference.run(case, *compose(["update-fused"]))


def test_another_rounding_is_accepted_and_shown() -> None:
    report = check(fused, [MOMENTUM, *EXACT])
    assert report.ok
    assert [verdict.grade for verdict in report.verdicts.values()] == ["rounding", *["exact"] * len(EXACT)]
    verdict = report.verdicts[MOMENTUM.id]
    assert verdict.passes
    assert verdict.violation is None
    assert verdict.difference is not None
    assert verdict.diagnosis is None


@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.id)
def test_one_unit_is_wrong_where_nothing_is_rounded(case: Case) -> None:
    verdict = grade(changed(one_unit_off), case)
    assert (verdict.grade, verdict.differing, verdict.units) == ("diverges", 1, 1.0)
    assert verdict.violation is not None
    assert verdict.violation.lower == verdict.violation.upper
    assert (verdict.violation.variable, verdict.violation.quantity) == ("bias", "variables")


def test_state_that_is_kept_between_cases_is_found() -> None:
    run = KeepsState()
    first, second = make_case(PLAINEST), make_case(PLAINEST | {"weight_decay": "decay"})
    grades = [verdict.grade for verdict in check(run, [first, second]).verdicts.values()]
    assert grades == ["exact", "diverges"]


def in_place_views(case: Case) -> Records:
    """What a careless adapter does: it returns its own variables after each call, not copies of them."""
    variables = list(case.variables)
    answer = []
    for record in reference.run(case):
        for variable, value in zip(variables, record["variables"], strict=True):
            variable[...] = value
        answer.append({"variables": variables})
    return answer


def test_views_of_what_is_updated_in_place_diverge() -> None:
    assert {verdict.grade for verdict in verdicts(in_place_views)} == {"diverges"}


def raises(error: BaseException) -> Run:
    def run(case: Case) -> Records:
        raise error

    return run


def transposed(records: Records) -> None:
    records[2]["variables"][0] = records[2]["variables"][0].T


def in_float64(records: Records) -> None:
    for record in records:
        record["variables"] = [variable.astype(np.dtype("float64")) for variable in record["variables"]]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (changed(transposed), "must be float32 of shape (7, 5), got float32 of shape (5, 7)"),
        (changed(in_float64), "variables of kernel in record 0 must be float32 of shape (7, 5), got float64"),
        (changed(lambda records: records[:-1]), "the trajectory must have 9 records, got 8"),
        (changed(lambda records: [*records, records[-1]]), "the trajectory must have 9 records, got 10"),
        (changed(lambda records: [{"variables": None}] * len(records)), "must be a list of arrays, got None"),
        (changed(lambda records: [{}] * len(records)), "must be a dict with the key 'variables'"),
        (changed(iter), "the trajectory must be a list of records, got list_iterator"),
        (lambda case: None, "the trajectory must be a list of records, got NoneType"),
        (raises(ZeroDivisionError("by 0")), "ZeroDivisionError: by 0"),
        (raises(KeyError("momentum")), "KeyError: 'momentum'"),
        (raises(RecursionError("too deep")), "RecursionError: too deep"),
    ],
)
def test_what_is_no_answer_is_an_error(run: Run, message: str) -> None:
    verdict = grade(run, MOMENTUM)
    assert (verdict.grade, verdict.passes) == ("error", False)
    assert message in verdict.message
    assert not check(run, [MOMENTUM]).ok
    report = check(lambda case: run(case) if case.id == MOMENTUM.id else perfect(case), [*CASES, MOMENTUM])
    assert (report.ok, report.count("exact"), report.count("error")) == (False, 5, 1)


def test_the_user_can_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        check(raises(KeyboardInterrupt()), CASES)


def test_what_is_unsupported_is_said_and_proves_nothing() -> None:
    report = check(raises(Unsupported("no SGD here")), CASES)
    assert not report.ok
    assert report.count("unsupported") == len(CASES)
    for verdict in report.verdicts.values():
        assert (verdict.grade, verdict.message, verdict.passes) == ("unsupported", "no SGD here", True)
    one = check(plain_only, CASES[:2])
    assert (one.ok, one.count("exact"), one.count("unsupported")) == (True, 1, 1)


def plain_only(case: Case) -> Records:
    if case.config["momentum"]:
        raise Unsupported("momentum")
    return perfect(case)


def test_claims_must_be_proven() -> None:
    honest = Profile(dtypes=frozenset({"float32"}), features={"update": frozenset({"plain"})})
    boastful = Profile(
        dtypes=frozenset({"float32", "bfloat16"}),
        features={"update": frozenset({"plain", "momentum"}), "clipping": frozenset({"clipnorm"})},
    )
    assert check(plain_only, CASES, profile=honest).ok
    report = check(plain_only, CASES[:2], profile=boastful)
    assert not report.ok
    assert report.unproven_claims() == [
        ("dtype", "bfloat16"),
        ("update", "momentum"),
        ("clipping", "clipnorm"),
    ]
    # Variables of mixed dtypes show each of them.
    assert check(plain_only, CASES, profile=replace(honest, dtypes=boastful.dtypes)).ok


def test_a_claim_is_not_proven_by_an_error() -> None:
    run = changed(lambda records: None if len(records) != 9 else records[:-1])
    profile = Profile(dtypes=frozenset({"float32"}))
    assert check(run, [MOMENTUM], profile=profile).unproven_claims() == [("dtype", "float32")]
    # What diverges was at least tried.
    assert check(always_ones, [MOMENTUM], profile=profile).unproven_claims() == []


def test_nothing_is_claimed_by_default() -> None:
    assert Profile().claims() == []


def deviating(*names: str) -> Run:
    return lambda case: reference.run(case, *compose(names))


def test_a_contested_case_is_right_under_each_answer() -> None:
    assert contested(CONTESTED) == ("missing-on-update-call",)
    for name, answer in (
        ("accumulator-kept-without-gradient", "kept"),
        ("accumulator-used-without-gradient", "used"),
    ):
        report = check(deviating(name), [*CASES, CONTESTED])
        verdict = report.verdicts[CONTESTED.id]
        assert (verdict.grade, verdict.contested, verdict.passes) == ("exact", True, True)
        assert verdict.answers == report.answers == {"missing-on-update-call": answer}
        assert (report.ok, report.contested_share) == (True, 1 / 6)
        rounding = check(deviating(name, "mean-by-reciprocal", "update-fused"), [CONTESTED])
        assert [v.grade for v in rounding.verdicts.values()] == ["rounding"]
        assert rounding.answers == report.answers


@pytest.mark.parametrize("wrong", [always_ones, raises(ValueError("here alone")), lambda case: []])
def test_contested_ground_excuses_nothing_else(wrong: Run) -> None:
    def wrong_there(case: Case) -> Any:
        return wrong(case) if contested(case) else perfect(case)

    report = check(wrong_there, [*CASES, CONTESTED])
    verdict = report.verdicts[CONTESTED.id]
    assert (verdict.grade in ("diverges", "error"), verdict.contested) == (True, True)
    assert (verdict.passes, report.ok, report.answers) == (False, False, {})
    assert verdict.questions == ("missing-on-update-call",)


def test_the_answer_must_be_the_same_in_all_cases_of_a_question() -> None:
    alike = [CONTESTED, *(replace(CONTESTED, id=name) for name in ("second", "third"))]

    def whimsical(case: Case) -> Records:
        kept = case.id == "second"
        name = "accumulator-kept-without-gradient" if kept else "accumulator-used-without-gradient"
        return reference.run(case, *compose([name]))

    told: list[Verdict] = []
    report = check(whimsical, alike, progress=told.append)
    assert [verdict.grade for verdict in told] == ["exact"] * 3
    assert [verdict.grade for verdict in report.verdicts.values()] == ["exact", "diverges", "exact"]
    assert {verdict.answers["missing-on-update-call"] for verdict in report.verdicts.values()} == {"used"}
    assert not report.ok


def test_the_answer_may_be_one_that_no_case_shows_by_itself() -> None:
    limits = [case for case in cases() if case.id.startswith("named/scale-stays-")]
    assert len(limits) == 2
    report = check(lambda case: reference.run(case, wrapper_class=LimitedAbove), limits)
    assert report.answers == {"loss-scale-at-a-limit": "limited-above"}
    assert report.ok


def test_a_wider_state_is_granted_on_contested_ground_too() -> None:
    answering = type("Kept", (AccumulatorKeptWithoutGradient, HiddenFloat64), {})
    case = make_case(PLAINEST | {"gradients": "missing", "accumulation": "2", "settings": "decimal"})
    report = check(lambda given: reference.run(given, answering), [case])
    [verdict] = report.verdicts.values()
    assert (verdict.grade, verdict.allowances) == ("rounding", ("hidden wider state",))
    assert report.answers == {"missing-on-update-call": "kept"}


def test_an_empty_report_is_not_ok() -> None:
    report = Report("nobody", {})
    assert (report.ok, report.contested_share) == (False, 0.0)


def test_cases_need_distinct_ids() -> None:
    with pytest.raises(ValueError, match=f"cases must have distinct ids, got '{CASES[1].id}' twice"):
        check(perfect, [CASES[1], CASES[0], CASES[1]])


def test_there_must_be_cases() -> None:
    with pytest.raises(ValueError, match="cases must hold at least one case, got none"):
        check(perfect, [])


@pytest.mark.parametrize("run", [None, "my_module:run", [perfect]])
def test_an_implementation_is_a_function(run: Any) -> None:
    with pytest.raises(TypeError, match="run must be a function from a case to a trajectory, got"):
        check(run, CASES)


def test_progress_is_told_of_each_verdict_and_cases_may_come_one_by_one() -> None:
    told: list[Verdict] = []
    report = check(perfect, iter(CASES), progress=told.append)
    assert told == list(report.verdicts.values())


def test_grades_are_all_counted() -> None:
    runs = iter([perfect, fused, always_ones, raises(Unsupported("")), raises(ValueError(""))])

    def one_after_another(case: Case) -> Any:
        return next(runs)(case)

    report = check(one_after_another, [CASES[0], MOMENTUM, *CASES[1:4]])
    assert [report.count(name) for name in GRADES] == [1, 1, 1, 1, 1]
    counts = "1 exact, 1 rounding, 1 diverges, 1 unsupported, 1 error"
    said = f"mine: 3 of 5 cases graded, held to keras; {counts}; NEVER GRADED: dtype bfloat16, float64; "
    assert str(report).startswith(said)


def test_signalling_nans_in_an_answer_are_no_accident() -> None:
    case = make_case(PLAINEST | {"dtype": "bfloat16", "values": "special"})

    def signalling(records: Records) -> None:
        for record in records:
            for variable in record["variables"]:
                bits = variable.view(np.uint16)
                bits[(bits & 0x7FFF) > 0x7F80] = 0x7F81

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert grade(changed(signalling), case).grade == "exact"
