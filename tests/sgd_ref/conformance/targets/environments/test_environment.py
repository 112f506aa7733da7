"""Environments are made, known and removed without touching anything else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sgd_ref.conformance.targets.environments import environment as module
from sgd_ref.conformance.targets.environments.environment import CannotInstall, Environment
from sgd_ref.conformance.targets.environments.places import VARIABLE

WRITES = "import os, pathlib; pathlib.Path('variables').write_text(chr(10).join(sorted(os.environ)))"


@pytest.fixture
def definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "environments"))
    folder = tmp_path / "definition"
    folder.mkdir()
    (folder / "source").write_text("one")
    return folder


def environment(definition: Path, code: str = WRITES, **others: object) -> Environment:
    given = {"build": lambda folder: [sys.executable, "-c", code], "sources": ("source",), **others}
    return Environment("mine", definition, **given)  # type: ignore[arg-type]


def test_it_is_installed_once_and_known_as_long_as_its_sources_are_the_same(definition: Path) -> None:
    mine, said = environment(definition), list[str]()
    assert mine.state() == module.ABSENT
    assert mine.obstacle() == (
        "its environment is not installed; install it with: sgd-ref targets install mine"
    )
    mine.install(said.append)
    assert mine.state() == module.INSTALLED
    assert mine.obstacle() is None
    assert said == [f"{sys.executable} -c {WRITES}"]
    (definition / "source").write_text("two")
    assert mine.state() == module.OUTDATED
    mine.install(said.append)
    assert mine.state() == module.INSTALLED
    mine.remove()
    assert mine.state() == module.ABSENT
    mine.remove()


def test_nothing_of_the_caller_leads_into_it(definition: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaking = ("PYTHONPATH", "PYTHONHOME_OF_MINE", "PIP_TARGET", "NODE_PATH", "VIRTUAL_ENV")
    for name in (*leaking, "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "mine")
    mine = environment(definition)
    mine.install(lambda command: None)
    variables = (mine.folder / "variables").read_text().split()
    assert "PIP_INDEX_URL" in variables
    assert not set(leaking) & set(variables)


def test_a_command_that_fails_says_why_and_leaves_it_unfinished(definition: Path) -> None:
    mine = environment(definition, "import sys; print('no such thing'); sys.exit(4)")
    with pytest.raises(CannotInstall, match=r"status 4\nno such thing"):
        mine.install(lambda command: None)
    assert mine.state() == module.BROKEN
    environment(definition).install(lambda command: None)
    assert mine.state() == module.INSTALLED


def test_what_is_built_finds_what_is_installed_before(definition: Path) -> None:
    (definition / "requirements.txt").write_text("")
    found = []

    def build(folder: Path) -> list[str]:
        found.append(module.interpreter_in(folder).is_file())
        return [sys.executable, "-c", WRITES]

    environment(definition, python="requirements.txt", build=build).install(lambda command: None)
    assert found == [True]


def test_a_folder_of_somebody_else_stays_as_it_is(definition: Path) -> None:
    mine = environment(definition)
    mine.folder.mkdir(parents=True)
    (mine.folder / "thesis").write_text("years")
    for act in (mine.remove, lambda: mine.install(lambda command: None)):
        with pytest.raises(CannotInstall, match="must be an environment of this kit, or nothing"):
            act()
    assert (mine.folder / "thesis").read_text() == "years"
    assert mine.state() == module.BROKEN


def test_a_missing_tool_is_named_before_anything_is_made(definition: Path) -> None:
    mine = environment(definition, tools=("no-such-compiler",))
    with pytest.raises(CannotInstall, match="mine needs no-such-compiler, which is not found"):
        mine.install(lambda command: None)
    assert not mine.folder.exists()


def test_what_is_not_to_be_read_is_unfinished(definition: Path) -> None:
    mine = environment(definition)
    mine.install(lambda command: None)
    for text in ("", "[]", "{}", '{"finished": false, "identity": "x"}'):
        (mine.folder / module.MARK).write_text(text)
        assert mine.state() == module.BROKEN, text
