"""Expressions: the computation of a kernel or of the rule, as a graph in which equal parts are one object.

A node is an operation with its operands; each rounded operation is a node of its own. Nodes are made by
``Expressions.make``, which brings them into a normal form (``normal.py``). Two nodes of one
``Expressions`` are the same object exactly if their normal forms are equal.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

FLOAT, DOUBLE, HALF = "float", "double", "16 bits"
"""Kinds of numbers. The 16 bits of a half type have one kind, whether LLVM calls them integer or half."""

BITS_OF = {"i1": 1, "i8": 8, HALF: 16, "i32": 32, "i64": 64, FLOAT: 32, DOUBLE: 64}
"""The width of each kind."""

LEAVES = ("constant", "element", "elements", "own", "slot", "factor", "setting", "mode", "poison")
"""Operations without operands. ``element`` is one number of an array, ``elements`` is one number in each lane
of a vector, and ``own`` is the number with the same index as the result."""

_INFIX = {"fadd": "+", "fsub": "-", "fmul": "*", "fdiv": "/", "add": "+", "sub": "-", "and": "&", "or": "|"}
_INFIX |= {"xor": "^", "shl": "<<", "lshr": ">>", "ashr": ">>s", "mul": "*"}

_COMPARED = {"oeq": "==", "olt": "<", "ole": "<=", "one": "<>", "ord": "orders"}


class Node:
    """A node, which only ``Expressions`` constructs.

    Attributes
    ----------
    op : str
        The operation, under LLVM's name if there is one.
    kind : str
        The kind of the result.
    args : tuple
        Nodes, and other parts of the operation: a name, an index, the bits of a constant.
    number : int
        A number that is smaller for nodes that were made earlier.
    operands : list of Node
        The arguments that are nodes.
    """

    __slots__ = ("args", "kind", "number", "op", "operands")

    def __init__(self, op: str, kind: str, args: tuple[Any, ...], number: int) -> None:
        self.op, self.kind, self.args, self.number = op, kind, args, number
        self.operands = [arg for arg in args if isinstance(arg, Node)]

    @property
    def is_constant(self) -> bool:
        """Whether the value is known."""
        return self.op == "constant"

    def __str__(self) -> str:
        return _told(self)

    __repr__ = __str__


Rule = Callable[["Expressions", str, str, tuple[Any, ...]], "Node | None"]
"""A function of an operation, its kind and its operands; it returns an equal node, or None if it does not
apply."""


class Expressions:
    """The nodes of one proof.

    Parameters
    ----------
    rules : iterable of callable
        The steps of normalisation.

    Examples
    --------
    >>> expressions = Expressions(())
    >>> g = expressions.make("own", FLOAT, "g")
    >>> print(expressions.make("fmul", FLOAT, g, g))
    g * g
    >>> expressions.make("fmul", FLOAT, g, g) is expressions.make("fmul", FLOAT, g, g)
    True
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)
        self._nodes: dict[tuple[Any, ...], Node] = {}
        self._substituted: dict[tuple[Any, ...], dict[Node, Node]] = {}

    def make(self, op: str, kind: str, *args: Any) -> Node:
        """Return the node of an operation, in its normal form."""
        key = (op, kind, args)
        found = self._nodes.get(key)
        if found is None:
            for rule in self._rules:
                found = rule(self, op, kind, args)
                if found is not None:
                    break
            else:
                found = self.raw(op, kind, *args)
            self._nodes[key] = found
        return found

    def raw(self, op: str, kind: str, *args: Any) -> Node:
        """Return the node of an operation without normalising it."""
        key = ("raw", op, kind, args)
        found = self._nodes.get(key)
        if found is None:
            found = self._nodes[key] = Node(op, kind, args, len(self._nodes))
        return found

    def constant(self, kind: str, bits: int) -> Node:
        """Return a constant by its bits."""
        return self.raw("constant", kind, bits & ((1 << BITS_OF[kind]) - 1))

    def number(self, kind: str, value: float) -> Node:
        """Return a constant of a kind of numbers by its value, which the kind must hold exactly."""
        if kind == DOUBLE:
            return self.constant(kind, struct.unpack("<Q", struct.pack("<d", value))[0])
        assert kind == FLOAT
        return self.constant(kind, struct.unpack("<I", struct.pack("<f", value))[0])

    def truth(self, value: bool) -> Node:
        """Return a constant truth value."""
        return self.constant("i1", int(value))

    def substituted(self, node: Node, replacements: Mapping[Node, Node]) -> Node:
        """Return a node with some nodes replaced wherever they occur in it."""
        if not replacements:
            return node
        if node in replacements:
            return replacements[node]
        key = tuple(replacements.items())
        done = self._substituted.get(key)
        if done is None:
            done = self._substituted[key] = dict(replacements)
        for part in parts(node, done):
            if not part.operands:
                done[part] = part
                continue
            args = tuple(done[arg] if isinstance(arg, Node) else arg for arg in part.args)
            done[part] = part if args == part.args else self.make(part.op, part.kind, *args)
        return done[node]


def parts(node: Node, known: Mapping[Node, Any] | None = None) -> Iterator[Node]:
    """Yield the nodes of an expression, each once and operands first, but no known ones."""
    known = known or {}
    seen: set[Node] = set()
    stack = [node]
    while stack:
        part = stack[-1]
        if part in seen or part in known:
            stack.pop()
            continue
        waiting = [operand for operand in part.operands if operand not in seen and operand not in known]
        if waiting:
            stack += waiting
            continue
        stack.pop()
        seen.add(part)
        yield part


def constant_value(node: Node) -> float:
    """Return the value of a constant that is a number."""
    (bits,) = node.args
    form = {FLOAT: ("<I", "<f"), DOUBLE: ("<Q", "<d")}[node.kind]
    value: float = struct.unpack(form[1], struct.pack(form[0], bits))[0]
    return value


def _told(node: Node) -> str:
    """Return an expression as text, with the names of the rule."""
    texts: dict[Node, str] = {}
    for part in parts(node):
        texts[part] = _text(part, [texts[operand] for operand in part.operands])
    return texts[node]


def _text(node: Node, texts: list[str]) -> str:
    op, args = node.op, node.args
    if op == "constant":
        return f"{constant_value(node):g}" if node.kind in (FLOAT, DOUBLE) else f"{args[0]:#x}"
    if op in LEAVES:
        name, *index = args or (op,)
        return f"{name}[{index[0]}]" if index else str(name)
    bracketed = [f"({text})" if " " in text and not _is_call(text) else text for text in texts]
    if op in _INFIX:
        return f"{bracketed[0]} {_INFIX[op]} {bracketed[1]}"
    if op == "fcmp":
        return f"{bracketed[0]} {_COMPARED.get(args[0], args[0])} {bracketed[1]}"
    if op == "fneg":
        return f"-{bracketed[0]}"
    others = [str(arg) for arg in args if not isinstance(arg, Node)]
    return f"{op}{'_' + '_'.join(others) if others else ''}({', '.join(texts)})"


def _is_call(text: str) -> bool:
    """Whether the whole text is a name followed by one pair of brackets."""
    start = text.find("(")
    if start <= 0 or " " in text[:start] or not text.endswith(")"):
        return False
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and character == ")":
            return place == len(text) - 1
    return False
