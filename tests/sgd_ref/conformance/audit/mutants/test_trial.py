"""The trial of a mutant: it stops at the first wrong answer, whatever the mutant does."""

from __future__ import annotations

import importlib.util
import mmap
import sys
from pathlib import Path

import pytest

import sgd_ref
from sgd_ref.conformance import data_folder
from sgd_ref.conformance.audit.mutants.changes import Mutant
from sgd_ref.conformance.audit.mutants.trial import MEMORY, Question, attempt, questions

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a trial is a fork of this process")

SMALL = 20


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    """Return some combinations, and all that must be refused and all schedules."""
    found = list(questions(data_folder.folder()))
    combinations = [question for question in found if question.id.startswith("axes/")]
    return combinations[:SMALL] + [one for one in found if one.id.startswith(("rejection/", "schedule/"))]


def mutant(module: str, before: str, after: str) -> Mutant:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    source = Path(str(spec.origin)).read_text(encoding="utf-8")
    assert before in source
    return Mutant(module, "", 1, before, after, source.replace(before, after, 1))


def test_the_reference_survives(asked: list[Question]) -> None:
    assert attempt(mutant("sgd_ref.rule", "w + velocity", "w + velocity"), asked) == ""


@pytest.mark.parametrize(
    ("module", "before", "after", "killer"),
    [
        ("sgd_ref.rule", "return w - learning_rate * g", "return w + learning_rate * g", "axes/"),
        ("sgd_ref.rule", "import numpy as np", "import numpy as np; 1 / 0", "import"),
        ("sgd_ref.schedules.decay", 'reject_value("boundaries"', 'print("boundaries"', "rejection/"),
        ("sgd_ref.schedules.decay", "max(1, math.ceil", "max(2, math.ceil", "schedule/PolynomialDecay"),
        ("sgd_ref.rule", "return w - learning_rate * g", "while True: pass", "axes/"),
        ("sgd_ref.rule", "return w - learning_rate * g", "raise SystemExit", "axes/"),
    ],
)
def test_a_mutant_dies_by_what_it_answers_wrongly(
    asked: list[Question], module: str, before: str, after: str, killer: str
) -> None:
    assert attempt(mutant(module, before, after), asked).startswith(killer)


def test_nothing_of_a_mutant_stays_behind(asked: list[Question]) -> None:
    attempt(mutant("sgd_ref.rule", "w + velocity", "w - velocity"), asked)
    assert sgd_ref.SGD is sys.modules["sgd_ref.optimizer"].SGD
    assert all(question.is_answered() for question in asked)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="what is mapped is not known here")
def test_the_limit_of_memory_does_not_count_what_the_parent_has_mapped() -> None:
    # Address space without memory, as much as frameworks map.
    with mmap.mmap(-1, MEMORY + (1 << 30), flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ):
        question = Question("more memory", lambda: not any(bytearray(1 << 26)))
        assert attempt(mutant("sgd_ref.rule", "w + velocity", "w + velocity"), [question]) == ""
        endless = Question("memory without end", lambda: not any(bytearray(MEMORY + (1 << 30))))
        assert attempt(mutant("sgd_ref.rule", "w + velocity", "w + velocity"), [endless]) == endless.id
