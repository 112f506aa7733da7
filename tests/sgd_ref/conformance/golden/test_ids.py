"""Ids never change their meaning: what stands under each is compared with a stored list.

If this fails, a case has changed. Give it a new id; or, where the old answer was wrong, raise the version
of the data as ``golden/VERSIONS.md`` says. Then write the list with
``python tests/sgd_ref/conformance/golden/test_ids.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.catalogue.whole import whole
from sgd_ref.conformance.golden.format import location
from sgd_ref.conformance.golden.format.document import DATA_VERSION, content_hash
from sgd_ref.conformance.golden.format.location import Place, id_of
from sgd_ref.conformance.golden.format.schemas import DEVIATION, TRAJECTORY
from sgd_ref.conformance.protocol.encoding import Json

LIST = Path(__file__).with_name("ids.json")

DIGITS = 16
"""Of a hash; a hundred bits more would tell no more."""


def meaning(entry: Json) -> Json:
    """Return what an id stands for: question and answer, not what is said about them.

    A default that is written out is the one that is left out, and the name of a schedule means nothing.
    """
    if "case" not in entry:
        return {key: value for key, value in entry.items() if key not in ("provenance", "notes", "reason")}
    case = {key: value for key, value in entry["case"].items() if key not in ("exposes", "notes", "features")}
    config = whole(case["config"])
    if isinstance(config["learning_rate"], dict):
        schedule = config["learning_rate"]
        settings = {key: value for key, value in schedule["config"].items() if key != "name"}
        config["learning_rate"] = {**schedule, "config": settings}
    return {"case": {**case, "config": config}, "expected": entry["expected"]}


def meanings(places: Iterable[Place]) -> dict[str, str]:
    """Return for each id a hash of what it stands for."""
    return {
        id_of(place.entry): content_hash(meaning(place.entry))[:DIGITS]
        for place in places
        if place.kind != DEVIATION
    }


def test_every_id_stands_for_what_it_always_stood(places: list[Place]) -> None:
    stored = json.loads(LIST.read_text(encoding="utf-8"))
    assert stored["data_version"] == DATA_VERSION
    assert meanings(places) == stored["ids"]


def test_the_meaning_is_that_of_question_and_answer(places: list[Place]) -> None:
    entry = json.loads(json.dumps(next(place.entry for place in places if place.kind == TRAJECTORY)))
    before = meaning(entry)
    entry["case"]["notes"], entry["bounds"], entry["provenance"] = "Other words.", None, {}
    assert meaning(entry) == before
    entry["case"]["finalize"] = not entry["case"]["finalize"]
    assert meaning(entry) != before


if __name__ == "__main__":
    text = {"data_version": DATA_VERSION, "ids": meanings(location.places(data_folder.folder()))}
    LIST.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
