"""Each step of normalisation changes no bit of any value, and wrong steps are seen to change some."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from numba_kernels.selfcheck.proof.evaluating import evaluated
from numba_kernels.selfcheck.proof.expressions import DOUBLE, FLOAT, HALF, Expressions, Node, Rule, parts
from numba_kernels.selfcheck.proof.normal import STEPS, Step

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5, -2.0, 3.0, 0.1, 1 / 3, 65504.0, 7e-8]
SPECIAL += [
    float(np.finfo(np.float32).max),
    float(np.finfo(np.float32).smallest_subnormal),
    1e-39,
    -(2.0**-126),
]
FINITE = [value for value in SPECIAL if np.isfinite(value)]

Make = Callable[..., Node]


def _floats(e: Expressions, kind: str) -> dict[str, Node]:
    x, y = (e.raw("own", kind, name) for name in ("x", "y"))
    return {
        "x": x,
        "y": y,
        "-x": e.raw("fneg", kind, x),
        **{str(value): e.number(kind, value) for value in (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan)},
    }


def _trials(e: Expressions) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Yield operations with operands of all sorts that their kinds allow."""
    for kind in (FLOAT, DOUBLE):
        floats = list(_floats(e, kind).values())
        x, y = floats[:2]
        for op in ("fadd", "fsub", "fmul", "fdiv", "fmax", "fmin"):
            yield from ((op, kind, pair) for pair in itertools.product(floats, repeat=2))
        predicates = [f"{order}{name}" for order in "ou" for name in ("eq", "gt", "ge", "lt", "le")]
        for predicate in [*predicates, "one", "une", "ord", "uno"]:
            yield from (("fcmp", "i1", (predicate, *pair)) for pair in itertools.product(floats, repeat=2))
        yield from (("fneg", kind, (one,)) for one in floats)
        truths = [e.truth(True), e.truth(False), e.raw("fcmp", "i1", "olt", x, y)]
        truths.append(e.raw("not", "i1", truths[-1]))
        yield from (("not", "i1", (truth,)) for truth in truths)
        yield from (
            (op, "i1", pair) for op in ("and", "or", "xor") for pair in itertools.product(truths, repeat=2)
        )
        for truth, *pair in itertools.product(truths, floats, floats):
            yield "select", kind, (truth, *pair)
        for truth in truths:
            yield "trunc", "i1", (e.raw("zext", "i8", truth),)
        bits = "i32" if kind == FLOAT else "i64"
        yield "float", kind, (e.raw("bits", bits, x),)
        yield "bits", bits, (e.raw("float", kind, e.raw("bits", bits, x)),)
        settings = [e.raw("slot", kind, name) for name in ("loss_scale", "ema_momentum", "momentum")]
        yield from (("fsub", kind, pair) for pair in itertools.product([*settings, x], repeat=2))
    for name in ("loss_scale", "learning_rate"):
        yield "fptrunc", FLOAT, (e.raw("slot", DOUBLE, name),)
    yield "fptrunc", FLOAT, (e.raw("own", DOUBLE, "x"),)
    for half in ("float16", "bfloat16"):
        bits = e.raw("own", HALF, "h")
        wide, any_number = e.raw("widen", FLOAT, half, bits), e.raw("own", FLOAT, "x")
        rounded = e.raw("round", FLOAT, half, any_number)
        for number in (
            wide,
            any_number,
            rounded,
            e.raw("fneg", FLOAT, wide),
            e.raw("fadd", FLOAT, wide, rounded),
        ):
            yield "round", FLOAT, (half, number)
            yield "narrow", HALF, (half, number)
            yield "widen", FLOAT, (half, e.raw("narrow", HALF, half, number))
    integers = [
        e.raw("bits", "i32", e.raw("own", FLOAT, "x")),
        *(e.constant("i32", bits) for bits in (0, 1, 13)),
    ]
    for op in ("add", "sub", "and", "or", "xor", "mul"):
        yield from ((op, "i32", pair) for pair in itertools.product(integers, repeat=2))
    for op in ("shl", "lshr", "ashr"):
        yield from ((op, "i32", (number, integers[-1])) for number in integers)
    yield from (("icmp", "i1", (name, *integers[:2])) for name in ("eq", "ne", "ult", "sgt"))


def _values(nodes: list[Node]) -> dict[Node, Any]:
    """Return values for the leaves: all pairs of special ones."""
    first, second = (np.array(side).ravel() for side in np.meshgrid(SPECIAL, SPECIAL))
    finite = np.resize(FINITE, first.shape)
    halves = np.resize(
        np.array([0, 0x8000, 1, 0x3C00, 0x7C00, 0x7F80, 0x7BFF, 0xFC00, 0x3555], np.uint16), first.shape
    )
    found = {}
    with np.errstate(all="ignore"):
        for leaf in nodes:
            dtype = {FLOAT: np.float32, DOUBLE: np.float64}.get(leaf.kind)
            if leaf.kind == HALF:
                found[leaf] = halves
            elif leaf.op == "slot":
                # Numbers of float32, finite.
                found[leaf] = finite.astype(np.float32).astype(dtype)
            else:
                found[leaf] = (second if leaf.args == ("y",) else first).astype(dtype)
    return found


