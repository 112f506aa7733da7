"""Cases that lead a kernel through its branches: few elements, and what the sizes and features leave out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.making import (
    calls_for,
    case_of,
    dense_case,
    numbers,
    random_numbers,
    settings_for,
)
from numba_kernels.selfcheck.norms import near_tie
from numba_kernels.shared.element import NO_MOMENTUM, PLAIN, VARIANTS, Variant
from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Case, LossScaling
from sgd_ref.schedules import CosineDecay

NAME = "branches"

SHAPES = (1,), (300,), (4, 5)
"""Whole packets and rests, in one chunk each."""

CHUNK = 8192
"""The number of elements of a chunk on the device."""

MANY = 1100
"""More chunks than four for each of the 256 threads that add the sums of chunks."""

SCALE = 96.0

MOVES = "numba", "offset-1"
"""Arrays that are read in packets, and arrays that are read one element at a time."""


def elementwise(extent: Extent, kernels: Sequence[tuple[np.dtype[Any], Variant]]) -> Iterator[Case]:
    """Yield, for each kernel, cases without clipping, without some gradients, and with a skipped call."""
    for dtype, variant in kernels:
        start = f"{NAME}/{dtype.name}/{variant.name}"
        bare = f"{start}/bare"
        if extent.wants(bare):
            generator = random_numbers(extent, bare)
            case = dense_case(
                bare,
                variant,
                SHAPES,
                dtype,
                generator,
                weight_decay=None,
                clipvalue=None,
                learning_rate=CosineDecay(0.1, 7),
            )
            yield _with_gaps(case, variant)
        # A kernel that does not divide is never launched with a loss scale, so that it skips no call.
        other = f"{start}/{'clipped' if variant.gradient == PLAIN else 'skipped'}"
        if extent.wants(other):
            generator = random_numbers(extent, other)
            case = dense_case(other, variant, SHAPES, dtype, generator, loss_scale_factor=None)
            yield case if variant.gradient == PLAIN else _with_skipped_call(case)
        if dtype != FLOAT64 and variant in (VARIANTS[0], VARIANTS[-1]):
            # With the larger limit, which is a power of two, the factor is 1.
            for name, limit in (("wide", 1.5), ("wide-bare", 2.0**14)):
                wide = f"{start}/{name}"
                if extent.wants(wide):
                    generator = random_numbers(extent, wide)
                    case = _mixed(wide, variant, dtype, generator, limit)
                    yield _with_gaps(case, variant)


def of_norms(extent: Extent) -> Iterator[Case]:
    """Yield, for each dtype and form of gradients, cases with norms of all kinds."""
    for dtype in FORMATS:
        for variant in VARIANTS:
            if variant.momentum != NO_MOMENTUM or variant.averages:
                continue
            for clipping in ("clipnorm", "global_clipnorm"):
                # The smallest kernel that divides by a norm has gradients that are divided.
                if clipping == "clipnorm" and variant.gradient == PLAIN:
                    continue
                identifier = f"{NAME}/{dtype.name}/{variant.name}/{clipping}"
                if extent.wants(identifier):
                    yield _normed(identifier, variant, dtype, clipping, random_numbers(extent, identifier))
            dynamic = f"{NAME}/{dtype.name}/{variant.name}/dynamic"
            if variant.gradient != PLAIN and extent.wants(dynamic):
                generator = random_numbers(extent, dynamic)
                case = dense_case(
                    dynamic, variant, SHAPES, dtype, generator, loss_scale_factor=None, clipnorm=0.5
                )
                yield _with_skipped_call(case)
            mixed = f"{NAME}/{dtype.name}/{variant.name}/mixed"
            if dtype != FLOAT64 and extent.wants(mixed):
                yield _with_infinity(_mixed(mixed, variant, dtype, random_numbers(extent, mixed)))


def of_long_norms(extent: Extent) -> Iterator[Case]:
    """Yield norms of whole chunks, and of so many chunks that each thread adds several of them."""
    for dtype in FORMATS:
        for variant in VARIANTS:
            if variant.momentum != NO_MOMENTUM or variant.averages:
                continue
            kinds: dict[str, tuple[tuple[int, ...], ...]] = {"long": ((CHUNK + 9,),)}
            if variant.gradient == PLAIN:
                kinds["many"] = ((1,),) * MANY
            for name, shapes in kinds.items():
                identifier = f"{NAME}/{dtype.name}/{variant.name}/{name}"
                if extent.wants(identifier):
                    generator = random_numbers(extent, identifier)
                    yield dense_case(identifier, variant, shapes, dtype, generator, global_clipnorm=0.5)


def _with_gaps(case: Case, variant: Variant) -> Case:
    """Return a case in which each variable lacks a gradient in one call that updates, but never all do."""
    window = calls_for(variant) // 3
    gradients = [list(call) for call in case.gradients]
    for index in range(len(case.variables)):
        gradients[(index % 3 + 1) * window - 1][index] = None
    return replace(case, gradients=tuple(map(tuple, gradients)))


def _with_skipped_call(case: Case) -> Case:
    """Return a case with dynamic loss scaling, in which a gradient of the second call is not finite."""
    gradients = [[np.array(gradient) for gradient in call] for call in case.gradients]
    gradients[1][1].reshape(-1)[17] = np.inf
    scaling = LossScaling(SCALE, 2)
    return replace(case, gradients=tuple(map(tuple, gradients)), loss_scaling=scaling)


def _with_infinity(case: Case) -> Case:
    """Return a case with an infinity among the gradients of the last call, which are not in float64."""
    gradients = [[np.array(gradient) for gradient in call] for call in case.gradients]
    gradients[-1][0][0] = -np.inf
    return replace(case, gradients=tuple(map(tuple, gradients)))


def _mixed(
    identifier: str,
    variant: Variant,
    dtype: np.dtype[Any],
    generator: np.random.Generator,
    limit: float = 1.5,
) -> Case:
    """Return a case with variables of a dtype and of float64 under one norm, which is in float64."""
    dtypes = dtype, dtype, FLOAT64, dtype
    shapes = (1,), (300,), (31,), (4, 5)
    decay = 0.05 if limit == 1.5 else None
    config = settings_for(variant, global_clipnorm=limit, weight_decay=decay)
    scale = config["loss_scale_factor"] or 1.0
    gradients = [
        [
            convert(numbers(generator, shape, FLOAT64) * scale, kind)
            for shape, kind in zip(shapes, dtypes, strict=True)
        ]
        for _ in range(calls_for(variant))
    ]
    variables = [numbers(generator, shape, kind) for shape, kind in zip(shapes, dtypes, strict=True)]
    return case_of(identifier, config, variables, gradients)


def _normed(
    identifier: str, variant: Variant, dtype: np.dtype[Any], clipping: str, generator: np.random.Generator
) -> Case:
    """Return a case whose gradients have norms near ties, and norms of zeros, huge and odd numbers."""
    window = calls_for(variant) // 3
    rows = _rows(dtype, generator)
    # Settings of no effect, so that the norms are those of the rows.
    config = settings_for(
        variant, **{clipping: 0.75}, loss_scale_factor=None if variant.gradient == PLAIN else 1.0
    )
    calls = [rows] * 2 if clipping == "clipnorm" else [[row] for row in rows]
    width = len(calls[0])
    gradients: list[list[Any]] = []
    for call in calls:
        # The accumulator holds zeros before the last call of a window, so that the sum is the row.
        gradients += [[np.zeros_like(row) for row in call] for _ in range(window - 1)]
        gradients.append(
            [convert(row.astype(np.float64) * window, dtype) if window > 1 else row for row in call]
        )
    if clipping == "clipnorm":
        gradients[-1][0] = None
    variables = [numbers(generator, rows[0].shape, dtype) for _ in range(width)]
    return case_of(identifier, config, variables, gradients)


def _rows(dtype: np.dtype[Any], generator: np.random.Generator) -> list[Array]:
    """Return arrays of one shape, each with a norm of another kind."""
    form = FORMATS[dtype]
    largest, normal = float(form.largest), float(form.smallest_normal)
    ties = near_tie(dtype, generator)
    given: list[Any] = [
        [0.0, -0.0],
        ties["below"],
        ties["above"],
        [normal * 2.0 ** (1 - form.precision)] * 5,
        [largest / 8, 1.0],
        [normal, -normal],
        [np.inf, 1.0],
        [np.nan, np.inf],
    ]
    rows = [numbers(generator, (41,), dtype)]
    for start in given:
        row = np.zeros(41, dtype)
        row[: len(start)] = start
        rows.append(row)
    return rows
