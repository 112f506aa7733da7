"""The mutants of a module: its source with one operator, number, comparison or keyword changed."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

INSTALL = "cosmic-ray must be installed (pip install cosmic-ray==8.7.0): it has the list of changes"


@dataclass(frozen=True)
class Mutant:
    """A module with one change.

    Attributes
    ----------
    module : str
        The name of the module, such as ``"sgd_ref.rule"``.
    place : str
        The function that is changed, such as ``"SGD.clip"``; empty outside of functions.
    before, after : str
        The changed lines, without white space at their ends.
    line : int
        The number of the first changed line in the original module, from 1.
    source : str
        The whole module.
    """

    module: str
    place: str
    line: int
    before: str
    after: str
    source: str


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """Yield all mutants of a module that differ in what is evaluated.

    A change of annotations, docstrings or messages alone is left out. Of equal mutants, one is kept.

    Raises
    ------
    ModuleNotFoundError
        If cosmic-ray is not installed.
    """
    seen = {_evaluated(source)}
    for changed in _changed(source):
        try:
            evaluated = _evaluated(changed)
        except SyntaxError:
            continue
        if evaluated not in seen:
            seen.add(evaluated)
            yield _mutant(module, source, changed)


def _changed(source: str) -> Iterator[str]:
    try:  # Only whoever tries mutants needs it.
        from cosmic_ray import plugins
        from cosmic_ray.ast import ast_nodes, get_ast
        from cosmic_ray.mutating import mutate_code
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(INSTALL) from error
    for name in sorted(plugins.operator_names()):
        kind = plugins.get_operator(name)
        if kind.arguments():
            continue  # It changes variables that somebody names.
        operator: Any = kind()
        count = sum(len(list(operator.mutation_positions(node))) for node in ast_nodes(get_ast(source)))
        for occurrence in range(count):
            yield mutate_code(source, operator, occurrence)


def _mutant(module: str, source: str, changed: str) -> Mutant:
    old, new = source.splitlines(), changed.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    different = [block for block in matcher.get_opcodes() if block[0] != "equal"]
    first, last = different[0], different[-1]
    before, after = old[first[1] : last[2]], new[first[3] : last[4]]
    line = first[1] + 1
    return Mutant(module, _place(source, line), line, _joined(before), _joined(after), changed)


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)


def _place(source: str, line: int) -> str:
    """Return the dotted name of the innermost class or function around a line."""
    names = []
    nodes: list[ast.stmt] = ast.parse(source).body
    while nodes:
        around = [
            node
            for node in nodes
            if isinstance(node, (ast.ClassDef, ast.FunctionDef))
            and min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) <= line
            and line <= (node.end_lineno or 0)
        ]
        nodes = []
        for node in around:
            names.append(node.name)
            nodes = node.body
    return ".".join(names)


class _Evaluated(ast.NodeTransformer):
    """It takes out what no answer depends on: annotations, docstrings, and texts put together for errors."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        self.generic_visit(node)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        self.generic_visit(node)
        return ast.Pass() if isinstance(node.value, ast.Constant) else node


def _evaluated(source: str) -> str:
    return ast.dump(_Evaluated().visit(ast.parse(source)))
