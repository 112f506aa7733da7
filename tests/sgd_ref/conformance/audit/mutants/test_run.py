"""The page of mutants: what was tried, and what is open."""

from __future__ import annotations

import sys

import pytest

from sgd_ref.conformance.audit.mutants import run
from sgd_ref.conformance.audit.mutants.changes import Mutant
from sgd_ref.conformance.audit.mutants.run import MODULES, Tried, page, path_of
from sgd_ref.conformance.audit.mutants.trial import Question

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a trial is a fork of this process")


def test_every_module_is_there() -> None:
    assert all(path_of(module).is_file() for module in MODULES)
    with pytest.raises(ValueError, match="there is no module nothing_of_the_kind"):
        path_of("nothing_of_the_kind")


def test_the_page_counts() -> None:
    mutant = Mutant("sgd_ref.rule", "move", 1, "w + velocity", "w - velocity", "")
    found = [Tried(mutant, "axes/momentum", ""), Tried(mutant, "", "a reason"), Tried(mutant, "", "")]
    text = page(found)
    assert "| `sgd_ref.rule` | 3 | 1 | 1 | 1 |" in text
    assert "| `sgd_ref.rule`, `move` | `w + velocity` | `w - velocity` |" in text
    assert "Not tried for this page: `sgd_ref.optimizer`, " in text


def test_modules_that_were_not_tried_keep_their_rows() -> None:
    norm = Mutant("sgd_ref.norm", "_square_root", 1, "root * root", "root + root", "")
    rule = Mutant("sgd_ref.rule", "move", 1, "w + velocity", "w - velocity", "")
    before = page([Tried(norm, "", ""), Tried(rule, "", "")])
    text = page([Tried(rule, "axes/momentum", "")], before)
    assert "| `sgd_ref.rule` | 1 | 1 | 0 | 0 |" in text
    assert "`sgd_ref.rule`, `move`" not in text
    assert "| `sgd_ref.norm` | 1 | 0 | 0 | 1 |" in text
    assert "| `sgd_ref.norm`, `_square_root` | `root * root` | `root + root` |" in text
    assert page([Tried(norm, "", "")], text) == text


def test_the_last_killer_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [Question(name, lambda: True) for name in ("a", "b", "c")]
    orders = []

    def attempt(_mutant: Mutant, order: list[Question]) -> str:
        orders.append([question.id for question in order])
        return "c"

    mutant = Mutant("sgd_ref.rule", "", 1, "", "", "")
    monkeypatch.setattr(run, "attempt", attempt)
    monkeypatch.setattr(run, "mutants_of", lambda *_: [mutant, mutant])
    monkeypatch.setattr(run, "reaching", lambda *_: None)
    assert [one.killer for one in run.tried(["sgd_ref.rule"], asked)] == ["c", "c"]
    assert orders == [["a", "b", "c"], ["c", "a", "b"]]
