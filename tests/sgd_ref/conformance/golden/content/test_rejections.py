"""What must be refused is refused by the reference, as the entry says."""

from __future__ import annotations

import json
import warnings

import pytest

from sgd_ref.base.configuration import KEYS
from sgd_ref.conformance.golden.content.rejections import problem, refusal
from sgd_ref.conformance.golden.format.location import Place
from sgd_ref.conformance.golden.format.schemas import REJECTION
from sgd_ref.conformance.protocol.encoding import Json


@pytest.fixture(scope="module")
def rejections(places: list[Place]) -> dict[str, Json]:
    return {place.entry["id"]: place.entry for place in places if place.kind == REJECTION}


def test_the_reference_refuses_each_as_it_says(rejections: dict[str, Json]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {identifier: problem(entry) for identifier, entry in rejections.items()} == dict.fromkeys(
            rejections
        )


def test_every_setting_has_one_and_so_has_every_moment(rejections: dict[str, Json]) -> None:
    arguments = {entry["argument"] for entry in rejections.values()}
    assert arguments >= set(KEYS)
    assert {entry["when"] for entry in rejections.values()} == {"construct", "build", "call"}


def test_it_is_the_stated_moment_that_refuses(rejections: dict[str, Json]) -> None:
    for entry in rejections.values():
        earlier = json.loads(json.dumps(entry))
        if entry["when"] == "call":
            earlier["call"] = None
            assert refusal(earlier) is None, entry["id"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config": {"learning_rate": 0.1}}, "it is not refused"),
        ({"category": "type"}, "the category is type, but the reference raises ValueError"),
        ({"argument": "clipvalue"}, "the reference does not name clipvalue"),
    ],
)
def test_a_wrong_entry_is_found(rejections: dict[str, Json], change: Json, words: str) -> None:
    found = problem({**rejections["rejection/momentum/above-one"], **change})
    assert found is not None
    assert words in found
