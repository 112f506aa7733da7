"""Environments from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sgd_ref.command import main as cli
from sgd_ref.command import targets as command
from sgd_ref.conformance.targets.environments import environment as module
from sgd_ref.conformance.targets.environments.places import VARIABLE
from sgd_ref.conformance.targets.registry import FAMILIES


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "environments"))
    monkeypatch.setattr(module.Environment, "_commands", lambda self: [])
    # The compilers that some need are not on every machine.
    monkeypatch.setattr(module.shutil, "which", lambda tool: f"/bin/{tool}")
    return tmp_path / "environments"


def test_each_target_is_listed_with_its_state(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["targets", "install", "sklearn"]) == 0
    capsys.readouterr()
    assert cli.main(["targets"]) == 0
    printed = capsys.readouterr().out
    rows = {line.split()[1]: line for line in printed.splitlines() if line.startswith("│")}
    assert set(rows) == set(FAMILIES)
    assert "that of sgd-ref" in rows["keras"]
    assert " installed" in rows["sklearn"]
    assert "not installed" in rows["onnx"]
    assert "".join(str(folder).split()) in "".join(printed.split())


def test_all_are_installed_and_removed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["targets", "install", "all"]) == 0
    assert {place.name for place in folder.iterdir()} == set(command.environments())
    assert cli.main(["targets", "remove", "all"]) == 0
    assert list(folder.iterdir()) == []
    assert "sklearn is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["install"], "NAME must be some of .*sklearn.*, all, got none"),
        (["install", "keras"], "NAME must be some of .*, got 'keras'"),
        (["list", "onnx"], "list takes no names, got onnx"),
        (["install", "onnx", "--html", "page.html"], "--html must go without another action than list, got"),
        (["--html", "missing/page.html"], "--html must be a file that can be written, got missing/page.html"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["targets", *arguments])
    assert stopped.value.code == 2
    text = " ".join(capsys.readouterr().err.split())
    assert re.search(message, text), text


def test_a_relative_folder_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "here")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["targets"])
    assert stopped.value.code == 2


def test_what_cannot_be_installed_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "thesis").write_text("years")
    assert cli.main(["targets", "install", "onnx"]) == 3
    assert "must be an environment of this kit" in " ".join(capsys.readouterr().err.split())


def test_the_page_is_written_instead_of_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command.page, "kept_to_html", lambda: "the page")
    assert cli.main(["targets", "--html", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text() == "the page"
    assert capsys.readouterr().out == ""


def test_what_cannot_be_shown_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def malformed() -> str:
        raise ValueError("ledger.json is no ledger")

    monkeypatch.setattr(command.page, "kept_to_html", malformed)
    assert cli.main(["targets", "--html", str(tmp_path / "page.html")]) == 3
    assert "ledger.json is no ledger" in capsys.readouterr().err
