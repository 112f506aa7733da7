"""All tests of a function together are judged as ``check`` judges all cases, whatever each gave alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sgd_ref import conformance
from sgd_ref.conformance import Case, Profile, Velocities
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.diagnosis.replay import replayed
from sgd_ref.conformance.faithful.registry import FAITHFUL
from sgd_ref.conformance.pytest_plugin.judging import graded_alone, outcome
from sgd_ref.conformance.pytest_plugin.whole_run import Answered, WholeRun, as_bytes, joined, received
from sgd_ref.conformance.targets.ledger import Ledger, observed
from sgd_ref.conformance.targets.running import named_together
from sgd_ref.conformance.trajectories import reference

CONTESTED = [
    make_case(PLAINEST | {"gradients": "missing", "accumulation": steps, "update": update})
    for steps, update in (("2", "plain"), ("3", "plain"), ("2", "momentum"))
]
CASE = [make_case(PLAINEST | {"dtype": "float64", "update": "momentum"})]
ANSWER = "accumulator-used-without-gradient"


def torn(case: Case) -> Trajectory:
    """Give another answer to the open question in the last case."""
    return replayed(case, [] if case.id == CONTESTED[2].id else [ANSWER])


def answered(
    run: Callable[[Case], Trajectory],
    cases: list[Case],
    profile: Profile | None = None,
    ledger: Ledger | None = None,
) -> list[Answered]:
    profile = profile or Profile()
    alone = [graded_alone(run, case, profile) for case in cases]
    return [
        Answered("mine", verdict, outcome(verdict, ledger), profile, ledger, 0.5, position)
        for position, verdict in enumerate(alone)
    ]


def whole(answers: list[Answered]) -> WholeRun:
    (run,) = joined(answers)
    return run


def test_two_answers_to_one_question_are_one_too_many() -> None:
    answers = answered(torn, CONTESTED)
    assert [one.outcome.kind for one in answers] == ["passed"] * 3
    run = whole(answers)
    checked = conformance.check(torn, CONTESTED)
    assert {i: v.grade for i, v in run.report.verdicts.items()} == {
        i: v.grade for i, v in checked.verdicts.items()
    }
    assert not run.report.ok
    (problem,) = run.problems
    assert problem.startswith(f"{CONTESTED[2].id}: judged together with the other cases, ")


def test_what_the_ledger_lists_of_the_whole_run_is_expected_of_it() -> None:
    last = CONTESTED[2].id
    listed = observed(named_together(conformance.check(torn, CONTESTED)))
    assert listed.keys() == {last}
    answers = answered(torn, CONTESTED, ledger=listed)
    assert [one.outcome.kind for one in answers] == ["passed"] * 3
    run = whole(answers)
    assert run.problems == ()
    assert run.findings().as_expected
    stale = whole(answered(reference.run, CONTESTED, ledger=listed))
    assert len(stale.problems) == 1
    assert "the ledger expects: diverges" in stale.problems[0]


def test_hidden_wider_state_is_found_by_all_cases_together() -> None:
    """Half precision with a state of single precision, of which the profile says nothing."""
    variant = next(variant for variant in FAITHFUL.values() if variant.hidden_wider_state)
    cases = [
        make_case(PLAINEST | {"dtype": "float16", "update": update}) for update in ("momentum", "nesterov")
    ]

    def run(case: Case) -> Trajectory:
        return reference.run(case, variant.optimizer, variant.wrapper)

    checked = conformance.check(run, cases)
    assert checked.ok
    answers = answered(run, cases)
    assert {one.outcome.kind for one in answers} == {"passed"}
    found = whole(answers)
    assert found.report.ok
    assert found.report.verdicts == checked.verdicts

    # Once another case shows a mistake, no case is right for its state alone.
    with_mistake = answered(run, cases) + answered(lambda case: replayed(case, ["ascends"]), CASE)
    kinds = [one.outcome.kind for one in with_mistake]
    assert kinds == ["passed", "passed", "failed"]
    assert len(whole(with_mistake).problems) == len(cases)


def test_every_grade_comes_through_another_process() -> None:
    cases = list(conformance.cases("first"))

    def run(case: Case) -> Trajectory:
        if case.id == "first/cosine":
            raise conformance.Unsupported("no cosine")
        if case.id == "first/plain":
            raise RuntimeError("it broke")
        return replayed(case, ["scale-never-grows"])

    checked = conformance.check(run, cases)
    sent = received(as_bytes(answered(run, cases)[::-1]))
    found = whole(sent).report
    assert list(found.verdicts) == list(checked.verdicts)
    for case_id, verdict in checked.verdicts.items():
        got = found.verdicts[case_id]
        assert (got.grade, got.message, got.difference) == (
            verdict.grade,
            verdict.message,
            verdict.difference,
        )
    assert found.verdicts["first/plain"].traceback.endswith("RuntimeError: it broke\n")
    # The case came as read-only as it was: the search for names runs mistakes that write over gradients.
    assert [str(diagnosis) for diagnosis in found.diagnoses.values()] == ["it equals scale-never-grows"]
    assert found.seconds == pytest.approx(0.5 * len(cases))


def test_velocities_of_another_form_are_read_once() -> None:
    profile = Profile(velocities=Velocities(sign=-1))
    cases = [make_case(PLAINEST | {"update": "momentum"})]

    def run(case: Case) -> Trajectory:
        return [
            record | {"velocities": [-velocity for velocity in record["velocities"]]}
            for record in reference.run(case)
        ]

    found = whole(answered(run, cases, profile))
    assert found.report.ok
    assert found.report.profile.velocities == profile.velocities


def test_the_last_answer_of_a_case_counts() -> None:
    cases = list(conformance.cases("first")[:2])
    answers = answered(lambda case: replayed(case, ["ascends"]), cases) + answered(reference.run, cases)
    assert whole(answers).report.ok


def test_nothing_graded_is_no_success() -> None:
    def run(case: Case) -> Trajectory:
        raise conformance.Unsupported("nothing")

    assert whole(answered(run, CASE)).problems == ("no case was graded",)


def test_the_rule_of_the_profile_is_the_one_that_is_held_to() -> None:
    cases = [make_case(PLAINEST | {"update": "momentum", "learning_rate": "piecewise"})]
    profile = Profile(rule="pytorch")
    run = profile.dialect.basis().run
    assert whole(answered(run, cases, profile)).report.ok
    assert [one.outcome.kind for one in answered(run, cases)] == ["failed"]
    both = replace(profile, by_design={"ascends"})
    (with_mistake,) = answered(both.dialect.basis().run, cases, profile)
    assert with_mistake.outcome.message.startswith("it equals ascends")
