"""Every size around the lengths of vectors and chunks, and every layout in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import numba_kernels
from numba_kernels.cpu.plan import CHUNK, FEWEST_TO_ALIGN
from numba_kernels.selfcheck import layouts
from numba_kernels.selfcheck.comparison import Run, by_kernels, compare_cases, timed
from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.layouts import LAYOUTS, Layout
from numba_kernels.selfcheck.making import dense_case, random_numbers
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.element import Variant
from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.trajectories import reference

NAME = "sizes"

SMALL = tuple((size,) for size in range(71))
MIDDLE = tuple((size,) for size in (127, 128, 129, 255, 256, 257, 4095, 4096, 4097))
LARGE = tuple((size,) for size in (CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1))
SHAPES = ((), (0,), (1,), (7,), (5, 3), (2, 3, 4), (33, 0), (300,), (70, 11))

ALIGNED = (FEWEST_TO_ALIGN + 1,)

LENGTH = 203
"""The length of arrays with equal elements: some vectors, and a remainder of each length."""

IN_ORDER = LAYOUTS["offset-0"]


Arrangement = tuple[Sequence[tuple[int, ...]], Layout, Layout]
"""Shapes, and the layouts of variables and of gradients."""


class Placement(NamedTuple):
    """A case with the layouts of its arrays."""

    case: Case
    variables_in: Layout
    gradients_in: Layout


def check(extent: Extent, optimizer_class: Any = numba_kernels.SGD) -> Result:
    """Check sizes and layouts in memory with all kernels of the extent."""
    result = Result(NAME)
    with timed(result):
        for placement in _placements(extent):
            compare_cases(result, [placement.case], extent, _placed(placement, optimizer_class))
        compare_cases(result, _same_everywhere(extent), extent, by_kernels(optimizer_class), _one_for_all)
    return result


def _placed(placement: Placement, optimizer_class: Any) -> Run:
    return partial(
        layouts.run,
        optimizer_class=optimizer_class,
        variables_in=placement.variables_in,
        gradients_in=placement.gradients_in,
    )


def _placements(extent: Extent) -> Iterator[Placement]:
    for dtype, variant in extent.kernels():
        for name, (shapes, variables_in, gradients_in) in _arrangements(extent, dtype, variant).items():
            identifier = f"{NAME}/{dtype.name}/{variant.name}/{name}"
            if extent.wants(identifier):
                generator = random_numbers(extent, identifier)
                case = dense_case(identifier, variant, shapes, dtype, generator)
                yield Placement(case, variables_in, gradients_in)


def _arrangements(extent: Extent, dtype: np.dtype[Any], variant: Variant) -> dict[str, Arrangement]:
    """Return the shapes of a model for one kernel, and the layouts of its variables and gradients."""
    arrangements: dict[str, Arrangement] = {"small-and-middle": (SMALL + MIDDLE, IN_ORDER, IN_ORDER)}
    if extent.tier == QUICK and variant != extent.variants(dtype)[-1]:
        return arrangements
    for name, layout in LAYOUTS.items():
        shapes = (*SMALL, ALIGNED) if name.startswith("offset") else SHAPES
        arrangements[f"variables-{name}"] = shapes, layout, IN_ORDER
        arrangements[f"gradients-{name}"] = shapes, IN_ORDER, layout
        arrangements[f"all-{name}"] = shapes, layout, layout
    for shape in LARGE:
        arrangements[f"{shape[0]}"] = (shape,), IN_ORDER, IN_ORDER
    return arrangements


def _same_everywhere(extent: Extent) -> Iterator[Case]:
    """Yield cases with equal elements, so that one element shows the expected value of all."""
    for dtype, variant in extent.kernels():
        identifier = f"{NAME}/{dtype.name}/{variant.name}/same-everywhere"
        if not extent.wants(identifier):
            continue
        single = dense_case(identifier, variant, [(1,)], dtype, random_numbers(extent, identifier))
        yield _with_length(single, lambda array: np.repeat(array, LENGTH))


def _one_for_all(case: Case) -> list[Record]:
    """Return an array with the result of the first element at every index."""
    trajectory = reference.run(_with_length(case, lambda array: array[:1]))
    return [
        {
            key: [np.repeat(array, LENGTH) for array in value] if isinstance(value, list) else value
            for key, value in record.items()
        }
        for record in trajectory
    ]


def _with_length(case: Case, change: Callable[[Any], Array]) -> Case:
    return replace(
        case,
        variables=tuple(change(array) for array in case.variables),
        gradients=tuple(tuple(change(gradient) for gradient in call) for call in case.gradients),
    )
