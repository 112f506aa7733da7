"""The normal form: each step replaces an expression by another that is equal for all inputs, with a reason.

Equal means the same bits, where all NaNs count as equal, as in the definition. IEEE 754 is cited in its
edition of 2019. The reasons for steps about bits come from two's complement.

``tests/numba_kernels/selfcheck/proof/test_normal.py`` tests each step on special values, and shows that wrong
steps fail this test.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numba_kernels.selfcheck.proof.evaluating import operation
from numba_kernels.selfcheck.proof.expressions import (
    DOUBLE,
    FLOAT,
    Expressions,
    Node,
    Rule,
    constant_value,
)

Arguments = tuple[Any, ...]


class Step(NamedTuple):
    """One step of normalisation.

    Attributes
    ----------
    name : str
        The effect of the step.
    why : str
        The reason why it changes no bit of any result.
    apply : callable
        The function that ``Expressions`` calls.
    """

    name: str
    why: str
    apply: Rule


COMMUTATIVE = ("fadd", "fmul", "add", "mul", "and", "or", "xor")

_SWAPPED = {"ogt": "olt", "oge": "ole", "ugt": "ult", "uge": "ule"}
_COMPLEMENT = {
    "uge": "olt",
    "ugt": "ole",
    "ule": "ogt",
    "ult": "oge",
    "une": "oeq",
    "ueq": "one",
    "uno": "ord",
}


def _node(value: Any) -> Node:
    assert isinstance(value, Node)
    return value


def _is(node: Any, value: float) -> bool:
    """Whether a node is this number; the sign of a zero does not matter."""
    return (
        isinstance(node, Node)
        and node.is_constant
        and node.kind in (FLOAT, DOUBLE)
        and (constant_value(node) == value)
    )


def _folded(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    operands = [arg for arg in args if isinstance(arg, Node)]
    if op == "constant" or not operands or not all(operand.is_constant for operand in operands):
        return None
    words = [arg for arg in args if not isinstance(arg, Node)]
    kinds = [operand.kind for operand in operands]
    with np.errstate(all="ignore"):
        values = [operation("constant", own.kind, [], list(own.args), []) for own in operands]
        result = np.atleast_1d(operation(op, kind, kinds, words, values))
    width = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}[result.dtype.itemsize]
    return e.constant(kind, int(result.view(width)[0]))


def _ordered(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op in COMMUTATIVE and args[0].number > args[1].number:
        return e.make(op, kind, args[1], args[0])
    if (
        op in ("fcmp", "icmp")
        and args[0] in ("oeq", "one", "ord", "eq", "ne")
        and args[1].number > args[2].number
    ):
        return e.make(op, kind, args[0], args[2], args[1])
    return None


def _times_one(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op != "fmul":
        return None
    first, second = args
    return _node(first) if _is(second, 1) else _node(second) if _is(first, 1) else None


def _divided_by_one(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    return _node(args[0]) if op == "fdiv" and _is(args[1], 1) else None


def _turned(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op == "fcmp" and args[0] in _SWAPPED:
        return e.make(op, kind, _SWAPPED[args[0]], args[2], args[1])
    return None


def _negated(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op == "fcmp" and args[0] in _COMPLEMENT:
        return e.make("not", kind, e.make(op, kind, _COMPLEMENT[args[0]], *args[1:]))
    if op == "xor" and kind == "i1":
        for known, other in (args, args[::-1]):
            if known.is_constant and known.args == (1,):
                return e.make("not", kind, other)
    if op == "not" and args[0].op == "not":
        return _node(args[0].operands[0])
    return None


def _beyond_infinity(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op == "fcmp" and args[0] == "olt" and (_is(args[1], np.inf) or _is(args[2], -np.inf)):
        return e.truth(False)
    return None


def _chosen(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op != "select":
        return None
    condition, first, second = args
    if first is second:
        return _node(first)
    if condition.is_constant:
        return _node(first if condition.args[0] else second)
    if condition.op == "not":
        return e.make("select", kind, condition.operands[0], second, first)
    return None


def _sign_twice(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    return _node(args[0].operands[0]) if op == "fneg" and args[0].op == "fneg" else None


def _plus_the_opposite(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op != "fadd":
        return None
    for other, opposite in (args, args[::-1]):
        if opposite.op == "fneg":
            return e.make("fsub", kind, other, opposite.operands[0])
    return None


def _bits_and_back(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    other = {"bits": "float", "float": "bits"}.get(op)
    return _node(args[0].operands[0]) if other is not None and args[0].op == other else None


def _truths(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op not in ("and", "or") or kind != "i1":
        return None
    for known, other in (args, args[::-1]):
        if known.is_constant:
            # The operand that decides the result: false for "and", true for "or".
            return _node(known if known.args[0] == (op == "or") else other)
    return None


def _truncated_truth(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op == "trunc" and args[0].op == "zext" and args[0].operands[0].kind == kind:
        return _node(args[0].operands[0])
    return None


def _setting_minus_itself(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if (
        op == "fsub"
        and args[0] is args[1]
        and args[0].op == "slot"
        and args[0].args[0] in ("loss_scale", "ema_momentum")
    ):
        return e.number(kind, 0.0)
    return None


def _setting_narrowed(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op == "fptrunc" and kind == FLOAT and args[0].op in ("slot", "factor"):
        return e.make(args[0].op, FLOAT, *args[0].args)
    return None


def is_of_half(node: Node) -> bool:
    """Whether the expression of a float32 shows that it is a number of the present half type."""
    if node.op == "select":
        return all(is_of_half(operand) for operand in node.operands[1:])
    if node.op == "fneg":
        return is_of_half(node.operands[0])
    # The loss scale is a float32, and so is the clipping factor of several dtypes.
    is_setting = node.op in ("slot", "setting") and not str(node.args[0]).startswith("loss_scale")
    return node.op in ("round", "widen") or is_setting


def _of_half_already(e: Expressions, op: str, kind: str, args: Arguments) -> Node | None:
    if op == "round" and is_of_half(args[1]):
        return _node(args[1])
    if (
        op == "widen"
        and args[1].op == "narrow"
        and args[1].args[0] == args[0]
        and is_of_half(args[1].args[1])
    ):
        return _node(args[1].args[1])
    if op == "narrow" and args[1].op == "widen" and args[1].args[0] == args[0]:
        return _node(args[1].args[1])
    return None


STEPS = (
    Step("constants", "the operation itself, carried out once", _folded),
    Step(
        "operands of a commutative operation in one order",
        "IEEE 754, 5.4.1: sum and product are the rounded exact ones, which do not depend on the order; "
        "5.11: equality neither",
        _ordered,
    ),
    Step("times 1", "IEEE 754, 4.3: the exact product is representable, with its sign (6.3)", _times_one),
    Step(
        "divided by 1",
        "IEEE 754, 4.3: the exact quotient is representable, with its sign (6.3)",
        _divided_by_one,
    ),
    Step("a > b as b < a", "IEEE 754, 5.11: the relations are those of the numbers, false with NaN", _turned),
    Step(
        "not the complement", "IEEE 754, 5.11: table 5.2, negations; exclusive or with true is not", _negated
    ),
    Step(
        "nothing beyond infinity",
        "IEEE 754, 5.11: no number is above infinity or below -infinity; NaN neither",
        _beyond_infinity,
    ),
    Step("a choice that is none", "the definition of select", _chosen),
    Step("two signs", "IEEE 754, 5.5.1: negate flips the sign bit", _sign_twice),
    Step(
        "a + (-b) as a - b",
        "IEEE 754, 5.4.1: the difference is the rounded a - b, exactly a + (-b), with the same sign (6.3)",
        _plus_the_opposite,
    ),
    Step("bits and back", "the definition of bitcast", _bits_and_back),
    Step("truth tables", "and with true, or with false: the other operand; otherwise decided", _truths),
    Step("a truth value widened and cut again", "two's complement", _truncated_truth),
    Step(
        "a finite setting minus itself",
        "IEEE 754, 6.3: x - x is +0 for finite x, rounding to nearest; sgd_ref.base.settings refuses others",
        _setting_minus_itself,
    ),
    Step(
        "a setting in the dtype of the computation",
        "numba_kernels.shared.constants: settings and factors are numbers of that dtype, widened to float64; "
        "IEEE 754, 5.4.2: the conversion back is exact",
        _setting_narrowed,
    ),
    Step(
        "numbers of a half type",
        "IEEE 754, 4.3: a number of the format rounds to itself, so that widening and narrowing undo each "
        "other",
        _of_half_already,
    ),
)
"""All steps, in the order in which they are tried."""

RULES: tuple[Rule, ...] = tuple(step.apply for step in STEPS)
