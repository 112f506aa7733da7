"""What becomes of one test, with and without a ledger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.conformance import Case, Profile
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.diagnosis.replay import replayed
from sgd_ref.conformance.pytest_plugin.judging import graded_alone, outcome
from sgd_ref.conformance.targets.ledger import Expected
from sgd_ref.conformance.trajectories import reference

CASE = make_case(PLAINEST | {"update": "momentum", "learning_rate": "piecewise"})


def broken(case: Case) -> Trajectory:
    raise RuntimeError("\x1b[31mit broke")


def declines(case: Case) -> Trajectory:
    raise conformance.Unsupported("not yet")


def wrong(case: Case) -> Trajectory:
    return replayed(case, ["ascends"])


def kind(run: Any, ledger: dict[str, Expected] | None) -> str:
    return outcome(graded_alone(run, CASE, Profile()), ledger).kind


@pytest.mark.share(2)
@pytest.mark.parametrize(
    ("run", "expected", "without", "listed", "unlisted"),
    [
        (reference.run, Expected("diverges", ("ascends",)), "passed", "failed", "passed"),
        (wrong, Expected("diverges", ("ascends",)), "failed", "xfailed", "failed"),
        (wrong, Expected("diverges", ("rate-outside-velocity",)), "failed", "failed", "failed"),
        (wrong, Expected("diverges", ("no-such-name",)), "failed", "failed", "failed"),
        (wrong, Expected("diverges", ()), "failed", "xfailed", "failed"),
        (wrong, Expected("error", ()), "failed", "failed", "failed"),
        (broken, Expected("error", ()), "failed", "xfailed", "failed"),
        (broken, Expected("diverges", ("ascends",)), "failed", "failed", "failed"),
        (declines, Expected("unsupported", ("not yet",)), "skipped", "skipped", "failed"),
        (declines, Expected("unsupported", ("for another reason",)), "skipped", "failed", "failed"),
        (declines, Expected("diverges", ("ascends",)), "skipped", "failed", "failed"),
    ],
)
def test_what_becomes_of_a_test(
    run: Any, expected: Expected, without: str, listed: str, unlisted: str
) -> None:
    assert kind(run, None) == without
    assert kind(run, {CASE.id: expected}) == listed
    assert kind(run, {}) == unlisted


def test_names_that_one_case_does_not_tell_apart_are_expected_alike() -> None:
    """The ledger has the name of a whole run; alone, another one is nearer."""
    case = make_case(PLAINEST | {"update": "nesterov", "settings": "decimal"})
    seen, like = "velocity-is-difference-of-weights", "look-ahead-stored-as-velocity"

    def run(case: Case) -> Trajectory:
        return [{"variables": record["variables"]} for record in replayed(case, [seen])]

    verdict = graded_alone(run, case, Profile())
    assert verdict.diagnosis is not None
    assert verdict.diagnosis.names == ((seen,),)
    for name, expected in ((seen, "xfailed"), (like, "xfailed"), ("ascends", "failed")):
        assert outcome(verdict, {case.id: Expected("diverges", (name,))}).kind == expected


def test_what_is_shown_moves_no_cursor() -> None:
    found = outcome(graded_alone(broken, CASE, Profile()), None)
    assert "it broke" in found.message
    assert "\x1b" not in found.message


def test_the_answer_is_kept_when_its_buffers_are_used_again() -> None:
    records = [dict(record) for record in reference.run(CASE)]
    verdict = graded_alone(lambda case: records, CASE, Profile())
    kept = np.array(records[0]["variables"][0])
    records[0]["variables"][0][...] = 7
    assert verdict.trajectory is not None
    assert (verdict.trajectory[0]["variables"][0] == kept).all()


def test_an_optimisation_fails_nobody() -> None:
    cases = [case for case in conformance.cases() if case.id.startswith("optimization")]
    assert cases
    found = [graded_alone(lambda case: replayed(case, ["ascends"]), case, Profile()) for case in cases[:2]]
    assert {verdict.grade for verdict in found} == {"diverges"}
    assert {outcome(verdict, None).kind for verdict in found} == {"passed"}
