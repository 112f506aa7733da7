"""Which entries reach which lines: a mutant is asked all that can notice it."""

from __future__ import annotations

import sys

import pytest

from sgd_ref import rule
from sgd_ref.conformance import data_folder
from sgd_ref.conformance.audit.mutants.reach import reach, reaching
from sgd_ref.conformance.audit.mutants.run import path_of
from sgd_ref.conformance.audit.mutants.trial import Question, questions

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an import is traced in a fork")

FILE = path_of("sgd_ref.rule")
SOURCE = FILE.read_text(encoding="utf-8")


def line_of(text: str) -> int:
    return next(number for number, line in enumerate(SOURCE.splitlines(), 1) if text in line)


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    """Return the entries of combinations and schedules."""
    found = questions(data_folder.folder())
    return [
        one
        for one in found
        if one.id in ("axes/plain", "axes/momentum", "named/alone/clipnorm-decimal/float32")
    ]


def test_only_entries_that_run_a_line_reach_it(asked: list[Question]) -> None:
    found = reach(asked, {rule.__file__})
    assert reaching(found, str(FILE), SOURCE, line_of("return w + velocity")) == {"axes/momentum"}
    assert reaching(found, str(FILE), SOURCE, line_of("return gradient * clipnorm /")) == {
        "named/alone/clipnorm-decimal/float32"
    }
    assert reaching(found, str(FILE), SOURCE, line_of("return gradient * factor")) == set()


def test_all_depend_on_what_an_import_evaluates(asked: list[Question]) -> None:
    assert reaching(reach(asked, {rule.__file__}), str(FILE), SOURCE, line_of("def descend(")) is None


def test_all_depend_on_a_function_that_an_import_runs(asked: list[Question]) -> None:
    file = path_of("sgd_ref.arithmetic.exact")
    source = file.read_text(encoding="utf-8")
    line = next(n for n, text in enumerate(source.splitlines(), 1) if "power_of_n //= n * n" in text)
    assert reaching(reach(asked, {str(file)}), str(file), source, line) is None


def test_stale_files_are_told() -> None:
    with pytest.raises(ArithmeticError, match="stale golden files: the reference answers an-id otherwise"):
        reach([Question("an-id", lambda: False)], set())