def _leaves(*nodes: Node) -> list[Node]:
    return [part for node in nodes for part in parts(node) if part.op in ("own", "slot")]


def _same(first: Any, second: Any) -> bool:
    first, second = np.broadcast_arrays(first, second)
    if first.dtype.kind == "f":
        are_nan = np.isnan(first) & np.isnan(second)
        width = f"u{first.itemsize}"
        bits = (np.ascontiguousarray(side).view(width) for side in (first, second))
        return bool((np.equal(*bits) | are_nan).all())
    return np.array_equal(first, second)


def wrong_uses(rule: Rule) -> tuple[int, list[str]]:
    """Return how often a step has something to say, and where it changes a value."""
    uses, wrong = 0, []
    e = Expressions(())
    for op, kind, args in list(_trials(e)):
        found = rule(e, op, kind, args)
        plain = e.raw(op, kind, *args)
        if found is None or found is plain:
            continue
        uses += 1
        leaves = _values(_leaves(plain, found))
        # A slot may have become one of another kind; it has the same value.
        if not _same(evaluated(plain, leaves), evaluated(found, leaves)):
            wrong.append(f"{plain} became {found}")
    return uses, wrong


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_changes_no_value(step: Step) -> None:
    uses, wrong = wrong_uses(step.apply)
    assert uses > 0
    assert wrong == []
    assert len(step.why) > 10


def _for(wanted: str, result: Callable[..., Node | None]) -> Rule:
    def rule(e: Expressions, op: str, kind: str, args: tuple[Any, ...]) -> Node | None:
        return result(e, kind, *args) if op == wanted else None

    return rule


def _is(node: Node, e: Expressions, value: float) -> bool:
    return node is e.number(node.kind, value) if node.kind in (FLOAT, DOUBLE) else False


WRONG: dict[str, Rule] = {
    "a + (-b) as b - a": _for(
        "fadd", lambda e, kind, a, b: e.raw("fsub", kind, b.operands[0], a) if b.op == "fneg" else None
    ),
    "subtraction commutes": _for("fsub", lambda e, kind, a, b: e.raw("fsub", kind, b, a)),
    "division commutes": _for("fdiv", lambda e, kind, a, b: e.raw("fdiv", kind, b, a)),
    "x + 0 is x": _for("fadd", lambda e, kind, a, b: a if _is(b, e, 0.0) else None),
    "x * 0 is 0": _for("fmul", lambda e, kind, a, b: b if _is(b, e, 0.0) else None),
    "x - x is 0": _for("fsub", lambda e, kind, a, b: e.number(kind, 0.0) if a is b else None),
    "x / x is 1": _for("fdiv", lambda e, kind, a, b: e.number(kind, 1.0) if a is b else None),
    "-1 * x is x": _for("fmul", lambda e, kind, a, b: a if _is(b, e, -1.0) else None),
    "0 - x is -x": _for("fsub", lambda e, kind, a, b: e.raw("fneg", kind, b) if _is(a, e, 0.0) else None),
    "not less is not smaller": _for(
        "fcmp", lambda e, kind, p, a, b: e.raw("fcmp", kind, "oge", a, b) if p == "ult" else None
    ),
    "unordered as ordered": _for(
        "fcmp", lambda e, kind, p, a, b: e.raw("fcmp", kind, "olt", a, b) if p == "ult" else None
    ),
    "x is not above itself's infinity": _for(
        "fcmp", lambda e, kind, p, a, b: e.truth(False) if p == "olt" and _is(b, e, np.inf) else None
    ),
    "the other choice": _for("select", lambda e, kind, c, a, b: e.raw("select", kind, c, b, a)),
    "the second where the condition is open": _for("select", lambda e, kind, c, a, b: b),
    "or as and": _for("or", lambda e, kind, a, b: e.raw("and", kind, a, b)),
    "everything is of the half type": _for("round", lambda e, kind, half, a: a),
    "bfloat16 by float16": _for("round", lambda e, kind, half, a: e.raw("round", kind, "float16", a)),
    "a float64 is a float32": _for(
        "fptrunc", lambda e, kind, a: e.raw("own", FLOAT, "y") if a.op == "own" and kind == FLOAT else None
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_step_is_seen(name: str) -> None:
    uses, wrong = wrong_uses(WRONG[name])
    assert uses > 0
    assert wrong != []


def test_the_two_signs_of_an_infinite_setting() -> None:
    # The definition of the order: 5.11 of IEEE 754, with a limit of infinity nothing is clipped.
    e = Expressions(step.apply for step in STEPS)
    x, limit = e.raw("own", FLOAT, "x"), e.number(FLOAT, np.inf)
    low = e.make("select", FLOAT, e.make("fcmp", "i1", "olt", x, e.make("fneg", FLOAT, limit)), limit, x)
    assert e.make("select", FLOAT, e.make("fcmp", "i1", "ogt", x, limit), limit, low) is x
