"""What is concluded about indices, against all integers that an unknown may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from numba_kernels.selfcheck.proof.expressions import Expressions
from numba_kernels.selfcheck.proof.integers import MANY, Affine, Facts, Split
from numba_kernels.selfcheck.proof.llvm.instructions import Instruction, NotUnderstood, Operand, Type
from numba_kernels.selfcheck.proof.llvm.opcodes import Opcodes
from numba_kernels.selfcheck.proof.loops import last_iteration

I64 = Type("i64")
HIGHEST = 150

COUNT, ROW = Affine.of("count"), Affine.of("row")


def cases(question: Callable[[Facts], Any], highest: int = HIGHEST) -> list[tuple[Facts, Any]]:
    """Return all cases that a question about a count is split into, with the answers."""
    facts = Facts()
    facts.let("count", 0, highest, is_countable=True)
    facts.let("row", 0, MANY)
    waiting, answered = [facts], []
    while waiting:
        case = waiting.pop()
        try:
            answered.append((case, question(case)))
        except Split as split:
            waiting += split.cases
        assert len(waiting) + len(answered) < 100
    return answered


def values(facts: Facts, number: Affine) -> set[tuple[int, int]]:
    """Return the pairs of a count and the value of a sum that are possible in a case."""
    found = set()
    for count in range(HIGHEST + 1):
        known = {"count": count}
        waiting = list(facts.meanings)
        while waiting:
            name = waiting.pop(0)
            if name not in known:
                waiting.append(name)
                continue
            for whole in facts.ranges:
                part = re.fullmatch(re.escape(name) + r"([/%])(\d+)", whole)
                if part:
                    quotient, remainder = divmod(known[name], int(part[2]))
                    known[whole] = quotient if part[1] == "/" else remainder
        inside = all(
            low <= known[name] <= high for name, (low, high) in facts.ranges.items() if name in known
        )
        if inside:
            resolved = facts.resolved(number)
            found.add((count, resolved.offset + sum(known[name] * factor for name, factor in resolved.terms)))
    return found


def evaluated(op: str, first: Affine, second: int, text: str = "") -> list[tuple[Facts, Any]]:
    """Return the result of an instruction on a sum and a constant, in each case."""
    operands = [Operand(I64, "name", "%x"), Operand(I64, "bits", second)]
    instruction = Instruction("%r", op, I64, operands, text=text)
    e = Expressions(())
    return cases(lambda facts: Opcodes(e, facts).result(instruction, [first, Affine.constant(second)]))


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize(
    ("op", "constant", "plain"),
    [
        ("and", 7, lambda x: x & 7),
        ("and", -8, lambda x: x & -8),
        ("and", 28, lambda x: x & 28),
        ("and", 9223372036854775776, lambda x: x & ~31),
        ("lshr", 3, lambda x: x >> 3),
        ("shl", 2, lambda x: x << 2),
        ("add", -5, lambda x: x - 5),
        ("sub", 9, lambda x: x - 9),
        ("mul", 3, lambda x: x * 3),
        ("xor", -1, lambda x: ~x),
    ],
)
def test_an_operation_on_a_count(op: str, constant: int, plain: Callable[[int], int], scale: int) -> None:
    found = evaluated(op, COUNT.times(scale), constant)
    pairs = set().union(*(values(facts, result) for facts, result in found))
    assert pairs == {(count, plain(count * scale)) for count in range(HIGHEST + 1)}


def test_one_mask_after_another() -> None:
    def remainders(facts: Facts) -> Affine:
        high = facts.low_bits(COUNT, 5)
        low = facts.low_bits(COUNT, 2)
        assert high is not None
        assert low is not None
        return high.times(1000) + low

    pairs = set().union(*(values(facts, result) for facts, result in cases(remainders)))
    assert pairs == {(count, 1000 * (count % 32) + count % 4) for count in range(HIGHEST + 1)}


@pytest.mark.parametrize("limit", [0, 1, 7, 32, 150, 151])
@pytest.mark.parametrize(
    ("predicate", "plain"),
    [
        ("ult", lambda x, y: x < y),
        ("sle", lambda x, y: x <= y),
        ("ugt", lambda x, y: x > y),
        ("sge", lambda x, y: x >= y),
        ("eq", lambda x, y: x == y),
        ("ne", lambda x, y: x != y),
    ],
)
def test_a_comparison_of_a_count(predicate: str, plain: Callable[[int, int], bool], limit: int) -> None:
    e = Expressions(())
    found = cases(lambda facts: Opcodes(e, facts).compared(predicate, COUNT, Affine.constant(limit)))
    seen = set()
    for facts, truth in found:
        assert truth.is_constant
        for count, _ in values(facts, COUNT):
            assert bool(truth.args[0]) == plain(count, limit)
            seen.add(count)
    assert seen == set(range(HIGHEST + 1))


def test_numbers_below_zero_are_the_largest_without_a_sign() -> None:
    e = Expressions(())
    found = cases(
        lambda facts: Opcodes(e, facts).compared("ugt", COUNT - Affine.constant(10), Affine.constant(-4))
    )
    for facts, truth in found:
        for count, _ in values(facts, COUNT):
            assert bool(truth.args[0]) == ((count - 10) % 2**64 > -4 % 2**64)


def test_what_is_not_known_is_not_decided() -> None:
    e = Expressions(())
    ((_, truth),) = cases(lambda facts: Opcodes(e, facts).compared("slt", ROW, Affine.constant(3)))
    assert not truth.is_constant
    for op in ("and", "lshr"):
        with pytest.raises(NotUnderstood):
            evaluated(op, ROW, 3)
    with pytest.raises(NotUnderstood):
        evaluated("or", COUNT, 1)


@pytest.mark.parametrize(("start", "step"), [(0, 1), (0, 8), (4, 4), (100, -1), (100, -4)])
@pytest.mark.parametrize("predicate", ["eq", "uge", "sgt", "sle", "slt"])
def test_the_last_iteration_of_a_loop(start: int, step: int, predicate: str) -> None:
    index = Affine.constant(start) + Affine.of("k", step)
    relations: dict[str, Callable[[int, int], bool]] = {
        "eq": lambda x, y: x == y,
        "uge": lambda x, y: x >= y,
        "sgt": lambda x, y: x > y,
        "sle": lambda x, y: x <= y,
        "slt": lambda x, y: x < y,
    }

    def last(facts: Facts) -> Affine | None:
        facts.let("k", 0, MANY)
        try:
            return last_iteration(facts, (predicate, index, COUNT), leaves_if=True, counter="k")
        except NotUnderstood:
            return None

    decided = 0
    for facts, found in cases(last):
        if found is None:
            continue
        for count, number in values(facts, found):
            decided += 1
            places = [k for k in range(400) if relations[predicate](start + k * step, count)]
            assert number == places[0]
    assert decided or (predicate in ("uge", "sgt")) == (step < 0) or predicate == "eq"
