"""Indices and addresses: sums of unknown integers times constants, and the known facts about the unknowns.

Addresses and counts are so small that their sums fit into 63 bits, since arrays lie in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

MANY = 1 << 48
"""An upper limit of every count and every address."""


@dataclass(frozen=True)
class Affine:
    """A sum of unknowns times constants, and a constant.

    >>> Affine.of("count", 4) + Affine.constant(8)
    4 * count + 8
    """

    terms: tuple[tuple[str, int], ...]
    offset: int

    @staticmethod
    def constant(value: int) -> Affine:
        """Return a known integer as a sum."""
        return Affine((), value)

    @staticmethod
    def of(unknown: str, factor: int = 1) -> Affine:
        """Return an unknown, times a constant."""
        return Affine(((unknown, factor),), 0)

    @cached_property
    def factors(self) -> dict[str, int]:
        """The factor of each unknown."""
        return dict(self.terms)

    @property
    def is_constant(self) -> bool:
        """Whether the sum is a known integer."""
        return not self.terms

    def __add__(self, other: Affine) -> Affine:
        if not self.terms:
            return Affine(other.terms, self.offset + other.offset)
        if not other.terms:
            return Affine(self.terms, self.offset + other.offset)
        factors = dict(self.terms)
        for unknown, factor in other.terms:
            factors[unknown] = factors.get(unknown, 0) + factor
        terms = tuple(sorted((unknown, factor) for unknown, factor in factors.items() if factor))
        return Affine(terms, self.offset + other.offset)

    def __sub__(self, other: Affine) -> Affine:
        return self + other.times(-1)

    def times(self, factor: int) -> Affine:
        """Return the sum times a constant."""
        if not factor:
            return Affine((), 0)
        if factor == 1:
            return self
        return Affine(tuple((unknown, own * factor) for unknown, own in self.terms), self.offset * factor)

    def divided(self, divisor: int) -> Affine | None:
        """Return the sum divided by a constant, if every factor is a multiple of the constant."""
        if any(factor % divisor for _, factor in self.terms) or self.offset % divisor:
            return None
        return Affine(
            tuple((unknown, factor // divisor) for unknown, factor in self.terms), self.offset // divisor
        )

    def without(self, unknown: str) -> Affine:
        """Return the sum without one of its unknowns."""
        return Affine(tuple(term for term in self.terms if term[0] != unknown), self.offset)

    def __str__(self) -> str:
        shown = [unknown if factor == 1 else f"{factor} * {unknown}" for unknown, factor in self.terms]
        if self.offset or not shown:
            shown.append(str(self.offset))
        return " + ".join(shown).replace("+ -", "- ")

    __repr__ = __str__


class Split(Exception):
    """Raised if an answer depends on an unknown: the question must be asked again in each of several cases.

    Attributes
    ----------
    cases : list of Facts
        The known facts in each case.
    """

    def __init__(self, cases: list[Facts]) -> None:
        super().__init__()
        self.cases = cases


class _Range(NamedTuple):
    low: int
    high: int


@dataclass
class Facts:
    """The known facts about the unknowns.

    Attributes
    ----------
    ranges : dict of str to range
        The least and the greatest value of an unknown.
    meanings : dict of str to Affine
        Unknowns that are expressed by other unknowns.
    countable : set of str
        Unknowns for which cases may be distinguished.
    positive : list of Affine
        Sums that are not negative.
    asked : list of tuple or None
        If this is a list, each question and its answer is added to it.
    """

    ranges: dict[str, _Range] = field(default_factory=dict)
    meanings: dict[str, Affine] = field(default_factory=dict)
    countable: frozenset[str] = frozenset()
    positive: tuple[Affine, ...] = ()
    asked: list[tuple[str, Affine, int | None]] | None = None

    def copy(self) -> Facts:
        """Return an independent copy."""
        return Facts(dict(self.ranges), dict(self.meanings), self.countable, self.positive, self.asked)

    @property
    def key(self) -> tuple[object, ...]:
        """All facts, in a form that can be compared."""
        return tuple(self.ranges.items()), tuple(self.meanings.items()), self.positive

    def answers_as(self, asked: list[tuple[str, Affine, int | None]]) -> bool:
        """Whether all these questions have the same answers under these facts."""
        return all(
            (self.sign(number) if question == "sign" else self.is_negative(number)) == answer
            for question, number, answer in asked
        )

    def let(self, unknown: str, low: int, high: int, is_countable: bool = False) -> Affine:
        """Introduce an unknown with its range, and return it."""
        self.ranges[unknown] = _Range(low, high)
        if is_countable:
            self.countable |= {unknown}
        return Affine.of(unknown)

    def resolved(self, number: Affine) -> Affine:
        """Return a sum in terms of the remaining unknowns."""
        while not self._is_resolved(number):
            total = Affine((), number.offset)
            for unknown, factor in number.terms:
                meaning = self.meanings.get(unknown)
                if meaning is None:
                    is_fixed = self._is_fixed(unknown)
                    meaning = Affine((), self.ranges[unknown].low) if is_fixed else Affine.of(unknown)
                total += meaning.times(factor)
            number = total
        return number

    def _is_resolved(self, number: Affine) -> bool:
        for unknown, _ in number.terms:
            if unknown in self.meanings:
                return False
            known = self.ranges.get(unknown)
            if known is not None and known[0] == known[1]:
                return False
        return True

    def _is_fixed(self, unknown: str) -> bool:
        known = self.ranges.get(unknown)
        return known is not None and known.low == known.high

    def range_of(self, number: Affine) -> _Range:
        """Return the least and the greatest value of a sum."""
        low = high = number.offset
        for unknown, factor in number.terms:
            least, greatest = self.ranges.get(unknown, _Range(-MANY, MANY))
            low += factor * (least if factor > 0 else greatest)
            high += factor * (greatest if factor > 0 else least)
        return _Range(low, high)

    def sign(self, number: Affine) -> int | None:
        """Return -1, 0 or 1, or None if no cases can be distinguished; may raise `Split`."""
        number = self.resolved(number)
        low, high = self.range_of(number)
        answer = 1 if low > 0 else -1 if high < 0 else 0 if low == high == 0 else None
        return self._answered("sign", number, answer)

    def is_negative(self, number: Affine) -> bool | None:
        """Whether a sum is below zero, or None if no cases can be distinguished."""
        number = self.resolved(number)
        low, high = self.range_of(number)
        answer = self._answered("is negative", number, None if low < 0 <= high else int(high < 0))
        return None if answer is None else bool(answer)

    def _answered(self, question: str, number: Affine, answer: int | None) -> int | None:
        if answer is None:
            self._split(number)
        if self.asked is not None:
            self.asked.append((question, number, answer))
        return answer

    def _split(self, number: Affine) -> None:
        """Distinguish cases of the unknown with the greatest influence, if all unknowns allow it."""
        if any(
            unknown not in self.countable
            and self.ranges.get(unknown, _Range(0, 1))[0] != self.ranges[unknown][1]
            for unknown, _ in number.terms
        ):
            return
        open_terms = [term for term in number.terms if self.ranges[term[0]].low < self.ranges[term[0]].high]
        unknown, factor = max(open_terms, key=lambda term: abs(term[1]))
        low, high = self.ranges[unknown]
        if len(open_terms) == 1:
            # The value at which the sum changes its sign.
            rest = self.range_of(number.without(unknown)).low
            place = -rest // factor if -rest % factor == 0 else None
            edges = [place, place + 1] if place is not None else [-(rest // factor)]
        else:
            edges = [low + 1]
        starts = sorted({low, *(edge for edge in edges if low < edge <= high)})
        cases = []
        for start, after in zip(starts, [*starts[1:], high + 1], strict=True):
            case = self.copy()
            case.ranges[unknown] = _Range(start, after - 1)
            if case.narrow():
                cases.append(case)
        if len(starts) > 1:
            raise Split(cases)

    def narrow(self) -> bool:
        """Narrow the ranges by the sums that are not negative; return whether there is no contradiction."""
        changed = True
        while changed:
            changed = False
            for number in map(self.resolved, self.positive):
                _, greatest = self.range_of(number)
                if greatest < 0:
                    return False
                for unknown, factor in number.terms:
                    low, high = self.ranges[unknown]
                    # The least that the other unknowns leave for this one.
                    slack = greatest - factor * (high if factor > 0 else low)
                    if factor > 0 and low * factor + slack < 0:
                        self.ranges[unknown] = _Range(-(slack // factor), high)
                        changed = True
                    elif factor < 0 and high * factor + slack < 0:
                        self.ranges[unknown] = _Range(low, slack // -factor)
                        changed = True
                    if self.ranges[unknown].low > self.ranges[unknown].high:
                        return False
        return True

    def low_bits(self, number: Affine, count: int) -> Affine | None:
        """Return a nonnegative sum modulo two to the power of `count`; None if the result is not known.

        If an unknown has to be split for this, it becomes a multiple of a power of two plus a remainder.
        """
        size = 1 << count
        number = self.resolved(number)
        rest = Affine(tuple(term for term in number.terms if term[1] % size), number.offset % size)
        low, high = self.range_of(rest)
        if low >= 0 and high < size:
            return rest
        for unknown, factor in rest.terms:
            power = (factor & -factor).bit_length() - 1
            if unknown not in self.countable or factor <= 0 or self.ranges[unknown].low < 0:
                return None
            if factor == 1 << power and self.ranges[unknown].high >= 1 << (count - power):
                self._divide(unknown, count - power)
                return self.low_bits(number, count)
        return None

    def _divide(self, unknown: str, count: int) -> None:
        low, high = self.ranges[unknown]
        # A result that was found in this way may not hold under other facts.
        self.asked = None
        size = 1 << count
        quotient, remainder = f"{unknown}/{size}", f"{unknown}%{size}"
        self.let(quotient, low >> count, high >> count, is_countable=True)
        self.let(remainder, 0, size - 1, is_countable=True)
        self.meanings[unknown] = Affine.of(quotient, size) + Affine.of(remainder)
        self.positive += (
            Affine.of(unknown) - Affine.constant(low),
            Affine.constant(high) - Affine.of(unknown),
        )
        self.narrow()


def least(numbers: Iterable[Affine]) -> Affine:
    """Return the least of some sums that differ only by constants."""
    return min(numbers, key=lambda number: number.offset)
