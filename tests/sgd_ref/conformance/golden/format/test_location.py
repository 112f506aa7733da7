"""The files of the golden data, and the entries in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sgd_ref.conformance.golden.format import location


def test_what_belongs_to_consumers_is_no_data(tmp_path: Path) -> None:
    others = ("consumers/js/package.json", "starters/package.json", "targets/a/ledger.json", "README.md")
    for path in ("a.json", "b/c.json", *others):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert location.data_files(tmp_path) == ["a.json", "b/c.json"]


@pytest.mark.parametrize("index", ["{}", "[]", '{"files": [1]}', '{"files": [{"path": "a.json"}]}', "x"])
def test_a_broken_index_is_an_error_that_says_so(tmp_path: Path, index: str) -> None:
    (tmp_path / "index.json").write_text(index)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match=r"golden data|Expecting value"):
        list(location.places(tmp_path))


@pytest.mark.parametrize("path", ["../outside.json", "a/../../outside.json", "{tmp_path}/outside.json"])
def test_an_index_that_leads_out_of_its_folder_is_refused(tmp_path: Path, path: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "outside.json").write_text('{"entries": []}')
    file = {"path": path.format(tmp_path=tmp_path), "kind": "stage", "tier": "parts"}
    (folder / "index.json").write_text(json.dumps({"files": [file]}))
    with pytest.raises(ValueError, match="must list files inside the folder"):
        list(location.places(folder))
