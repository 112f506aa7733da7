"""What is listed as equivalent is there, and short enough to read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from sgd_ref.conformance.audit.mutants import equivalent
from sgd_ref.conformance.audit.mutants.changes import Mutant
from sgd_ref.conformance.audit.mutants.equivalent import ROWS, Row, reason_for
from sgd_ref.conformance.audit.mutants.run import MODULES, path_of


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_each_row_is_about_code_that_is_there(row: Row) -> None:
    (module,) = [name for name in MODULES if name == f"sgd_ref.{row.module}"]
    source = path_of(module).read_text(encoding="utf-8")
    assert any(row.before in line for line in source.splitlines())
    names = {
        node.name for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }
    assert {part for place in row.places for part in place.split(".")} <= names


def test_the_list_is_short() -> None:
    assert len(Path(equivalent.__file__).read_text(encoding="utf-8").splitlines()) <= 200


def test_a_reason_is_given_for_what_is_listed_alone() -> None:
    listed = Mutant("sgd_ref.norm", "", 18, "BLOCK = 65536", "BLOCK = 65537", "")
    other = Mutant("sgd_ref.rule", "move", 1, "return w + velocity", "return w - velocity", "")
    strict = Mutant("sgd_ref.rule", "x", 1, "zip(a, b, strict=True)", "zip(a, b, strict=False)", "")
    assert reason_for(listed)
    assert reason_for(strict)
    assert not reason_for(other)
