"""Differences between two versions, said in words."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.conformance.golden.format.document import DATA_VERSION
from sgd_ref.conformance.golden.format.location import Place
from sgd_ref.conformance.golden.tools.diffing import changes, differences
from sgd_ref.conformance.golden.tools.writing import index_of, text_of
from sgd_ref.conformance.protocol.encoding import Json


@pytest.fixture
def entry(places: list[Place]) -> Json:
    """One small trajectory, which may be changed."""
    found = next(place.entry for place in places if place.entry.get("case", {}).get("id") == "first/plain")
    return copy.deepcopy(found)


def changed(entry: Json, path: tuple[Any, ...], value: Any) -> list[str]:
    other = copy.deepcopy(entry)
    target = other
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    return list(changes(entry, other))


def test_nothing_changed(entry: Json) -> None:
    assert list(changes(entry, copy.deepcopy(entry))) == []
    assert changed(entry, ("sha256",), "0") == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("case", "config", "momentum"), 0.5, "case config momentum: 0.0 became 0.5"),
        (("case", "notes"), "x" * 99, 'case notes: "Weights and gradients, nothing else." became "xxxxx'),
        (("case", "names", 0), "w", 'case names [0]: "kernel" became "w"'),
        (("case", "finalize"), True, "case finalize: false became true"),
        (("case", "gradients", 1, 0), None, 'case gradients call 1 of kernel: {"dtype": "float32"'),
        (("expected", 1, "calls"), 3, "expected call 1 calls: 2 became 3"),
        (("bounds",), None, 'bounds: [{"variables": '),
        (
            ("expected", 0, "variables", 1, "bits"),
            "bf93131f 3d3443db",
            "expected call 0 variables of bias: 2 of 2 elements differ, the first is [0]: ",
        ),
        (("case", "variables", 0, "shape"), [4], "case variables of kernel: shape [2, 2] became [4]"),
        (
            ("case", "variables", 0, "dtype"),
            "float16",
            "case variables of kernel: dtype float32 became float16",
        ),
        (("contested",), ["a"], 'contested: [] became ["a"]'),
    ],
)
def test_one_change_is_one_line(entry: Json, path: tuple[Any, ...], value: Any, words: str) -> None:
    (line,) = changed(entry, path, value)
    assert line.startswith(words)


def test_an_element_is_shown_as_bits_and_decimal_with_the_distance() -> None:
    def of(bits: str) -> Json:
        return {"id": "a", "expected": {"dtype": "float32", "shape": [3], "bits": bits}}

    (line,) = changes(of("3f800000 00000000 3f800000"), of("3f800000 00000000 3f800001"))
    assert line == (
        "expected: 1 of 3 elements differ, the first is [2]: 3f800000 became 3f800001; "
        "1.0 became 1.0000001, 1 unit apart"
    )
    (line,) = changes(of("00000000 00000000 00000000"), of("80000000 7fc00000 00000000"))
    assert line.endswith("0.0 became -0.0, apart in the sign of zero")
    (line,) = changes(of("7fc00000 00000000 00000000"), of("ffc00000 00000000 00000000"))
    assert line.endswith("nan became nan, both NaN")


def test_bounds_are_compared_by_element() -> None:
    old, new = ({"id": "a", "bound": {"lower": bits}} for bits in ("3f80 3f81", "3f80 3f82"))
    assert list(changes(old, new)) == [
        "bound lower: 1 of 2 elements differ, the first is [1]: 3f81 became 3f82"
    ]


def written(folder: Path, documents: dict[str, Json]) -> Path:
    texts = {path: text_of(path, content) for path, content in documents.items()}
    texts["index.json"] = text_of("index.json", index_of(texts, documents))
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text)
    return folder


def test_two_folders(tmp_path: Path, contents: dict[str, bytes]) -> None:
    chosen = ("stages/move.json", "schedules/CosineDecay.json", "schema/stage.schema.json")
    old = {path: json.loads(contents[path]) for path in chosen}
    new = copy.deepcopy(old)
    entries = new["schedules/CosineDecay.json"]["entries"]
    entries[0]["steps"][0] = 7
    moved = entries.pop()
    new["schedules/other.json"] = {**new["schedules/CosineDecay.json"], "entries": [moved]}
    removed = new["stages/move.json"]["entries"].pop()
    added = new["stages/move.json"]["entries"][0] = {
        **new["stages/move.json"]["entries"][0],
        "id": "stage/new",
    }
    new["schema/stage.schema.json"]["title"] = "Other"
    first, second = written(tmp_path / "old", old), written(tmp_path / "new", new)
    former = old["stages/move.json"]["entries"][0]["id"]
    assert list(differences(first, second)) == [
        "schema/stage.schema.json: changed",
        "schedule/CosineDecay/without-warmup: steps [0]: 0 became 7",
        f"{moved['id']}: moved from schedules/CosineDecay.json to schedules/other.json",
        f"{former}: removed (stages/move.json)",
        f"{removed['id']}: removed (stages/move.json)",
        f"{added['id']}: added (stages/move.json)",
    ]
    assert list(differences(first, first)) == []


def test_the_versions(tmp_path: Path, contents: dict[str, bytes]) -> None:
    documents = {"stages/move.json": json.loads(contents["stages/move.json"])}
    old, new = (written(tmp_path / name, documents) for name in ("old", "new"))
    index = json.loads((new / "index.json").read_bytes())
    (new / "index.json").write_text(json.dumps({**index, "data_version": "9.0.0"}))
    assert list(differences(old, new)) == [f'data_version: "{DATA_VERSION}" became "9.0.0"']
