"""The effect of all iterations of a loop, derived from the effect of one iteration."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

from numba_kernels.selfcheck.proof.expressions import Expressions
from numba_kernels.selfcheck.proof.integers import Affine, Facts
from numba_kernels.selfcheck.proof.llvm.instructions import NotUnderstood
from numba_kernels.selfcheck.proof.memory import Access, Memory, Written, in_own_terms

_COMPLEMENT = {"eq": "ne", "ne": "eq", "gt": "le", "le": "gt", "lt": "ge", "ge": "lt"}


def last_iteration(
    facts: Facts, condition: tuple[str, Affine, Affine], leaves_if: bool, counter: str
) -> Affine:
    """Return the number of the iteration in which a loop is left, counted from 0.

    Parameters
    ----------
    facts : Facts
        The facts before the loop, which may raise `Split`.
    condition : tuple
        A predicate and the two indices that it compares.
    leaves_if : bool
        Whether the loop is left if the condition holds, or if it does not.
    counter : str
        The unknown for the number of the iteration.
    """
    predicate, first, second = condition
    first, second = facts.resolved(first), facts.resolved(second)
    relation = predicate.lstrip("su") if predicate not in ("eq", "ne") else predicate
    if not leaves_if:
        relation = _COMPLEMENT[relation]
    difference = first - second
    last = _first_place(facts, relation, difference, counter)
    if last is None:
        raise NotUnderstood(f"a loop that is left if {first} {relation} {second}")
    if predicate[0] == "u":
        # An unsigned comparison equals a signed one if both ends of the range are not negative.
        for number in (first, second):
            step = number.factors.get(counter, 0)
            for end in (number.without(counter), number.without(counter) + last.times(step)):
                if facts.is_negative(end) is not False:
                    raise NotUnderstood(f"a comparison without signs of {first} and {second}")
    return last


def _first_place(facts: Facts, relation: str, difference: Affine, counter: str) -> Affine | None:
    """Return the first iteration in which a difference has a given relation to zero."""
    step = difference.factors.get(counter, 0)
    start = difference.without(counter)
    if relation == "eq" and step:
        place = start.times(-1).divided(step) if step > 0 else start.divided(-step)
        return place if place is not None and facts.is_negative(place) is False else None
    if relation not in ("gt", "ge", "lt", "le"):
        return None
    # The rest computes the first place at which `start + step * place` is not negative.
    if relation in ("lt", "le"):
        step, start = -step, start.times(-1)
    if relation in ("gt", "lt"):
        start -= Affine.constant(1)
    is_negative = facts.is_negative(start)
    if is_negative is False:
        return Affine.constant(0)
    if is_negative is None or step <= 0 or step & (step - 1):
        return None
    enough = start.times(-1) + Affine.constant(step - 1)
    rest = facts.low_bits(enough, step.bit_length() - 1)
    return None if rest is None else facts.resolved(enough - rest).divided(step)


def record(
    e: Expressions,
    memory: Memory,
    facts: Facts,
    accesses: list[Access],
    counter: str = "",
    last: Affine | None = None,
) -> None:
    """Add to a memory the elements that a loop has written, or, without a counter, code outside of loops.

    Raises
    ------
    NotUnderstood
        If elements are written or read that were written before, if an iteration leaves elements out, or if
        two iterations write the same element.
    """
    last = last or Affine.constant(0)
    accesses = [access._replace(first=facts.resolved(access.first)) for access in accesses]
    fresh = list[Written]()
    by_array = sorted(accesses, key=attrgetter("array"))
    for array, group in groupby(by_array, key=attrgetter("array")):
        of_array = list(group)
        writes = [access for access in of_array if access.node is not None]
        for access in of_array:
            _check_untouched(memory, facts, access, counter, last)
        if writes:
            fresh += _ranges(e, facts, array, writes, counter, last)
    memory.written += fresh


def _range(access: Access, counter: str, last: Affine) -> tuple[Affine, Affine]:
    step = access.first.factors.get(counter, 0)
    low = access.first.without(counter)
    return low, low + last.times(step) + Affine.constant(access.lanes)


def _check_untouched(memory: Memory, facts: Facts, access: Access, counter: str, last: Affine) -> None:
    """Check that none of the elements was written before this loop."""
    low, high = _range(access, counter, last)
    for written in memory.written:
        if written.array == access.array and not (
            facts.is_negative(low - written.high) is False or facts.is_negative(written.low - high) is False
        ):
            what = "read" if access.node is None else "written"
            raise NotUnderstood(
                f"{access.array}[{low}] to [{high}] is {what}, and [{written.low}] to [{written.high}] was "
                "written before"
            )


def _ranges(
    e: Expressions, facts: Facts, array: str, writes: list[Access], counter: str, last: Affine
) -> list[Written]:
    """Return the ranges that all iterations together write."""
    first, *others = writes
    if any(not (other.first - first.first).is_constant for other in others):
        if counter:
            raise NotUnderstood(f"a loop that writes {array} in several places")
        return [
            Written(array, *_range(write, counter, last), (in_own_terms(e, facts, write),))
            for write in writes
        ]
    writes = sorted(writes, key=lambda write: write.first.offset)
    low, _ = _range(writes[0], counter, last)
    _, high = _range(writes[-1], counter, last)
    place, step = writes[0].first, writes[0].first.factors.get(counter, 0)
    for write in writes:
        if write.first != place:
            raise NotUnderstood(f"{array}[{place}] is left out or written twice in one iteration")
        place += Affine.constant(write.lanes)
    if counter and place - writes[0].first != Affine.constant(step):
        raise NotUnderstood(
            f"an iteration writes {place - writes[0].first} elements of {array}, and moves on by {step}"
        )
    return [
        Written(array, low, high, tuple(dict.fromkeys(in_own_terms(e, facts, write) for write in writes)))
    ]
