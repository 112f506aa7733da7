"""The combinations of the catalogue: only appended, seeded by a stored text, and covering every pair."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.catalogue import axes, combinations, named, tiers
from sgd_ref.conformance.catalogue.axes import AXES, PLAINEST, every_pair, from_labels, label, pairs
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import floats, named_case
from sgd_ref.conformance.protocol.encoding import case_to_json


def make_all_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a test runs, let the cases be made again.

    The caches themselves stay as they are: what is on record of a case is told by its identity, so that cases
    made twice would be strangers in every test that follows.
    """
    for module, name in (
        (combinations, "kept_combinations"),
        (tiers, "kept_combinations"),
        (tiers, "named_cases"),
        (tiers, "_standard"),
    ):
        monkeypatch.setattr(module, name, cache(getattr(module, name).__wrapped__))


@pytest.fixture
def another_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    """An axis more, in the midst of the others, while a test runs."""
    more = {**dict(list(AXES.items())[:2]), "dampening": ("none", "0.5"), **dict(list(AXES.items())[2:])}
    monkeypatch.setattr(axes, "AXES", more)
    for module in (axes, combinations):
        plainest = {axis: values[0] for axis, values in more.items()}
        monkeypatch.setattr(module, "PLAINEST", plainest)
    make_all_anew(monkeypatch)


def meanings(chosen: list[Case]) -> dict[str, str]:
    """Return what each id stands for, without the features, which name the axes."""
    documents = {case.id: case_to_json(case) for case in chosen}
    return {
        identifier: json.dumps({key: value for key, value in document.items() if key != "features"})
        for identifier, document in documents.items()
    }


BEFORE = meanings(list(cases()))
COMBINATIONS = combinations.kept_combinations()


def test_a_new_axis_renames_and_reshuffles_nothing(another_axis: None) -> None:
    assert meanings(list(cases())) == BEFORE
    assert {combination.features["dampening"] for combination in combinations.kept_combinations()} == {"none"}


def test_a_new_axis_appends_combinations_until_every_pair_is_covered(another_axis: None) -> None:
    appended = combinations.missing_combinations(combinations.kept_combinations())
    assert appended
    assert {combination.features["dampening"] for combination in appended} == {"0.5"}
    assert not {combinations.case_id(combination.features) for combination in appended} & BEFORE.keys()
    assert len({combination.seed for combination in (*COMBINATIONS, *appended)}) == len(COMBINATIONS) + len(
        appended
    )
    assert all(combination.seed.endswith("/0.5") for combination in appended)
    assert combinations.missing_combinations([*combinations.kept_combinations(), *appended]) == []


def test_every_pair_is_covered() -> None:
    covered = set[object]().union(*(pairs(combination.features) for combination in COMBINATIONS))
    assert covered >= {pair for features in every_pair() for pair in pairs(features)}
    assert combinations.missing_combinations(COMBINATIONS) == []
    assert combinations.missing_combinations(COMBINATIONS[:40]) != []


def test_the_seed_of_a_case_is_stored_and_is_that_of_its_features() -> None:
    for combination in COMBINATIONS:
        assert combination.seed == combinations.seed(combination.features)
        moved = tiers.make_case(combination.features, "another text")
        assert (moved.id, moved.config) == (
            combinations.case_id(combination.features),
            tiers.make_case(combination.features).config,
        )
        assert moved.variables[0].tobytes() != tiers.make_case(combination.features).variables[0].tobytes()


def test_labels_of_different_axes_differ() -> None:
    labels = [label(axis, value) for axis, values in AXES.items() for value in values[1:]]
    assert len(set(labels)) == len(labels)
    for combination in COMBINATIONS:
        assert from_labels(combinations.case_id(combination.features).split("/")[1:]) in (
            combination.features,
            None,
        )
    assert from_labels(["nesterov", "momentum"]) is None
    assert from_labels(["nesterov", "unheard-of"]) is None


def test_the_file_is_as_it_would_be_written() -> None:
    assert combinations.DATA.read_text(encoding="utf-8") == combinations.to_text(
        COMBINATIONS, combinations.smoke_ids()
    )


def test_features_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match=r"features\['update'\] must be one of .*, got 'sideways'"):
        axes.complete({"update": "sideways"})
    with pytest.raises(ValueError, match=r"features\['dampening'\] must be one of .*, got '0.5'"):
        axes.complete({"dampening": "0.5"})


def test_a_new_named_case_is_a_case_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Group:
        @staticmethod
        def cases() -> Iterator[Case]:
            yield named_case("brand-new", "A case.", floats(1.0, 2.0), lambda call: floats(0.5, -0.25 * call))

    standard = cases()
    monkeypatch.setattr(named, "GROUPS", (*named.GROUPS, Group))
    make_all_anew(monkeypatch)
    assert "named/brand-new" in [case.id for case in cases()]
    assert len(cases()) == len(standard) + 1
    monkeypatch.undo()
    assert cases() is standard


def test_the_plainest_case_has_a_name() -> None:
    assert combinations.case_id(PLAINEST) == "axes/plain"
    assert cases()[0].id == "axes/plain"
