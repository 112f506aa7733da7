"""Files and folders are tried before they are written, and left as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sgd_ref.command.destinations import check_distinct, check_file, check_folder
from sgd_ref.command.options import WrongUsage


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("as it was")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("folder/new")
    (tmp_path / "lost").symlink_to("nowhere/new")
    (tmp_path / "circle").symlink_to("circle")
    return tmp_path


@pytest.mark.parametrize("name", ["file", "link", "dangling", "new", "folder/new"])
def test_a_file_that_can_be_written_stays_as_it_is(name: str, filled: Path) -> None:
    before = tree(filled)
    check_file("--json", filled / name)
    assert tree(filled) == before
    (filled / name).write_text("it can be written")


@pytest.mark.parametrize("name", ["folder", "nowhere/new", "file/new", "lost", "circle", "x" * 1000])
def test_a_file_that_cannot_be_written_is_refused(name: str, filled: Path) -> None:
    before = tree(filled)
    with pytest.raises(WrongUsage) as refused:
        check_file("--json", filled / name)
    assert str(refused.value).startswith(f"--json must be a file that can be written, got {filled / name}: ")
    assert tree(filled) == before
    with pytest.raises(OSError, match=r"."):
        (filled / name).write_text("it cannot be written")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    check_file("--json", tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may write everywhere")
def test_permissions_are_tried(filled: Path) -> None:
    (filled / "file").chmod(0o444)
    (filled / "folder").chmod(0o555)
    with pytest.raises(WrongUsage, match="Permission denied"):
        check_file("--json", filled / "file")
    with pytest.raises(WrongUsage, match="Permission denied"):
        check_file("--json", filled / "folder/new")
    with pytest.raises(WrongUsage, match="Permission denied"):
        check_folder("--output", filled / "folder")


@pytest.mark.parametrize("name", ["folder", ".", "new", "new/below/it"])
def test_a_folder_that_can_be_written_is_not_made_yet(name: str, filled: Path) -> None:
    before = tree(filled)
    check_folder("--output", filled / name)
    assert tree(filled) == before


@pytest.mark.parametrize("name", ["file", "file/new", "link", "circle", "x" * 1000])
def test_a_folder_that_cannot_be_written_is_refused(name: str, filled: Path) -> None:
    before = tree(filled)
    with pytest.raises(WrongUsage) as refused:
        check_folder("--output", filled / name)
    start = f"--output must be a folder that can be written, got {filled / name}: "
    assert str(refused.value).startswith(start)
    assert tree(filled) == before


def test_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_folder("--output", Path("new/below"))


def test_two_options_with_one_file_are_refused(filled: Path) -> None:
    check_distinct(json=filled / "a", junit=filled / "b", ledger=None)
    check_distinct(json=Path(os.devnull), junit=Path(os.devnull))
    with pytest.raises(WrongUsage, match="--json and --junit must be different files, got"):
        check_distinct(json=filled / "file", junit=filled / "link")
