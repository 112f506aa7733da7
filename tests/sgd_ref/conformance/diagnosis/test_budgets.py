"""A search ends when its work is used up: here budgets are low, and what was done is counted."""

from __future__ import annotations

import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.deviations import DEFINITION, compose
from sgd_ref.conformance.diagnosis import beside, search, whole_run
from sgd_ref.conformance.diagnosis.beside import Beside
from sgd_ref.conformance.diagnosis.search import Search
from sgd_ref.conformance.diagnosis.work import FIT, Work, work_of
from sgd_ref.conformance.trajectories import reference

CASE = next(case for case in cases() if case.id == "exact/nesterov/float32")
ONE_TRY = (1 + FIT) * work_of(CASE, len(CASE.gradients) + 1)
MISTAKES = ("previous-gradient", "dampened", "updated-twice", "look-ahead-kept", "velocity-not-kept")


def odd(call: int, *names: str) -> Trajectory:
    """Return what nothing known explains: from a call on, one element is far from all that may be."""
    observed = reference.run(CASE, *compose(names))
    for record in observed[call:]:
        record["variables"][0].reshape(-1)[1] += 12345
    return observed


@pytest.mark.parametrize("budget", [60, 300])
def test_pairs(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WORK_FOR_PAIRS", budget)
    made = Search(CASE, odd(0))
    assert (made.alone(), made.extended()) == ([], [])
    begun = made.work.done
    assert made.pairs() == []
    assert budget < made.work.done - begun <= budget + ONE_TRY
    assert made.pairs_tried > 1


def test_all_that_is_tried_on_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Search(CASE, odd(0))
    assert made.alone() == []
    begun = made.work.done
    monkeypatch.setattr(search, "WORK_FOR_CASE", begun + 60)
    assert (made.extended(), made.pairs(), made.extended_again()) == ([], [], [])
    assert begun + 60 <= made.work.done <= begun + 60 + ONE_TRY
    assert (made.extended(), made.pairs(), made.pairs_tried) == ([], [], made.pairs_tried)


@pytest.mark.parametrize(("budget", "is_one"), [(0, True), (10**6, False)])
def test_one_more(budget: int, is_one: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WORK_FOR_MORE", budget)
    made = Search(CASE, odd(5, "dampened"))
    assert made.alone() == []
    assert made.extended() == []
    # Several mistakes give the same calls; a budget of nothing is used up by the first of them.
    assert (len(made._extended) == 1) is is_one


@pytest.mark.parametrize(("budget", "tried"), [(0, 1), (10**6, len(MISTAKES))])
def test_beside(budget: int, tried: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "WORK_BESIDE", budget)
    composed = []

    def counting(self: Beside, name: str) -> beside.Rule:
        composed.append(name)
        return beside.Rule(*DEFINITION.composed((name,)))

    monkeypatch.setattr(Beside, "_with", counting)
    made = Beside(CASE, odd(2), (), DEFINITION, False, Work())
    assert made.better(MISTAKES, ()) == made.to_the_bit(MISTAKES, ()) == []
    assert composed == [*MISTAKES[:tried], *MISTAKES[:tried]]


@pytest.mark.parametrize("budget", [1, whole_run.WORK_FOR_RUN])
def test_a_run(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_run, "WORK_FOR_RUN", budget)
    (found,) = whole_run.diagnoses({CASE.id: (CASE, odd(2))}, {}).values()
    assert found.names == ()
    assert (found.pairs_tried > 0) is (budget > 1)
