"""A release is asked what it can answer; nothing is installed here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.conformance.targets.environments import environment as module
from sgd_ref.conformance.targets.environments.places import VARIABLE
from sgd_ref.conformance.targets.history import asking
from sgd_ref.conformance.targets.history.asking import CannotAsk, ask, in_environment
from sgd_ref.conformance.targets.history.programs import Program
from sgd_ref.conformance.targets.history.releases import Releases

MINE = Releases("mine", lambda numbers: ("theirs==1",), settings={"MODE": "slow"})
BUG = "print('expected: 1'); assert False"


def answers(scripts: Mapping[str, str]) -> dict[str, Any]:
    """Answer as `several.py` does: a script that says "old" fails, others differ."""
    told = {
        name: {"ended": "fails" if "old" in text else "differs", "said": "a difference", "error": "TypeError"}
        for name, text in scripts.items()
    }
    return {"versions": {"mine": "3.4.1", "python": "3.11"}, "answers": told}


def test_the_lines_of_a_report_are_asked_where_the_case_cannot_be() -> None:
    scripts = {
        "case": Program("new", "never run"),
        "lines": Program("", "new"),
        "both": Program("old", "new"),
        "neither": Program("old", "old"),
        "old": Program("old"),
    }
    asked = ask("3.4", MINE, scripts, answers)
    assert {name: outcome.name for name, outcome in asked.outcomes.items()} == {
        "case": "otherwise",
        "lines": "there",
        "both": "there",
        "neither": "fails",
        "old": "fails",
    }
    assert (asked.release, asked.obstacle) == ("3.4.1", "")
    assert asked.versions["python"] == "3.11"


def test_what_cannot_be_installed_is_said() -> None:
    def refuse(scripts: Mapping[str, str]) -> dict[str, Any]:
        raise CannotAsk("ERROR: no matching distribution")

    asked = ask("3.4", MINE, {"a": Program("x")}, refuse)
    assert (asked.release, asked.outcomes, asked.obstacle) == ("3.4", {}, "ERROR: no matching distribution")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let nothing be installed, and this Python be that of every environment."""
    ran: list[list[str]] = []
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(module.Environment, "_run", lambda self, command: ran.append(command))
    monkeypatch.setattr(module.Environment, "interpreter", Path(sys.executable))
    return ran


def test_a_release_is_installed_once_and_the_next_one_into_its_place(commands: list[list[str]]) -> None:
    run = in_environment(MINE, "mine", "3.4.1", lambda command: None)
    told = run({"bug": BUG, "setting": "import os; assert os.environ['MODE'] == 'slow'"})
    assert told["answers"]["bug"]["ended"] == "differs"
    assert told["answers"]["setting"]["ended"] == "equal"
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["-m", "pip"]]
    run({"bug": BUG})
    assert len(commands) == 2
    in_environment(MINE, "mine", "3.5.0", lambda command: None)({"bug": BUG})
    assert [command[2] for command in commands] == ["venv", "pip", "pip"]


def test_a_command_that_fails_is_an_obstacle(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: module.Environment, command: list[str]) -> None:
        raise module.CannotInstall("pip install: status 1\nERROR: No matching distribution found")

    monkeypatch.setattr(module.Environment, "_run", fail)
    with pytest.raises(CannotAsk, match=r"^ERROR: No matching distribution found$"):
        in_environment(MINE, "mine", "9.9.9", lambda command: None)({"bug": BUG})


def test_a_framework_that_cannot_be_imported_is_an_obstacle(commands: list[list[str]]) -> None:
    with pytest.raises(CannotAsk, match="No module named 'no_such_framework'"):
        in_environment(
            Releases("mine", imports=("no_such_framework",)), "mine", "3.4.1", lambda command: None
        )({"bug": BUG})


def test_the_requirements_are_those_of_the_release(tmp_path: Path) -> None:
    environment = asking.environment_of(MINE, "mine", "3.4", tmp_path)
    assert (tmp_path / environment.python).read_text() == "mine==3.4.*\ntheirs==1\n"
    assert environment.name == "history-mine"
