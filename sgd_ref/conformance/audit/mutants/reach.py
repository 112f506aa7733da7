"""Which golden entries reach which lines of the reference, so that a mutant is asked no others."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from types import FrameType
from typing import Any

from sgd_ref.conformance.audit.mutants.trial import Question

Reach = dict[tuple[str, int], set[str]]
"""From a file and a line of it to the ids of the entries that run it."""


def reach(asked: Sequence[Question], files: Collection[str]) -> Reach:
    """Ask the reference every question, and return which lines of the files each of them runs.

    Raises
    ------
    ArithmeticError
        If the reference itself answers wrongly.
    """
    found: Reach = defaultdict(set)
    for question in asked:
        lines: set[tuple[str, int]] = set()

        def traced(frame: FrameType, _event: str, _argument: Any, lines: Any = lines) -> Any:
            if frame.f_code.co_filename not in files:
                return None
            lines.add((frame.f_code.co_filename, frame.f_lineno))
            return traced

        sys.settrace(traced)
        try:
            is_answered = question.is_answered()
        finally:
            sys.settrace(None)
        if not is_answered:
            raise ArithmeticError(f"stale golden files: the reference answers {question.id} otherwise")
        for line in lines:
            found[line].add(question.id)
    return found


def reaching(found: Reach, file: str, source: str, line: int) -> set[str] | None:
    """Return the ids of the entries that run the statement of a line; None for all.

    All of them depend on what an import evaluates, such as the default of an argument.
    """
    statement = _statement(source, line)
    if statement is None:
        return None
    lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    return set().union(*(found.get((file, number), set()) for number in lines))


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
