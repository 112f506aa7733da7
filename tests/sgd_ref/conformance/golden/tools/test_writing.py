"""Writing: the same bytes on any machine, and nothing else is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sgd_ref import conformance
from sgd_ref.conformance.golden.format.document import document, file_hash
from sgd_ref.conformance.golden.format.location import Place, id_of
from sgd_ref.conformance.golden.tools import writing
from tests.conftest import Sweep

ROOT = Path(__file__).parents[5]

PROGRAM = """
import json, sys
from sgd_ref.conformance.golden.tools import writing
from sgd_ref.conformance.golden.format.document import file_hash
cases = writing.trajectory_cases()
found = {path: writing.trajectory_document(path, cases[path]) for path in sys.argv[1:]}
found.update(writing.other_documents())
print(json.dumps({path: file_hash(writing.text_of(path, each)) for path, each in found.items()}))
"""


def test_another_process_with_other_hashes_and_threads_writes_the_stored_bytes(
    contents: dict[str, bytes], sweep: Sweep
) -> None:
    paths = [path for path in contents if path.startswith(("first", "standard/", "resume/"))]
    standard = [path for path in paths if path.startswith("standard/")]
    chosen = [standard[index] for index in sweep.generator.permutation(len(standard))[:3]]
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "4711",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        *(paths if sweep.complete else [*chosen, "resume/clipnorm.json"]),
    ]
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    assert set(found) > set(chosen)
    assert found == {path: file_hash(contents[path]) for path in found}, "run sgd-ref golden write"


def test_the_index_lists_all_files_with_their_lengths_and_hashes(contents: dict[str, bytes]) -> None:
    index = json.loads(contents["index.json"])
    assert [file["path"] for file in index["files"]] == sorted(set(contents) - {"index.json"})
    for file in index["files"]:
        assert file["bytes"] == len(contents[file["path"]])
        assert file["sha256"] == file_hash(contents[file["path"]])
    assert sum(map(len, contents.values())) < 20_000_000
    assert index["tiers"]["first"] == {"files": 1, "cases": 13, "bytes": len(contents["first.json"])}
    assert sum(file["cases"] for file in index["files"]) == sum(
        index["tiers"][tier]["cases"] for tier in ("first", "standard", "parts")
    )


@pytest.mark.parametrize("tier", ["first", "smoke", "standard"])
def test_a_tier_has_the_cases_of_the_command(
    contents: dict[str, bytes], places: list[Place], tier: str
) -> None:
    members = {"smoke", "standard"} if tier == "standard" else {tier}
    stored = [id_of(place.entry) for place in places if place.tier in members]
    assert sorted(stored) == sorted(case.id for case in conformance.cases(tier))
    assert json.loads(contents["index.json"])["tiers"][tier]["cases"] == len(stored)


def test_only_what_the_old_index_lists_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def contents(path: str) -> dict[str, bytes]:
        content = document("stage", "parts", [])
        text = writing.text_of(path, content)
        return {
            path: text,
            "index.json": writing.text_of("index.json", writing.index_of({path: text}, {path: content})),
        }

    monkeypatch.setattr(writing, "files", lambda progress: contents("stages/old.json"))
    writing.write(tmp_path / "data")
    (tmp_path / "data" / "mine.json").write_text("{}")
    (tmp_path / "data" / "README.md").write_text("text")
    monkeypatch.setattr(writing, "files", lambda progress: contents("stages/new.json"))
    writing.write(tmp_path / "data")
    found = sorted(place.relative_to(tmp_path / "data").as_posix() for place in tmp_path.rglob("*.*"))
    assert found == ["README.md", "index.json", "mine.json", "stages/new.json"]


def test_nothing_outside_of_the_folder_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "files", lambda progress: {})
    (tmp_path / "data").mkdir()
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "data/index.json").write_text(json.dumps({"files": [{"path": "../mine.json"}]}))
    with pytest.raises(ValueError, match=r"must list files inside the folder, got '\.\./mine\.json'"):
        writing.write(tmp_path / "data")
    assert (tmp_path / "mine.json").exists()


def test_lines_end_alike_on_every_system(contents: dict[str, bytes]) -> None:
    assert not any(b"\r" in text for text in contents.values())
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8")
    assert "golden/**/*.json text eol=lf" in attributes
