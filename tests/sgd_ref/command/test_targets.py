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
