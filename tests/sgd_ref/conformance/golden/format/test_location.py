"""Where the data lies: in the package of a wheel, or beside it in a checkout, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance.golden.format import location


def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "sgd_ref"
    found.mkdir()
    monkeypatch.setattr(location, "PACKAGE", found)
    return found


def data(folder: Path) -> Path:
    folder.mkdir()
    (folder / "index.json").write_text("{}")
    return folder


def test_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = data(package(tmp_path, monkeypatch) / "golden")
    data(tmp_path / "golden")
    assert location.folder() == expected


def test_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch)
    (tmp_path / "pyproject.toml").touch()
    expected = data(tmp_path / "golden")
    assert location.folder() == expected


def test_a_folder_of_another_project_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch)
    data(tmp_path / "golden")
    with pytest.raises(FileNotFoundError, match="there is no golden data in "):
        location.folder()


def test_what_belongs_to_consumers_is_no_data(tmp_path: Path) -> None:
    for path in ("a.json", "b/c.json", "consumers/js/package.json", "README.md"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert location.data_files(tmp_path) == ["a.json", "b/c.json"]


@pytest.mark.parametrize("index", ["{}", "[]", '{"files": [1]}', '{"files": [{"path": "a.json"}]}', "x"])
def test_a_broken_index_is_an_error_that_says_so(tmp_path: Path, index: str) -> None:
    (tmp_path / "index.json").write_text(index)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ValueError, match=r"golden data|Expecting value"):
        list(location.places(tmp_path))
