"""Where the data lies: in the package of a wheel, or beside it in a checkout, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance import data_folder


def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "sgd_ref"
    found.mkdir()
    monkeypatch.setattr(data_folder, "PACKAGE", found)
    return found


def data(folder: Path) -> Path:
    folder.mkdir()
    (folder / "index.json").write_text("{}")
    return folder


def test_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = data(package(tmp_path, monkeypatch) / "golden")
    data(tmp_path / "golden")
    assert data_folder.folder() == expected


def test_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch)
    (tmp_path / "pyproject.toml").touch()
    expected = data(tmp_path / "golden")
    assert data_folder.folder() == expected


def test_a_folder_of_another_project_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch)
    data(tmp_path / "golden")
    with pytest.raises(FileNotFoundError, match="there is no published data in "):
        data_folder.folder()
