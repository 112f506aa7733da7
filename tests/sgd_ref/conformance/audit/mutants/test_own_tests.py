"""What no file can see is asked of the tests of the module."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sgd_ref.conformance.audit.mutants import own_tests
from sgd_ref.conformance.audit.mutants.changes import Mutant
from sgd_ref.conformance.audit.mutants.own_tests import TESTS, question_of
from sgd_ref.conformance.audit.mutants.run import MODULES, path_of
from sgd_ref.conformance.audit.mutants.trial import attempt

INTERVAL = "sgd_ref.arithmetic.interval"


def test_each_module_and_its_tests_are_there() -> None:
    assert TESTS.keys() <= set(MODULES)
    for module, path in TESTS.items():
        question = question_of(module)
        assert question is not None
        assert question.id == path
    assert question_of("sgd_ref.rule") is None


def test_a_tree_without_tests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"interval are asked tests/.*/test_interval\.py, which is not"
    ):
        question_of(INTERVAL, tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="a trial is a fork of this process")
@pytest.mark.parametrize(
    ("after", "killer"),
    [("Interval(max(lower, 0.0), upper)", ""), ("Interval(max(lower, 0.1), upper)", TESTS[INTERVAL])],
)
def test_the_tests_meet_the_mutant_and_not_the_module(
    after: str, killer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_tests, "OPTIONS", (*own_tests.OPTIONS, "-k", "ends_of_a_power"))
    source = path_of(INTERVAL).read_text(encoding="utf-8")
    before = "Interval(max(lower, 0.0), upper)"
    assert before in source
    question = question_of(INTERVAL)
    assert question is not None
    mutant = Mutant(INTERVAL, "power", 1, before, after, source.replace(before, after))
    assert attempt(mutant, [question]) == killer
