"""Verification: the stored data passes, and whatever is changed in it is found."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.conformance.golden.format.document import hashed
from sgd_ref.conformance.golden.format.schemas import SCHEMA
from sgd_ref.conformance.golden.tools import verifying
from sgd_ref.conformance.golden.tools.writing import index_of, kind_of, text_of
from sgd_ref.conformance.protocol.encoding import Json
from tests.conftest import Sweep

FLIPS = 10_000


SOME = ("first.json", "schedules/", "stages/", "rejections.json", "index.json")
"""Beginnings of the paths of files that are found wrong as all others are, and sooner."""


@pytest.fixture(scope="module")
def some(contents: dict[str, bytes]) -> dict[str, bytes]:
    """A share of the files with an index of its own."""
    chosen = {path: text for path, text in contents.items() if path.startswith(SOME)}
    return {**chosen, "index.json": text_of("index.json", _index(chosen))}


def parsed(contents: dict[str, bytes]) -> dict[str, Json]:
    return {path: json.loads(text) for path, text in contents.items()}


def test_the_stored_data_is_whole_and_what_the_reference_answers(
    contents: dict[str, bytes], sweep: Sweep
) -> None:
    documents = parsed(contents)
    problems = verifying.hash_problems(contents)
    problems += verifying.content_problems(contents, documents)
    problems += verifying.stale_problems(documents)
    replayed = [path for path in documents if kind_of(path, documents[path]) not in (SCHEMA, "index")]
    for index in sweep.generator.permutation(len(replayed))[: sweep.count(len(replayed), 5)]:
        problems += verifying.replay_problems(replayed[index], documents[replayed[index]])
    assert problems == [], "run sgd-ref golden write"


def test_the_stored_files_follow_their_schemas(contents: dict[str, bytes], sweep: Sweep) -> None:
    documents = parsed(contents)
    standard = [path for path in documents if path.startswith("standard/")]
    chosen = sweep.generator.permutation(len(standard))[: sweep.count(len(standard))]
    checked = {path for path in documents if not path.startswith("standard/")}
    checked |= {standard[index] for index in chosen}
    assert list(verifying.schema_problems({path: documents[path] for path in checked})) == []


def test_any_flipped_bit_is_found(contents: dict[str, bytes], sweep: Sweep) -> None:
    generator = sweep.generator
    paths = list(contents)
    ends = generator.permutation(len(paths))
    total = sum(map(len, contents.values()))
    for _ in range(sweep.count(FLIPS)):
        position = int(generator.integers(total))
        path = paths[0]
        for index in ends:
            path = paths[index]
            if position < len(contents[path]):
                break
            position -= len(contents[path])
        text = bytearray(contents[path])
        text[position] ^= 1 << int(generator.integers(8))
        # All files but this one are known to have their hashes, which saves most of the time.
        index = json.loads(contents["index.json"])
        index["files"] = [file for file in index["files"] if file["path"] == path]
        small = {path: bytes(text), "index.json": json.dumps(index).encode()}
        if path == "index.json":
            assert _is_found_in_the_index(contents, bytes(text)), position
        else:
            assert verifying.hash_problems(small) == [
                f"{path}: changed, its hash is not that of the index"
            ], position


def test_any_flipped_bit_of_the_index_is_found(contents: dict[str, bytes], sweep: Sweep) -> None:
    for _ in range(sweep.count(100)):
        text = bytearray(contents["index.json"])
        position = int(sweep.generator.integers(len(text)))
        text[position] ^= 1 << int(sweep.generator.integers(8))
        assert _is_found_in_the_index(contents, bytes(text)), position


def _is_found_in_the_index(contents: dict[str, bytes], text: bytes) -> bool:
    changed = {**contents, "index.json": text}
    if verifying.hash_problems(changed):
        return True
    documents = {**parsed(contents), "index.json": json.loads(text)}
    return any(line.startswith("index.json: ") for line in verifying.content_problems(changed, documents))


def _index(contents: dict[str, bytes]) -> Json:
    others = {path: text for path, text in contents.items() if path != "index.json"}
    return index_of(others, parsed(others))


def test_a_wrong_count_in_the_index_is_found(some: dict[str, bytes]) -> None:
    index = json.loads(some["index.json"])
    index["files"][5]["cases"] += 1
    changed = {**some, "index.json": text_of("index.json", index)}
    assert verifying.hash_problems(changed) == []
    found = list(verifying.content_problems(changed, parsed(changed)))
    assert found == ["index.json: it is not the index of these files by this version of sgd-ref"]


def test_missing_and_extra_files_are_found(contents: dict[str, bytes]) -> None:
    changed = {path: text for path, text in contents.items() if path != "stages/move.json"}
    changed["stages/other.json"] = b"{}\n"
    assert verifying.hash_problems(changed) == [
        "stages/move.json: missing",
        "stages/other.json: extra, the index does not list it",
    ]


@pytest.mark.parametrize(
    "index", [b"", b"[]", b"{}", b'{"files": [1]}', b'{"files": [{"path": "a"}]}', b"\xff"]
)
def test_a_broken_index_is_a_problem_and_no_crash(index: bytes) -> None:
    (found,) = verifying.hash_problems({"index.json": index})
    assert found.startswith("index.json: ")


def test_a_folder_without_an_index_is_a_problem(tmp_path: Path) -> None:
    assert verifying.verify(tmp_path).problems == ["index.json: there is no 'index.json'"]


def _with(
    contents: dict[str, bytes], path: str, change: Callable[[Json], None], rehash: bool
) -> dict[str, bytes]:
    """Change the first entry of a file and make all hashes right again, or not that of the entry."""
    document = json.loads(contents[path])
    change(document["entries"][0])
    if rehash:
        document["entries"][0] = hashed(document["entries"][0])
    changed = {**contents, path: text_of(path, document)}
    changed["index.json"] = text_of("index.json", _index(changed))
    assert verifying.hash_problems(changed) == []
    return changed


def _flip_expected(entry: Json) -> None:
    array = entry["expected"][-1]["variables"][0]
    array["bits"] = array["bits"][:-1] + ("0" if array["bits"][-1] != "0" else "1")


def test_a_wrong_hash_of_an_entry_is_found(some: dict[str, bytes]) -> None:
    changed = _with(some, "first.json", _flip_expected, rehash=False)
    assert list(verifying.content_problems(changed, parsed(changed))) == [
        "first.json: first/plain has not the hash that it says"
    ]


def test_a_second_entry_of_the_same_id_and_another_layout_are_found(some: dict[str, bytes]) -> None:
    path = "schedules/CosineDecay.json"
    document = json.loads(some[path])
    document["entries"].append(document["entries"][0])
    changed = {**some, path: json.dumps(document).encode()}
    changed["index.json"] = text_of("index.json", _index(changed))
    assert list(verifying.content_problems(changed, parsed(changed))) == [
        f"{path}: its layout is not that of sgd-ref golden write",
        f"{path}: schedule/CosineDecay/without-warmup is also in {path}",
    ]


def test_what_violates_a_schema_is_found(contents: dict[str, bytes]) -> None:
    document = json.loads(contents["first.json"])
    document["entries"][0]["case"]["finalize"] = "no"
    assert list(verifying.schema_problems({"first.json": document})) == [
        "first.json: $.entries[0].case.finalize: 'no' is not of type 'boolean'"
    ]
    assert list(verifying.schema_problems({"first.json": {**document, "kind": "song"}})) == [
        "first.json: there is no schema for the kind 'song'"
    ]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("first.json", "first/plain expected call 1 variables of kernel: 1 of 4 elements differ"),
        ("standard/exact/plain-float16.json", "exact/plain/float16 expected call"),
    ],
)
def test_a_trajectory_that_the_reference_does_not_give_is_found(
    contents: dict[str, bytes], path: str, words: str
) -> None:
    document = json.loads(contents[path])
    _flip_expected(document["entries"][0])
    document["entries"][0] = hashed(document["entries"][0])
    lines = list(verifying.replay_problems(path, document))
    assert any(line.startswith(words) for line in lines), lines


@pytest.mark.parametrize("path", ["stages/norm.json", "stages/move.json", "schedules/CosineDecay.json"])
def test_a_vector_that_the_reference_does_not_give_is_found(contents: dict[str, bytes], path: str) -> None:
    document = json.loads(contents[path])
    assert list(verifying.replay_problems(path, document)) == []
    expected = document["entries"][0]["expected"]
    expected["bits"] = "1" + expected["bits"][1:]
    (line,) = verifying.replay_problems(path, document)
    assert "expected: 1 of" in line


def test_a_rejection_that_the_reference_accepts_is_found(contents: dict[str, bytes]) -> None:
    document = json.loads(contents["rejections.json"])
    document["entries"][0]["config"]["momentum"] = 0.5
    assert list(verifying.replay_problems("rejections.json", document)) == [
        "rejection/momentum/above-one it is not refused"
    ]


def test_bounds_without_the_expected_result_are_no_problem_but_other_contested_questions_are(
    contents: dict[str, bytes],
) -> None:
    document = json.loads(contents["first.json"])
    document["entries"] = document["entries"][:1]
    document["entries"][0]["contested"] = ["what-ever"]
    lines = list(verifying.replay_problems("first.json", document))
    assert lines[0] == 'first/plain contested: ["what-ever"] became []'


def test_an_entry_that_cannot_be_read_is_a_problem_and_no_crash(contents: dict[str, bytes]) -> None:
    document = json.loads(contents["first.json"])
    document["entries"] = document["entries"][:1]
    document["entries"][0]["case"]["variables"][0]["bits"] = "zz"
    (line,) = verifying.replay_problems("first.json", document)
    assert line.startswith("first/plain it cannot be replayed: ValueError: ")


def test_a_stale_case_and_stale_files_are_found(contents: dict[str, bytes]) -> None:
    documents = {path: json.loads(text) for path, text in contents.items() if path != "index.json"}
    assert list(verifying.stale_problems(documents)) == []
    documents["first.json"]["entries"][0]["case"]["config"]["learning_rate"] = 0.25
    del documents["resume/plain.json"]
    del documents["resume/momentum.json"]["entries"][0]
    documents["rejections.json"]["entries"][0]["reason"] = "Because."
    documents["other.json"] = documents["first.json"]
    assert sorted(verifying.stale_problems(documents)) == [
        "first.json: stale, first/plain case config learning_rate: 0.25 became 0.1",
        "other.json: stale, this version of sgd-ref does not write it",
        "rejections.json: stale, this version of sgd-ref writes another one",
        "resume/momentum.json: stale, this version of sgd-ref has other cases",
        "resume/plain.json: missing, this version of sgd-ref writes it",
    ]


def test_without_jsonschema_it_is_said_that_schemas_were_not_checked(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "jsonschema":
            raise ImportError(name)
        return genuine(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    found = verifying.verify(golden, replays=False)
    assert found == verifying.Verification([], [verifying.NO_JSONSCHEMA])


def test_every_file_is_of_a_kind_that_is_replayed_or_a_schema(contents: dict[str, bytes]) -> None:
    kinds = {kind_of(path, json.loads(text)) for path, text in contents.items()}
    assert kinds == {"trajectory", "stage", "schedule", "rejection", "deviation", "index", SCHEMA}
