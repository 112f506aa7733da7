"""Bugs are read strictly, and each that is kept can be reported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sgd_ref.conformance.targets.bugs.bug import MENDED, NEW, NOT_SEARCHED, Bug, bugs, bugs_of, folder, read
from sgd_ref.conformance.targets.bugs.reporting import releases_of
from sgd_ref.conformance.targets.findings.storage import kept
from sgd_ref.conformance.targets.registry import names

MOST_LINES = 22

TEXT = """\
project = "owner/mine"
contradiction = "ascends"
targets = ["mine"]
release = "1.0.0"
title = "It ascends"
says = "it descends"
source = "https://example.org"
cause = ""

[search]
state = "new"
queries = ["mine ascends"]
threads = []
mended_in = ""
"""

ALL = bugs()

each = pytest.mark.parametrize("bug", ALL, ids=lambda bug: bug.name)


def written(tmp_path: Path, text: str = TEXT, name: str = "mine-ascends") -> Path:
    (tmp_path / f"{name}.toml").write_text(text)
    (tmp_path / f"{name}.py").write_text("assert False\n")
    return tmp_path / f"{name}.toml"


def test_a_bug_is_read_with_its_script(tmp_path: Path) -> None:
    bug = read(written(tmp_path))
    assert (bug.project, bug.target, bug.name) == ("owner/mine", "mine", "mine-ascends")
    assert (bug.queries, bug.threads, bug.script) == (("mine ascends",), (), "assert False\n")
    assert bugs(tmp_path) == [bug]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "It ascends"\n', "", "the keys of the file must be"),
        ("mended_in", "mended_at", "the keys of search must be"),
        ('"new"', '"old"', "search.state must be one of new, known, mended, not searched, got 'old'"),
        ('targets = ["mine"]', "targets = []", "targets must be at least one target"),
        ('"ascends"', '"descends"', "the name of the file must be mine-descends, got 'mine-ascends'"),
        ("[search]", "search = 1\n[other]", "the keys of the file must be"),
        ("project =", "project", "holds no bug"),
    ],
)
def test_malformed_files_are_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(message)):
        read(path)


def test_a_script_must_lie_beside(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.with_suffix(".py").unlink()
    with pytest.raises(ValueError, match="holds no bug"):
        read(path)


def test_there_are_enough_of_enough_projects() -> None:
    assert len(ALL) >= 20
    assert len({bug.project for bug in ALL}) >= 6
    assert sum(bug.state == NEW for bug in ALL) >= 5
    assert len({(bug.project, bug.title) for bug in ALL}) == len(ALL)


def test_every_script_belongs_to_a_bug() -> None:
    assert {path.stem for path in folder().glob("*.py")} == {bug.name for bug in ALL}


@each
def test_targets_are_known_and_can_be_installed(bug: Bug) -> None:
    assert set(bug.targets) <= set(names())
    releases = releases_of(bug.target)
    assert releases is not None
    assert releases.requirements(bug.release)


@each
def test_a_script_is_short_needs_its_framework_alone_and_says_what_it_expects(bug: Bug) -> None:
    assert len(bug.script.splitlines()) <= MOST_LINES
    assert "sgd_ref" not in bug.script
    assert bug.script.count('print(f"actual:') + bug.script.count('print("actual:') == 1
    assert bug.script.count('print(f"expected:') + bug.script.count('print("expected:') == 1
    assert bug.script.splitlines()[-1].startswith("assert ")
    compile(bug.script, bug.name, "exec")


@each
def test_what_is_said_of_the_tracker_is_complete(bug: Bug) -> None:
    assert bug.queries
    assert bug.says
    assert bug.source.startswith("https://")
    assert all(re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+", t) for t in bug.threads)
    if bug.state not in (NEW, NOT_SEARCHED):
        assert any(f"/{bug.project}/" in thread for thread in bug.threads)
    assert bool(bug.mended_in) <= (bug.state == MENDED)


@each
def test_a_contradiction_that_was_found_has_its_name(bug: Bug) -> None:
    """What the kit has found of a target is reported by the name that it has there."""
    deviations = {"averages-on-every-call", "restart-missed", "vector-body-skipped"}
    if bug.contradiction in deviations:
        assert bug.contradiction in kept(bug.target)


def test_a_target_has_the_bugs_of_others_too_and_its_own_scripts_first() -> None:
    assert bugs_of("keras torch eager")["restart-missed"].target == "keras torch eager"
    assert bugs_of("keras jax compiled")["restart-missed"].target == "keras jax eager"
    assert bugs_of("libtorch") == {}
