"""Recognition of conversions of half types in the instructions that make them up.

LLVM spreads a rounding over about ten instructions, and merges it with the code before and after. So the
prover does not search for a pattern. If a float, or 16 bits, are computed from the bits of *one* value, the
instructions between are a function of that value. The prover determines this function by evaluating it: on
all 65,536 values if the value is a number of the half type, otherwise on a sample. A function that passes the
sample becomes a claim, which ``sweep.py`` proves on all 2**32 values.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.selfcheck.proof.evaluating import operation
from numba_kernels.selfcheck.proof.expressions import FLOAT, HALF, Expressions, Node, parts
from numba_kernels.selfcheck.proof.normal import COMMUTATIVE, is_of_half
from sgd_ref.arithmetic.formats import BY_NAME, Array

_INSIDE = {
    "bits",
    "float",
    "zext",
    "sext",
    "trunc",
    "and",
    "or",
    "xor",
    "add",
    "sub",
    "mul",
    "shl",
    "lshr",
    "ashr",
}
_INSIDE |= {"select", "icmp", "fcmp", "not", "fabs", "fneg", "fptrunc", "fpext", "constant"}
_ARITHMETIC = {"fadd", "fsub", "fmul", "fdiv"}

SAME, WIDEN, NARROW, ROUND, ROUND_AND_NARROW, TRUNCATE = (
    "same",
    "widen",
    "narrow",
    "round",
    "round and narrow",
    "truncate",
)

Form = tuple[tuple[Any, ...], ...]
"""A function of one value: its operations in order, with operands given by position; position 0 is the
value."""


class Claim(NamedTuple):
    """A claim about the meaning of a function of one float32.

    Attributes
    ----------
    half : str
        The name of the half type.
    form : Form
        The function.
    meaning : str
        ROUND or ROUND_AND_NARROW.
    """

    half: str
    form: Form
    meaning: str


class Halves:
    """The conversions of one half type in the expressions of a kernel.

    Parameters
    ----------
    half : str
        "float16" or "bfloat16".

    Attributes
    ----------
    claims : set of Claim
        The claims that remain to be proven on all values.
    """

    def __init__(self, half: str) -> None:
        self.half = half
        self.claims: set[Claim] = set()

    def rule(self, e: Expressions, op: str, kind: str, args: tuple[Any, ...]) -> Node | None:
        """Return a conversion that replaces the last of the instructions that make it up."""
        if (op, kind) not in (("float", FLOAT), ("fpext", FLOAT), ("trunc", HALF), ("fptrunc", HALF)):
            return None
        node = e.raw(op, kind, *args)
        found = _form(node)
        if found is None:
            return None
        form, leaf = found
        is_known = leaf.kind == HALF or is_of_half(leaf)
        meaning = meaning_of(self.half, form, is_known)
        if meaning in (ROUND, ROUND_AND_NARROW):
            self.claims.add(Claim(self.half, form, meaning))
        return self._written(e, meaning, leaf)

    def _written(self, e: Expressions, meaning: str | None, leaf: Node) -> Node | None:
        match meaning:
            case "same":
                return leaf
            case "widen":
                return e.make("widen", FLOAT, self.half, leaf)
            case "narrow":
                return e.make("narrow", HALF, self.half, leaf)
            case "round":
                return e.make("round", FLOAT, self.half, leaf)
            case "round and narrow":
                return e.make("narrow", HALF, self.half, e.make("round", FLOAT, self.half, leaf))
            case "truncate":
                return e.raw("truncate", HALF, leaf)
        return None


def _form(node: Node) -> tuple[Form, Node] | None:
    """Return a node as a function of one value, and the value; None if it depends on several values."""
    inside: set[Node] = set()
    leaves: set[Node] = set()
    stack = [node]
    while stack:
        part = stack.pop()
        if part in inside or part in leaves:
            continue
        is_inside = part.op in _INSIDE or (
            part.op in _ARITHMETIC and any(operand.is_constant for operand in part.operands)
        )
        (inside if is_inside else leaves).add(part)
        if is_inside:
            stack.extend(part.operands)
    if len(leaves) != 1:
        return None
    (leaf,) = leaves
    if leaf.kind not in (FLOAT, HALF):
        return None
    return _written_out(node, leaf), leaf


def _written_out(node: Node, leaf: Node) -> Form:
    """Return the operations in an order that depends only on the operations themselves."""
    digests: dict[Node, str] = {leaf: "x"}
    ordered: dict[Node, list[Node]] = {}
    for part in parts(node, digests):
        operands = list(part.operands)
        if part.op in COMMUTATIVE:
            operands.sort(key=lambda operand: digests[operand])
        words = tuple(arg for arg in part.args if not isinstance(arg, Node))
        text = repr((part.op, part.kind, words, [digests[operand] for operand in operands]))
        digests[part], ordered[part] = hashlib.sha256(text.encode()).hexdigest(), operands
    places = {leaf: 0}
    form: list[tuple[Any, ...]] = [("x", leaf.kind)]
    stack = [node]
    while stack:
        part = stack[-1]
        waiting = [operand for operand in ordered.get(part, []) if operand not in places]
        if waiting:
            stack.append(waiting[0])
            continue
        stack.pop()
        if part not in places:
            words = tuple(arg for arg in part.args if not isinstance(arg, Node))
            places[part] = len(form)
            form.append((part.op, part.kind, tuple(places[operand] for operand in ordered[part]), words))
    return tuple(form)


def value_of(form: Form, x: Array) -> Array:
    """Return the values of a function."""
    values = [x]
    kinds = [form[0][1]]
    with np.errstate(all="ignore"):
        for op, kind, operands, words in form[1:]:
            values.append(
                operation(
                    op,
                    kind,
                    [kinds[place] for place in operands],
                    list(words),
                    [values[place] for place in operands],
                )
            )
            kinds.append(kind)
    return np.broadcast_to(values[-1], x.shape)


@functools.cache
def meaning_of(half: str, form: Form, is_of_half_type: bool) -> str | None:
    """Return the meaning of a function, tested on all values of the half type or on a sample of float32.

    Parameters
    ----------
    half : str
        The name of the half type.
    form : Form
        The function.
    is_of_half_type : bool
        Whether its argument is a number of the half type, or the 16 bits of such a number.
    """
    bits = np.arange(65536, dtype=np.uint16)
    wide = np.asarray(bits.view(BY_NAME[half]).astype(np.float32))
    given, result = form[0][1], form[-1][1]
    meanings: dict[Any, tuple[str, Array]]
    if given == HALF:
        found = value_of(form, bits)
        meanings = {HALF: (SAME, bits), FLOAT: (WIDEN, wide)}
        return meanings[result][0] if _equal(half, found, meanings[result][1]) else None
    if is_of_half_type:
        found = value_of(form, wide)
        meanings = {HALF: (NARROW, bits), FLOAT: (SAME, wide)}
        return meanings[result][0] if _equal(half, found, meanings[result][1]) else None
    x = sample(half)
    found = value_of(form, x)
    rounded = nearest(half, x)
    if _equal(
        half, found, np.asarray(rounded.view(np.uint16) if result == HALF else rounded.astype(np.float32))
    ):
        return ROUND_AND_NARROW if result == HALF else ROUND
    if half == "bfloat16" and result == HALF and np.array_equal(found, x.view(np.uint32) >> 16):
        return TRUNCATE
    return None


def nearest(half: str, x: Array) -> Array:
    """Return the nearest numbers of a half type, by the conversion of NumPy or ml_dtypes."""
    with np.errstate(all="ignore"):
        return np.asarray(x.astype(BY_NAME[half]))


def is_of_domain(half: str, bits: Array) -> Array:
    """Whether float32, by their bits, can occur in a kernel; for bfloat16 the low half of a NaN is zero.

    A loaded NaN has a low half of zero. By IEEE 754, 6.2.3, the NaN from an operation has the payload of an
    operand. The payload of a NaN that the processor generates is zero except for the quiet bit.
    """
    magnitudes = bits & np.uint32(0x7FFFFFFF)
    is_nan = magnitudes > np.uint32(0x7F800000)
    return (
        np.asarray(~(is_nan & (bits & np.uint32(0xFFFF) != 0)))
        if half == "bfloat16"
        else np.full(bits.shape, True)
    )


@functools.cache
def sample(half: str) -> Array:
    """Return float32 of all magnitudes: each high half with low halves next to ties and at random."""
    generator = np.random.default_rng(1)
    high = np.arange(65536, dtype=np.uint32) << 16
    lows = [0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x3001, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
    bits = [high | np.uint32(low) for low in lows]
    bits += [high | generator.integers(65536, size=65536, dtype=np.uint32) for _ in range(4)]
    every = np.concatenate(bits)
    return np.asarray(every[is_of_domain(half, every)]).view(np.float32)


def _equal(half: str, found: Array, expected: Array) -> bool:
    """Whether all values are the same, where all NaNs count as equal."""
    dtype: Any = {2: BY_NAME[half], 4: np.dtype(np.float32)}[found.dtype.itemsize]
    first, second = np.ascontiguousarray(found).view(dtype), np.ascontiguousarray(expected).view(dtype)
    with np.errstate(invalid="ignore"):
        # Testing a signalling NaN may raise this flag.
        are_nan = np.isnan(first) & np.isnan(second)
    same = np.ascontiguousarray(found).view(f"u{found.dtype.itemsize}") == np.ascontiguousarray(
        expected
    ).view(f"u{found.dtype.itemsize}")
    if dtype == np.float32 and half == "bfloat16" and not is_of_domain(half, first.view(np.uint32)).all():
        return False
    return bool((same | are_nan).all())
