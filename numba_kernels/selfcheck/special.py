"""Special values in every role, every number of the half types, and their conversions both ways."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import numba
import numpy as np

import numba_kernels
from numba_kernels.cpu import compiling
from numba_kernels.cpu import kernels as elementwise
from numba_kernels.cpu.storage import storage
from numba_kernels.cpu.target import converts_half_in_hardware
from numba_kernels.selfcheck.comparison import by_kernels, compare_cases, timed
from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.making import STEPS, calls_for, case_of, numbers, random_numbers, settings_for
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.element import ACCUMULATED, NO_MOMENTUM, Variant
from sgd_ref.arithmetic.formats import FLOAT16, FLOAT32, FORMATS, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Case, State
from sgd_ref.conformance.trajectories.comparison import equal_bits, hexadecimal

NAME = "special values"
START = "special"


def check(extent: Extent, optimizer_class: Any = numba_kernels.SGD) -> Result:
    """Check special values in every role, all numbers of the half types, and their conversions."""
    result = Result(NAME)
    with timed(result):
        kernels = by_kernels(optimizer_class)
        compare_cases(result, every_role(extent), extent, kernels)
        compare_cases(result, _all_halves(extent, HALF_FORMATS), extent, kernels)
        _check_conversions(result, extent)
        with _conversions_by_bits():
            compare_cases(result, _all_halves(extent, [FLOAT16], "-by-bits"), extent, kernels)
    return result


def special_values(dtype: np.dtype[Any]) -> Array:
    """Return NaN, infinities, zeros, and the least and greatest subnormal and normal numbers.

    >>> len(special_values(np.dtype("float32")))
    27
    """
    form = FORMATS[dtype]
    largest, normal = float(form.largest), float(form.smallest_normal)
    unit = 2.0 ** (1 - form.precision)
    smallest = normal * unit
    positive = [0.0, smallest, 3 * smallest, normal - smallest, normal, normal * (1 + unit)]
    positive += [1 - unit / 2, 1.0, 1 + unit, 0.1, largest / 2, largest, np.inf]
    values = np.array([*positive, *(-value for value in positive), np.nan])
    return convert(values, dtype)


def every_role(extent: Extent) -> Iterator[Case]:
    """Yield all pairs of special values as weight and gradient; the state is drawn from them, too."""
    for dtype, variant in extent.kernels():
        special = special_values(dtype)
        pairs = np.array(list(itertools.product(special, special)), dtype)
        for name, clipping in (("clipped", {}), ("unclipped", {"clipvalue": None})):
            identifier = f"{START}/{dtype.name}/{variant.name}/{name}"
            if not extent.wants(identifier):
                continue
            draw = partial(_drawn, random_numbers(extent, identifier), special, len(pairs))
            gradients = [[pairs[:, 1].copy()], *([draw()] for _ in range(calls_for(variant) - 1))]
            config = settings_for(variant, **clipping)
            state = _in_training(variant, draw)
            yield case_of(identifier, config, [pairs[:, 0].copy()], gradients, state=state)


def _all_halves(extent: Extent, dtypes: Sequence[np.dtype[Any]], suffix: str = "") -> Iterator[Case]:
    """Yield cases with all 65536 numbers of a half type, once as gradients and once as weights and state."""
    every = np.arange(65536).astype(np.uint16)
    for dtype in dtypes:
        for variant in _of_halves(extent, dtype, suffix):
            for role in ("gradients", "weights"):
                identifier = f"{START}/{dtype.name}{suffix}/{variant.name}/all-as-{role}"
                if not extent.wants(identifier):
                    continue
                generator = random_numbers(extent, identifier)
                all_of_them = partial(_shuffled, generator, every.view(dtype))
                others = partial(numbers, generator, (len(every),), dtype)
                gradient, weight = (all_of_them, others) if role == "gradients" else (others, all_of_them)
                gradients = [[gradient()] for _ in range(calls_for(variant))]
                state = _in_training(variant, weight)
                yield case_of(identifier, settings_for(variant), [weight()], gradients, state=state)


def _drawn(generator: np.random.Generator, values: Array, count: int) -> Array:
    return np.asarray(generator.choice(values, count))


def _shuffled(generator: np.random.Generator, values: Array) -> Array:
    return np.asarray(generator.permutation(values))


def _in_training(variant: Variant, draw: Callable[[], Array]) -> State:
    """Return a state after two updates, in which averages are averaged and not copied."""
    accumulates = variant.gradient == ACCUMULATED
    return State(
        calls=2 * (STEPS if accumulates else 1),
        velocities=() if variant.momentum == NO_MOMENTUM else (draw(),),
        averages=(draw(),) if variant.averages else (),
        accumulators=(draw(),) if accumulates else (),
    )


def _of_halves(extent: Extent, dtype: np.dtype[Any], suffix: str) -> tuple[Variant, ...]:
    # Conversions by bits are compiled only for this check.
    return extent.variants(dtype)[-1 if suffix and extent.tier == QUICK else 0 :]


@contextmanager
def _conversions_by_bits() -> Iterator[None]:
    """Make optimizers use the kernels for processors that do not convert float16."""
    with (
        mock.patch.object(compiling, "update_kernel", partial(elementwise.update_kernel, in_hardware=False)),
        mock.patch.object(
            compiling, "accumulation_kernel", partial(elementwise.accumulation_kernel, in_hardware=False)
        ),
    ):
        yield


def _check_conversions(result: Result, extent: Extent) -> None:
    """Round numbers of float32 to the half types: all numbers of those types, ties, and neighbours."""
    for dtype in HALF_FORMATS:
        ways = (True, False) if dtype == FLOAT16 else (False,)
        for in_hardware in ways:
            identifier = f"{START}/{dtype.name}/conversion-{'in-hardware' if in_hardware else 'by-bits'}"
            if not extent.wants(identifier):
                continue
            if in_hardware and not converts_half_in_hardware():
                result.skips("this processor does not convert float16")
                continue
            given = _around(dtype, random_numbers(extent, identifier))
            with np.errstate(all="ignore"):
                expected = given.astype(dtype)
            observed = _rounded(given, dtype, in_hardware)
            unequal = np.flatnonzero(~equal_bits(expected, observed))
            result.cases += 1
            result.compared += len(given)
            if len(unequal):
                first = unequal[0]
                result.differs(
                    f"{identifier}\n  {hexadecimal(given[first])}: expected {hexadecimal(expected[first])}, "
                    f"got {hexadecimal(observed[first])}\n  again: {extent.command(identifier)}",
                    len(unequal),
                )


def _around(dtype: np.dtype[Any], generator: np.random.Generator) -> Array:
    with np.errstate(all="ignore"):
        values = np.sort(np.arange(65536).astype(np.uint16).view(dtype).astype(FLOAT32))
        ties = (values[:-1].astype(np.float64) + values[1:]) / 2
        middles = ties.astype(FLOAT32)
        beside = [np.nextafter(middles, np.float32(to)) for to in (-np.inf, np.inf)]
    anything = generator.integers(0, 2**32, 2**18, np.uint32).view(FLOAT32)
    numbers_around = np.concatenate([values, middles, *beside, anything])
    # No other NaN is ever rounded: the NaNs of a half type, and the processor's own, have a low half of
    # zeros.
    numbers_around[np.isnan(numbers_around)] = np.nan
    return numbers_around


def _rounded(given: Array, dtype: np.dtype[Any], in_hardware: bool) -> Array:
    stored = storage(dtype, in_hardware)
    load, store, multiply = stored.load, stored.store, stored.operations.multiply

    @numba.njit(error_model="numpy")  # type: ignore[untyped-decorator,unused-ignore]
    def convert_all(numbers: Any, results: Any) -> None:
        for i in range(numbers.shape[0]):
            # A product with one is the rounded number itself, and a number must be read back as it was
            # stored.
            results[i] = store(load(store(multiply(numbers[i], np.float32(1)))))

    results = np.zeros(len(given), np.uint16)
    convert_all(given, results)
    return results.view(dtype)
