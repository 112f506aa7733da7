"""Gradients of every form: narrower than the variable, sparse or missing, and in models of many dtypes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse

import numba_kernels
from numba_kernels.cpu.plan import CHUNK
from numba_kernels.selfcheck.comparison import by_kernels, compare_cases, timed
from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.making import LEAST, calls_for, case_of, numbers, random_numbers, settings_for
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.element import DIVIDED, PLAIN, VARIANTS
from sgd_ref import SparseRows
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32, FLOAT64, FORMATS, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, holds
from sgd_ref.conformance.catalogue.case import Case

NAME = "forms"

SHAPES = (40, 3), (17, 5), (CHUNK // 3 + 50, 3)
"""The last variable is longer than a chunk, and the chunk ends in the middle of a row."""

CLIPPINGS: tuple[dict[str, float], ...] = {}, {"clipnorm": 1.7}, {"global_clipnorm": 3.1}
"""None stands for clipping by value."""

Form = Callable[[np.random.Generator, tuple[int, ...], np.dtype[Any]], Any]


def check(extent: Extent, optimizer_class: Any = numba_kernels.SGD) -> Result:
    """Check every form of gradient with all kernels of the extent."""
    result = Result(NAME)
    with timed(result):
        for cases in (one_form(extent), all_dtypes(extent), untouched_rows(extent)):
            compare_cases(result, cases, extent, by_kernels(optimizer_class))
    return result


def narrow(dtype: np.dtype[Any]) -> Form:
    """Return the form of a gradient that has a narrower dtype than its variable."""

    def make(generator: np.random.Generator, shape: tuple[int, ...], _: np.dtype[Any]) -> Array:
        return numbers(generator, shape, dtype)

    return make


def rows(generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> SparseRows:
    """Return rows: some occur up to three times, and most not at all."""
    count = shape[0] // 3
    indices = generator.integers(0, shape[0], count)
    indices[count // 2 :: 3] = indices[0]
    return SparseRows(indices, numbers(generator, (count, *shape[1:]), dtype), shape)


def coordinates(generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return a matrix of ``scipy.sparse`` with elements that are stored more than once."""
    count = shape[0]
    places = generator.integers(0, shape[0], count), generator.integers(0, shape[1], count)
    return scipy.sparse.coo_array((numbers(generator, (count,), dtype), places), shape=shape)


def compressed(generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Return a matrix of ``scipy.sparse`` stored row by row."""
    return coordinates(generator, shape, dtype).tocsr()


def one_form(extent: Extent) -> Iterator[Case]:
    """Yield models of one dtype, with gradients of one form."""
    for dtype, variant in extent.kernels():
        if extent.tier == QUICK and variant not in extent.variants(dtype)[::4]:
            continue
        forms: dict[str, Form] = {"rows": rows}
        # scipy.sparse does not support the half types.
        if dtype in (FLOAT32, FLOAT64):
            forms |= {"coordinates": coordinates, "compressed": compressed}
        for other in (*HALF_FORMATS, FLOAT32):
            if other != dtype and holds(dtype, other):
                forms[f"from-{other.name}"] = narrow(other)
        for clipping in CLIPPINGS:
            # Division by a norm needs another kernel.
            if "clipnorm" in clipping and variant.gradient == PLAIN:
                continue
            for name, make in forms.items():
                start = f"{NAME}/{dtype.name}/{variant.name}"
                identifier = f"{start}/{next(iter(clipping), 'clipvalue')}/{name}"
                if not extent.wants(identifier):
                    continue
                generator = random_numbers(extent, identifier)
                # In each call, another variable has no gradient.
                gradients = [
                    [
                        None if position == call % 4 else make(generator, shape, dtype)
                        for position, shape in enumerate(SHAPES)
                    ]
                    for call in range(calls_for(variant))
                ]
                variables = [numbers(generator, shape, dtype) for shape in SHAPES]
                yield case_of(identifier, settings_for(variant, **clipping), variables, gradients)


def all_dtypes(extent: Extent) -> Iterator[Case]:
    """Yield models with variables of all dtypes, whose common norm is a float64, or of two dtypes."""
    for variant in VARIANTS:
        if not all(variant in extent.variants(dtype) for dtype in FORMATS):
            continue
        for dtypes in (tuple(FORMATS), HALF_FORMATS, (FLOAT64, BFLOAT16)):
            for clipping in CLIPPINGS:
                if "clipnorm" in clipping and variant.gradient == PLAIN:
                    continue
                names = "-".join(dtype.name for dtype in dtypes)
                identifier = f"{NAME}/{names}/{variant.name}/{next(iter(clipping), 'clipvalue')}"
                if not extent.wants(identifier):
                    continue
                generator = random_numbers(extent, identifier)
                gradients = [
                    [
                        None if call == 1 and position == 0 else numbers(generator, (29, 3), dtype)
                        for position, dtype in enumerate(dtypes)
                    ]
                    for call in range(calls_for(variant))
                ]
                # The widest dtype decides the dtype of the norm, so in one call it has no gradient.
                gradients[-1] = [
                    None if dtype == FLOAT64 else g for dtype, g in zip(dtypes, gradients[-1], strict=True)
                ]
                variables = [numbers(generator, (29, 3), dtype) for dtype in dtypes]
                yield case_of(identifier, settings_for(variant, **clipping), variables, gradients)


def untouched_rows(extent: Extent) -> Iterator[Case]:
    """Yield cases in which the rule leaves all other rows unchanged, or only seems to."""
    clippings: tuple[dict[str, Any], ...] = {"clipvalue": None}, {"clipnorm": 1.7}, {"global_clipnorm": 1.7}
    chosen = itertools.product(
        FORMATS,
        (LEAST, LEAST._replace(gradient=DIVIDED)),
        clippings,
        # The last one is infinite in float16.
        (0.1, 0.0, -0.0, -0.1, 1e6),
        (1.0, -0.0, np.inf, np.nan),
    )
    for dtype, variant, clipping, rate, value in chosen:
        if variant not in extent.variants(dtype) or ("clipnorm" in clipping and variant.gradient == PLAIN):
            continue
        start = f"{NAME}/{dtype.name}/{variant.name}/untouched-rows"
        identifier = f"{start}/{next(iter(clipping))}/rate-{rate:g}/{value:g}"
        if not extent.wants(identifier):
            continue
        config = settings_for(variant, learning_rate=rate, weight_decay=None, **clipping)
        weights = convert(np.tile(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]), (5, 1)), dtype)
        values = convert(np.array([[value, 1.0, -1.0, 0.5, -0.0, 2.0]] * 2), dtype)
        gradient = SparseRows([3, 1], values, (5, 6))
        yield case_of(identifier, config, [weights, weights], [[gradient, gradient]] * 2)
