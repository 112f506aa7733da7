"""The evaluation of expressions on numbers: NumPy arrays replace the leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from numba_kernels.selfcheck.proof.expressions import DOUBLE, FLOAT, HALF, Node, parts
from sgd_ref.arithmetic.formats import BY_NAME, Array

TYPES: dict[str, Any] = {
    "i1": np.bool_,
    "i8": np.uint8,
    HALF: np.uint16,
    "i32": np.uint32,
    "i64": np.uint64,
    FLOAT: np.float32,
    DOUBLE: np.float64,
}
"""The dtype of the numbers of a kind; the 16 bits of a half type are an integer."""

SIGNED: dict[str, Any] = {"i8": np.int8, HALF: np.int16, "i32": np.int32, "i64": np.int64}


def evaluated(node: Node, leaves: Mapping[Node, Array]) -> Array:
    """Return the value of an expression.

    Parameters
    ----------
    node : Node
        The expression.
    leaves : dict of Node to ndarray
        The values of all its leaves but constants, in the dtypes of `TYPES`.
    """
    values: dict[Node, Array] = dict(leaves)
    with np.errstate(all="ignore"):
        for part in parts(node, values):
            kinds = [operand.kind for operand in part.operands]
            words = [arg for arg in part.args if not isinstance(arg, Node)]
            values[part] = operation(
                part.op, part.kind, kinds, words, [values[operand] for operand in part.operands]
            )
    return values[node]


def operation(op: str, kind: str, kinds: list[str], words: list[Any], operands: list[Array]) -> Array:
    """Return the result of one operation.

    Parameters
    ----------
    op, kind : str
        The operation and the kind of its result, as in a node.
    kinds : list of str
        The kinds of the operands.
    words : list
        Arguments that are not operands: the bits of a constant, a predicate, the name of a format.
    operands : list of ndarray
        The values of the operands.
    """
    if op == "constant":
        width = {FLOAT: np.uint32, DOUBLE: np.uint64}.get(kind)
        return np.array(words[0], width).view(TYPES[kind]) if width else np.array(words[0], TYPES[kind])
    if op in _PLAIN:
        return np.asarray(_PLAIN[op](*operands))
    if op in ("fcmp", "icmp"):
        return _compared(words[0], kinds[0], operands)
    if op in ("sext", "ashr"):
        signed = [np.asarray(operand).view(SIGNED[own]) for operand, own in zip(operands, kinds, strict=True)]
        wide = np.right_shift(*signed) if op == "ashr" else signed[0].astype(SIGNED[kind])
        return np.asarray(wide).view(TYPES[kind])
    return _converted(op, kind, words, np.asarray(operands[0]))


_PLAIN: dict[str, Callable[..., Any]] = {
    "fadd": np.add,
    "fsub": np.subtract,
    "fmul": np.multiply,
    "fdiv": np.divide,
    "fneg": np.negative,
    "fabs": np.abs,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "shl": np.left_shift,
    "lshr": np.right_shift,
    "not": np.logical_not,
    "select": np.where,
    "fmax": np.maximum,
    "fmin": np.minimum,
}

_RELATIONS: dict[str, Callable[..., Any]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def _compared(predicate: str, kind: str, operands: list[Array]) -> Array:
    first, second = operands
    if kind in (FLOAT, DOUBLE):
        is_unordered = np.isnan(first) | np.isnan(second)
        if predicate in ("ord", "uno"):
            return np.asarray(is_unordered == (predicate == "uno"))
        relation = _RELATIONS[predicate[1:]](first, second)
        return np.asarray(relation | is_unordered if predicate[0] == "u" else relation & ~is_unordered)
    if predicate[0] == "s":
        first, second = (np.asarray(operand).view(SIGNED[kind]) for operand in operands)
    return np.asarray(
        _RELATIONS[predicate.lstrip("su") if predicate not in ("eq", "ne") else predicate](first, second)
    )


def _converted(op: str, kind: str, words: list[Any], operand: Array) -> Array:
    if op in ("bits", "float"):
        return operand.view(TYPES[kind])
    if op in ("zext", "trunc"):
        return np.asarray((operand & 1).astype(TYPES[kind]) if kind == "i1" else operand.astype(TYPES[kind]))
    if op == "fptrunc" and kind == HALF:
        return np.asarray(operand.astype(np.float16)).view(np.uint16)
    if op == "fpext" and operand.dtype == np.uint16:
        return np.asarray(operand.view(np.float16).astype(np.float32))
    if op in ("fptrunc", "fpext"):
        return np.asarray(operand.astype(TYPES[kind]))
    half = BY_NAME[words[0]]
    if op == "widen":
        return np.asarray(operand.view(half).astype(np.float32))
    if op == "narrow":
        return np.asarray(operand.astype(half)).view(np.uint16)
    if op == "round":
        return np.asarray(operand.astype(half).astype(np.float32))
    raise KeyError(op)
