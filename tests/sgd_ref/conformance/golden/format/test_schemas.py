"""The schemas: valid themselves, and so strict that nothing may be missing or extra."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sgd_ref.conformance.golden.format.document import FORMAT
from sgd_ref.conformance.golden.format.schemas import (
    DEVIATION,
    INDEX,
    REJECTION,
    SCHEDULE,
    STAGE,
    TRAJECTORY,
    schemas,
)
from sgd_ref.conformance.protocol.encoding import Json

BIG = "standard/structure/big-4096-momentum-float64.json"

EXAMPLES = {
    TRAJECTORY: "first.json",
    STAGE: "stages/norm.json",
    SCHEDULE: "schedules/CosineDecay.json",
    REJECTION: "rejections.json",
    DEVIATION: "deviations.json",
    INDEX: "index.json",
}

OPEN = ("config", "features", "loss_scaling", "arguments")
"""Objects whose keys are settings or arguments."""

OPTIONAL = ("seed", "decimal", "growth_counter")


def valid(kind: str, document: Any) -> bool:
    return Draft202012Validator(schemas()[kind]).is_valid(document)


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest, contents: dict[str, bytes]) -> tuple[str, Json]:
    """A kind and a short valid document of it."""
    document = json.loads(contents[EXAMPLES[request.param]])
    for key in ("entries", "files"):
        if key in document:
            document[key] = document[key][1:2]
    return request.param, document


def objects(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Json]]:
    if isinstance(value, dict):
        yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from objects(part, (*path, key))


def test_they_are_schemas() -> None:
    for schema in schemas().values():
        Draft202012Validator.check_schema(schema)


def test_the_stored_schemas_are_these(contents: dict[str, bytes]) -> None:
    stored = {path: json.loads(text) for path, text in contents.items() if path.startswith("schema/")}
    assert stored == {f"schema/{kind}.schema.json": schema for kind, schema in schemas().items()}


def test_nothing_may_be_extra_or_missing(example: tuple[str, Json]) -> None:
    kind, document = example
    assert valid(kind, document)
    for path, found in objects(copy.deepcopy(document)):
        if any(part in OPEN for part in path):
            continue
        changed = copy.deepcopy(document)
        target = changed
        for part in path:
            target = target[part]
        target["surplus"] = 1
        assert not valid(kind, changed), path
        del target["surplus"]
        for key in found:
            if key in OPTIONAL or ("expected" in path and key in ("learning_rate", "loss_scale")):
                continue
            value = target.pop(key)
            assert not valid(kind, changed), (path, key)
            target[key] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), 1),
        (("kind",), "stage"),
        (("tier",), "other"),
        (("entries",), []),
        (("entries", 0, "sha256"), "0" * 63),
        (("entries", 0, "case", "variables", 0, "bits"), "3F800000"),
        (("entries", 0, "case", "variables", 0, "bits"), "3f80000 3f800000"),
        (("entries", 0, "case", "variables", 0, "bits"), "3f800000  3f800000"),
        (("entries", 0, "case", "variables", 0, "dtype"), "int32"),
        (("entries", 0, "case", "variables", 0, "shape"), [-1]),
        (("entries", 0, "case", "config", "momentum"), 1.5),
        (("entries", 0, "case", "config", "clipnorm"), 0.0),
        (("entries", 0, "case", "config", "nesterov"), 0),
        (("entries", 0, "case", "finalize"), "false"),
        (("entries", 0, "expected", 0, "calls"), -1),
        (("entries", 0, "expected", 0, "calls"), 1.5),
        (("entries", 0, "bounds", 0, "variables", 0), {"lower": "3f800000", "upper": "3f800000"}),
        (("entries", 0, "provenance", "definition_version"), "9.9.9"),
    ],
)
def test_wrong_values_are_refused(path: tuple[Any, ...], value: Any, contents: dict[str, bytes]) -> None:
    document = json.loads(contents["first.json"])
    assert valid(TRAJECTORY, document)
    target: Any = document
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    assert not valid(TRAJECTORY, document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("case", "variables", 0, "made"), [1]),
        (("case", "variables", 0, "made"), [1, 2**31 - 1]),
        (("case", "variables", 0, "made"), [1, -1]),
        (("case", "variables", 0, "dtype"), "int32"),
        (("case", "variables", 0), {"dtype": "float64", "shape": [1], "bits": "3ff0000000000000"}),
        (("case", "gradients", 0, 0, "made"), [1.5, 2]),
        (("case", "gradients", 1, 0, "bits"), ""),
        (("expected", 0, "variables", 0, "hash"), 2**31 - 1),
        (("expected", 0, "variables", 0, "hash"), "0"),
        (("expected", 1, "variables", 0, "window"), "3f800000"),
        (("expected", 1, "velocities", 0), {"dtype": "float64", "shape": [1], "bits": "3ff0000000000000"}),
        (("expected", 1, "velocities", 0), {"dtype": "float64", "shape": [1], "hash": 1}),
    ],
)
def test_a_big_case_is_valid_until_one_part_of_it_is_wrong(
    path: tuple[Any, ...], value: Any, contents: dict[str, bytes]
) -> None:
    document = json.loads(contents[BIG])
    document["format"] = FORMAT
    assert valid(TRAJECTORY, document)
    target: Any = document["entries"][0]
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    assert not valid(TRAJECTORY, document)


def _abridge(document: Json) -> None:
    entry = document["entries"][0]
    entry["expected"][1], entry["bounds"][1] = {}, {}
    for quantity in ("velocities", "averages", "accumulators"):
        del entry["expected"][2][quantity]


def test_trajectories_are_abridged_in_the_standard_tier_alone(contents: dict[str, bytes]) -> None:
    document = json.loads(contents["first.json"])
    document["format"] = FORMAT
    document["entries"] = [entry for entry in document["entries"] if len(entry["expected"]) > 2]
    assert valid(TRAJECTORY, document)
    _abridge(document)
    assert not valid(TRAJECTORY, document)
    assert all(valid(TRAJECTORY, document | {"tier": tier}) for tier in ("smoke", "standard"))
    document["entries"][0]["expected"][2].pop("calls")
    assert not valid(TRAJECTORY, document | {"tier": "standard"})
