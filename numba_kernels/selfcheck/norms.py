"""Norms that are hard to round: near ties, huge and tiny numbers, and all norms computed exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

import numba_kernels
from numba_kernels.cpu import rounding
from numba_kernels.cpu.norm import Measurement, norm
from numba_kernels.cpu.plan import CHUNK, Plan
from numba_kernels.selfcheck.comparison import by_kernels, compare_cases, timed
from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.guard import only_kernels
from numba_kernels.selfcheck.making import dense_case, numbers, random_numbers
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.element import PLAIN
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import nearest
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.trajectories.comparison import equal_bits, hexadecimal
from sgd_ref.norm import euclidean_norm

NAME = "norms"

EXACTLY = "/exactly"
"""The end of the id of a norm that no bound may decide."""

NEAR_TIES = "below", "above", "above-beside-zeros"

Norm = Callable[[list[Array], np.dtype[Any]], float]


class Question(NamedTuple):
    """Arrays to compute a norm of, and the dtype to round it to."""

    identifier: str
    arrays: list[Array]
    dtype: np.dtype[Any]


def check(extent: Extent, optimizer_class: Any = numba_kernels.SGD, norm_of: Norm | None = None) -> Result:
    """Check norms by themselves, decided by a bound and exactly, and in updates that clip by them."""
    result = Result(NAME)
    with timed(result):
        _ask(result, extent, questions(extent), norm_of or norm_by_kernels)
        _check_rows(result, extent)
        with nothing_decided():
            exact = (q._replace(identifier=f"{q.identifier}{EXACTLY}") for q in questions(extent))
            _ask(result, extent, exact, norm_of or norm_by_kernels)
            compare_cases(result, _clipped(extent), extent, by_kernels(optimizer_class))
    return result


@contextmanager
def nothing_decided() -> Iterator[None]:
    """Make every norm be computed exactly, as if no bound had decided it."""

    def undecided(sums: Array, dtype: np.dtype[Any]) -> tuple[Array, Array]:
        return np.zeros_like(sums), np.ones(len(sums), bool)

    with (
        mock.patch.object(rounding, "decided_norms", undecided),
        mock.patch.object(rounding, "decided_norm", return_value=None),
        mock.patch.object(rounding, "decided_narrow_norm", return_value=None),
    ):
        yield


def norm_by_kernels(arrays: list[Array], dtype: np.dtype[Any]) -> float:
    """Return the norm of some arrays together, as an optimizer that clips by it computes it."""
    optimizer = numba_kernels.SGD(global_clipnorm=1.0)
    optimizer.build([np.zeros_like(array) for array in arrays])
    plan = Plan(optimizer.settings, optimizer.built_state())
    plan.load(arrays)
    compensated = dtype == FLOAT64
    measurements = [
        Measurement(group, arrays, PLAIN, compensated or group.dtype == FLOAT64, 1) for group in plan.groups
    ]
    return norm(measurements, dtype)


def questions(extent: Extent) -> Iterator[Question]:
    """Yield arrays with norms that are hard to round."""
    for dtype in FORMATS:
        start = f"{NAME}/{dtype.name}"
        for number in range(20 if extent.tier == QUICK else 200):
            identifiers = [
                f"{start}/{name}-{number}{suffix}" for name in NEAR_TIES for suffix in ("", EXACTLY)
            ]
            if any(map(extent.wants, identifiers)):
                near_ties = near_tie(dtype, random_numbers(extent, f"{start}/near-tie-{number}"))
                for name, array in near_ties.items():
                    yield Question(f"{start}/{name}-{number}", [array], dtype)
        generator = random_numbers(extent, start)
        for name, array in _extremes(dtype, generator).items():
            yield Question(f"{start}/{name}", [array], dtype)
        for size in (1, 255, 256, 257, 4097, CHUNK + 1):
            yield Question(f"{start}/size-{size}", [numbers(generator, (size,), dtype)], dtype)
    generator = random_numbers(extent, f"{NAME}/mixed")
    for wide, narrow in ((FLOAT32, FLOAT16), (FLOAT32, BFLOAT16), (FLOAT64, FLOAT32), (FLOAT64, BFLOAT16)):
        arrays = [numbers(generator, (size,), dtype) for size, dtype in ((300, wide), (70, narrow))]
        yield Question(f"{NAME}/{wide.name}-{narrow.name}", arrays, wide)


def near_tie(dtype: np.dtype[Any], generator: np.random.Generator) -> dict[str, Array]:
    """Return arrays with norms just below and just above the midpoint of two numbers, as close as possible.

    The square of the midpoint is split into squares, the largest first: each element is the largest number
    whose square is not above the remainder.
    """
    precision = FORMATS[dtype].precision
    odd = 2 * int(generator.integers(2 ** (precision - 1), 2**precision)) + 1
    # So large that the smallest elements are normal, and so small that the norm is finite.
    exponent = int(generator.integers(2, 5)) - precision
    left = (odd * Fraction(2) ** exponent) ** 2
    elements: list[Any] = []
    while left and len(elements) < 12:
        element = _root_rounded_down(left, dtype)
        if element == 0:
            break
        elements.append(element)
        left -= _exactly(element) ** 2
    below = np.array(elements, dtype)
    generator.shuffle(below)
    # Increasing the smallest element by one unit passes the midpoint.
    smallest = int(np.argmin(below.astype(np.float64)))
    above = below.copy()
    above[smallest] = (above[smallest : smallest + 1].view(f"u{dtype.itemsize}") + 1).view(dtype)[0]
    beside_zeros = np.concatenate([np.zeros(300, dtype), above])
    return dict(zip(NEAR_TIES, (below, above, beside_zeros), strict=True))


def _root_rounded_down(square: Fraction, dtype: np.dtype[Any]) -> Any:
    scaled = square.numerator * square.denominator << 256
    root = Fraction(math.isqrt(scaled), square.denominator << 128)
    number = nearest(root, dtype)
    if _exactly(number) ** 2 > square:
        bits = np.array([number], dtype).view(f"u{dtype.itemsize}") - 1
        number = bits.view(dtype)[0]
    return number


def _exactly(number: Any) -> Fraction:
    return Fraction(float(number))


def _extremes(dtype: np.dtype[Any], generator: np.random.Generator) -> dict[str, Array]:
    form = FORMATS[dtype]
    largest, normal = float(form.largest), float(form.smallest_normal)
    smallest = normal * 2.0 ** (1 - form.precision)
    random = numbers(generator, (301,), dtype)
    scaled = [np.array(random.astype(np.float64) * scale, np.float64) for scale in (largest / 64, normal)]
    return {
        "empty": np.zeros(0, dtype),
        "zeros": np.array([0.0, -0.0], dtype),
        "smallest": np.array([smallest], dtype),
        "many-smallest": np.full(1000, smallest, dtype),
        "largest": np.array([largest], dtype),
        "two-largest": np.array([largest, -largest], dtype),
        "just-finite": np.array([largest, normal], dtype),
        "huge": scaled[0].astype(dtype),
        "tiny": scaled[1].astype(dtype),
        "huge-and-tiny": np.array([largest / 4, smallest, smallest], dtype),
        "infinite": np.array([1.0, -np.inf], dtype),
        "nan": np.array([np.inf, np.nan], dtype),
    }


def _ask(result: Result, extent: Extent, asked: Iterator[Question], norm_of: Norm) -> None:
    wanted = [question for question in asked if extent.wants(question.identifier)]
    expected = [euclidean_norm(question.arrays, question.dtype) for question in wanted]
    with only_kernels(), np.errstate(all="ignore"):
        answers = [norm_of(question.arrays, question.dtype) for question in wanted]
    for question, want, answer in zip(wanted, expected, answers, strict=True):
        _compare(result, extent, question.identifier, want, answer)


def _check_rows(result: Result, extent: Extent) -> None:
    """Compute the norms of many gradients at once, as `clipnorm` does."""
    for dtype in FORMATS:
        identifier = f"{NAME}/{dtype.name}/of-each"
        if not extent.wants(identifier):
            continue
        generator = random_numbers(extent, identifier)
        arrays = [array for _ in range(30) for array in near_tie(dtype, generator).values()]
        arrays += _extremes(dtype, generator).values()
        expected = [euclidean_norm([array], dtype) for array in arrays]
        optimizer = numba_kernels.SGD(clipnorm=1.0)
        optimizer.build([np.zeros_like(array) for array in arrays])
        with only_kernels(), np.errstate(all="ignore"):
            plan = Plan(optimizer.settings, optimizer.built_state())
            plan.load(arrays)
            answers = Measurement(plan.groups[0], arrays, PLAIN, dtype == FLOAT64, 1).norms()
        for want, answer in zip(expected, answers, strict=True):
            _compare(result, extent, identifier, want, float(answer))


def _compare(result: Result, extent: Extent, identifier: str, want: Any, answer: float) -> None:
    result.cases += 1
    result.compared += 1
    expected, observed = np.array(want, np.float64), np.array(answer, np.float64)
    if not equal_bits(expected, observed).all():
        result.differs(
            f"{identifier}\n  the norm, as a float64: expected {hexadecimal(expected)} "
            f"({float(expected)!r}), got {hexadecimal(observed)} ({answer!r})\n"
            f"  again: {extent.command(identifier)}"
        )


def _clipped(extent: Extent) -> Iterator[Case]:
    for dtype, variant in extent.kernels():
        for clipping in ({"clipnorm": 1.7}, {"global_clipnorm": 3.1}):
            if "clipnorm" in clipping and variant.gradient == PLAIN:
                continue
            identifier = f"{NAME}/{dtype.name}/{variant.name}/{next(iter(clipping))}{EXACTLY}"
            if not extent.wants(identifier):
                continue
            generator = random_numbers(extent, identifier)
            yield dense_case(identifier, variant, ((300,), (5, 7), ()), dtype, generator, **clipping)
