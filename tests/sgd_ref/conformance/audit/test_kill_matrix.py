"""The kill matrix: what it says is what is computed."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.answers import ANSWERS
from sgd_ref.conformance.audit import kill_matrix, kill_matrix_page
from sgd_ref.conformance.catalogue.contested import CONTESTED_PAIRS, contested
from sgd_ref.conformance.catalogue.qualities import qualities
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.golden.content.kill_matrix import Outcome, read
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import are_equal

NAMES, CASES = 3, 10
"""How many are computed anew without ``--sweep``."""

WHOLE = 30
"""Names that are computed anew over all cases with ``--sweep``; all take hours, in a job of their own."""

FEWEST_KILLS = 3
ON_OPEN_GROUND = {
    "accumulator-kept-without-gradient",
    "accumulator-used-without-gradient",
    "scale-without-limits",
}
"""Deviations that are answers to open questions, and do nothing else."""


def test_answers_are_no_mistakes() -> None:
    assert {
        name
        for name, deviation in DEVIATIONS.items()
        for answers in ANSWERS.values()
        for answer in answers[1:]
        if (deviation.optimizer, deviation.wrapper) == (answer.optimizer, answer.wrapper)
    } == ON_OPEN_GROUND
    for name in ON_OPEN_GROUND:
        assert not read()["deviations"][name].exposing
        assert not read()["deviations"][name].is_rejected


BEYOND_SMOKE = {
    "indices-of-16-bits",
    "norm-of-first-block",
    "gradient-index-of-8-bits",
    "velocity-index-of-8-bits",
    "rows-past-a-grid-skipped",
    "columns-past-a-block-skipped",
}
"""Deviations that only big cases show, of which the smoke tier has none."""


def test_every_deviation_and_variant_is_in_it() -> None:
    assert set(read()["deviations"]) == set(kill_matrix.wrong_names())
    assert set(read()["faithful"]) == set(FAITHFUL)
    assert len(read()["deviations"]) >= 80
    assert len(read()["faithful"]) >= 25


def test_every_deviation_dies_in_several_cases_and_in_the_smoke_tier() -> None:
    smoke = {case.id for case in cases("smoke")}
    for name, entry in read()["deviations"].items():
        if name not in ON_OPEN_GROUND:
            assert entry.is_rejected, name
            assert len(entry.exposing) >= FEWEST_KILLS, name
            assert (not smoke.intersection(entry.exposing)) == (name in BEYOND_SMOKE), name


@pytest.fixture(scope="module")
def qualities_of_cases() -> dict[str, Any]:
    return {case.id: qualities(case) for case in cases()}


@pytest.mark.parametrize("pair", sorted(CONTESTED_PAIRS), ids=str)
def test_pairs_with_an_open_question_are_judged_by_its_answers(
    pair: Any, qualities_of_cases: dict[str, Any]
) -> None:
    chosen = {
        identifier
        for identifier, found in qualities_of_cases.items()
        if all(value in found[axis] for axis, value in pair)
    }
    rejecting = [len(chosen.intersection(outcome.exposing)) for outcome in read()["deviations"].values()]
    assert sum(count >= FEWEST_KILLS for count in rejecting) >= 50


def test_no_faithful_variant_is_rejected() -> None:
    for name, entry in read()["faithful"].items():
        assert not entry.is_rejected, name
        assert not entry.exposing, name
        assert entry.rounding, name


def test_tolerances_are_worse_both_ways() -> None:
    wrong, faithful = read()["deviations"].values(), read()["faithful"].values()
    for judge in next(iter(wrong)).noticing:
        assert sum(entry.noticing[judge] == 0 for entry in wrong) > len(ON_OPEN_GROUND)
        assert sum(entry.noticing[judge] > 0 for entry in faithful) > len(faithful) / 2


@pytest.mark.parametrize(
    ("part", "find"),
    [("deviations", kill_matrix.of_deviation), ("faithful", kill_matrix.of_faithful)],
)
def test_it_is_what_is_computed(part: str, find: Any, sweep: Any) -> None:
    names = sorted(read()[part])
    if sweep.complete:
        for name in sweep.generator.choice(names, WHOLE, replace=False).tolist():
            assert find(name) == read()[part][name]
        return
    for name in sweep.generator.choice(names, NAMES, replace=False).tolist():
        # Which answer to an open question is chosen depends on all of its cases.
        settled = [case for case in kill_matrix.cases_for(name) if case.made is None and not contested(case)]
        chosen = [settled[index] for index in sweep.generator.choice(len(settled), CASES, replace=False)]
        found, stored, ids = find(name, chosen), read()[part][name], {case.id for case in chosen}
        assert set(found.exposing) == ids.intersection(stored.exposing), name
        assert set(found.rounding) == ids.intersection(stored.rounding), name


def test_a_deviation_has_the_bits_of_the_reference_where_it_is_not_run(sweep: Any) -> None:
    small = [case for case in cases() if case.made is None]
    for name in sweep.generator.choice(kill_matrix.wrong_names(), NAMES, replace=False).tolist():
        run = {case.id for case in kill_matrix.cases_for(name)}
        others = [case for case in small if case.id not in run]
        for index in sweep.generator.integers(len(others), size=CASES if others else 0).tolist():
            case, deviation = others[index], DEVIATIONS[name]
            found = reference.run(case, deviation.optimizer, deviation.wrapper)
            assert are_equal(case, reference.run(case), found), (name, case.id)


def test_the_page_is_that_of_the_data() -> None:
    assert kill_matrix_page.PAGE.read_text(encoding="utf-8") == kill_matrix_page.page()


def test_at_least_fifty_exact_cases() -> None:
    assert sum(case.id.startswith("exact/") for case in cases()) >= 50


@pytest.mark.parametrize(
    ("known", "added", "expected"),
    [
        ((True, ("a",), ()), (False, (), ("b",)), (True, ("a",), ("b",))),
        ((False, (), ("a",)), (True, ("b",), ()), (True, ("b",), ("a",))),
        ((False, (), ()), (False, (), ()), (False, (), ())),
        # It was excused as a wider state that is not reported, and the others may end the excuse.
        ((False, ("a",), ()), (False, (), ()), None),
        ((False, (), ()), (False, ("b",), ()), None),
    ],
)
def test_outcomes_over_two_sets_of_cases_are_joined(known: Any, added: Any, expected: Any) -> None:
    one, other = Outcome("x", *known, {"judge": 1}), Outcome("x", *added, {"judge": 2})
    wanted = None if expected is None else Outcome("x", *expected, {"judge": 3})
    assert kill_matrix.joined(one, other) == wanted


def test_what_is_completed_is_what_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    small = [case for case in cases() if case.made is None]
    some = [*small[:2], *small[-2:]]
    monkeypatch.setattr(kill_matrix, "cases", lambda: some)
    monkeypatch.setattr(kill_matrix, "exposed_by_case", lambda: {some[0].id: (), some[2].id: ()})
    seen = [some[0], some[2]]
    parts = {"deviations": kill_matrix.of_deviation, "faithful": kill_matrix.of_faithful}
    chosen = {"deviations": ("ascends", "velocity-by-shape"), "faithful": ("descent-fused",)}
    stored = {part: {name: find(name, seen) for name in chosen[part]} for part, find in parts.items()}
    monkeypatch.setattr(kill_matrix, "read", lambda: stored)
    for name in chosen["deviations"]:
        assert kill_matrix.completed_deviation(name) == kill_matrix.of_deviation(name)
    assert kill_matrix.completed_faithful("descent-fused") == kill_matrix.of_faithful("descent-fused")
    # What the data lack is computed over all cases.
    assert kill_matrix.completed_deviation("updated-twice") == kill_matrix.of_deviation("updated-twice")
