"""Which golden entries reach which lines of the reference, so that a mutant is tried with these alone."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from types import FrameType
from typing import Any

from sgd_ref.conformance.audit.mutants.forking import fork
from sgd_ref.conformance.audit.mutants.trial import Question, import_anew

IMPORT = "import"
"""Stands among the ids for the import itself."""

Reach = dict[tuple[str, int], set[str]]
"""For a file and a line of it, the ids of the entries that run the line."""


def reach(asked: Sequence[Question], files: Collection[str]) -> Reach:
    """Run every entry with the reference, and return which lines of the files each entry runs.

    Raises
    ------
    ArithmeticError
        If the reference itself answers wrongly.
    """
    found: Reach = defaultdict(set)
    for line in _lines_of_import(files):
        found[line].add(IMPORT)
    for question in asked:
        is_answered, lines = _lines_of(question.is_answered, files)
        if not is_answered:
            raise ArithmeticError(f"stale golden files: the reference answers {question.id} otherwise")
        for line in lines:
            found[line].add(question.id)
    return found


def _lines_of(run: Callable[[], Any], files: Collection[str]) -> tuple[Any, set[tuple[str, int]]]:
    """Return what a call returns, and the lines of the files that it runs."""
    lines: set[tuple[str, int]] = set()

    def traced(frame: FrameType, _event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        lines.add((frame.f_code.co_filename, frame.f_lineno))
        return traced

    before = sys.gettrace()
    sys.settrace(traced)
    try:
        return run(), lines
    finally:
        sys.settrace(before)


def _lines_of_import(files: Collection[str]) -> list[tuple[str, int]]:
    """Return the lines that an import runs, such as those of a function that computes a constant."""
    reading, writing = os.pipe()
    child = fork()
    if child == 0:
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            json.dump(sorted(_lines_of(lambda: import_anew(None), files)[1]), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        lines = json.load(pipe)
    os.waitpid(child, 0)
    return [(file, line) for file, line in lines]


def reaching(found: Reach, file: str, source: str, line: int) -> set[str] | None:
    """Return the ids of the entries that run the statement of a line; None for all.

    All of them depend on what an import evaluates, such as the default of an argument.
    """
    statement = _statement(source, line)
    if statement is None:
        return None
    lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    ids: set[str] = set().union(*(found.get((file, number), set()) for number in lines))
    return None if IMPORT in ids else ids


def _statement(source: str, line: int) -> ast.stmt | None:
    """Return the innermost statement of the body of a function that holds a line."""
    innermost: ast.stmt | None = None
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            for part in function.body:
                for node in ast.walk(part):
                    if not isinstance(node, ast.stmt) or not node.lineno <= line <= (node.end_lineno or 0):
                        continue
                    if innermost is None or node.lineno >= innermost.lineno:
                        innermost = node
    return innermost
