"""Kernels launched by themselves, with tables that small arrays or a single optimizer do not lead to.

Copies have axes that are longer than 2**32, of which few elements are copied. Kernels that update have no
elements to update, and only count, with every kind of count and of loss scale.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.selfcheck.comparison import timed
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.making import numbers, random_numbers
from numba_kernels.selfcheck.ptx import session
from numba_kernels.selfcheck.ptx.checks import coverage
from numba_kernels.selfcheck.ptx.checks.dumping import Dump
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.element import VARIANTS, Variant
from sgd_ref.arithmetic.formats import FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, holds

NAME = "kernels alone"

START = "alone"

LONG = 2**33 + 1

COPIED = 70
"""The number of elements of a copy: more than there are threads."""

THREADS = 32

RATES = 4
"""The number of rates that are known at a time, a power of two."""


class Launched(NamedTuple):
    """A launch of a kernel by itself.

    Attributes
    ----------
    identifier : str
    run : callable
        Launches, and returns the expected and the observed content of memory.
    """

    identifier: str
    run: Callable[[], Iterator[tuple[Array, Array]]]


def identifiers() -> list[str]:
    """Return the ids of all kernels that are launched by themselves.

    >>> {"alone/gather_float16_float32", "alone/update_float64_momentum_plain"} <= set(identifiers())
    True
    """
    pairs = [(source, target) for source in FORMATS for target in FORMATS if holds(target, source)]
    found = [f"{START}/gather_{source.name}_{target.name}" for source, target in pairs]
    found += [f"{START}/scatter_{dtype.name}" for dtype in FORMATS]
    return found + [
        f"{START}/update_{dtype.name}_{variant.name}{'_wide' if is_wide else ''}"
        for dtype, variant, is_wide in _updates()
    ]


def run_alone(chosen: list[str], extent: Extent, folder: Path, dump: Path | None = None) -> Result:
    """Launch kernels by themselves in this process, and return the differences; a fault counts as one.

    Parameters
    ----------
    chosen : list of str
        Some of `identifiers`.
    extent : Extent
        The extent, which has the seed.
    folder : Path
        The folder for the coverage.
    dump : Path, optional
        The folder that all launches are written into.
    """
    device = session.begin()
    device.options = replace(device.options, seed=extent.seed, in_random_order=True)
    device.dump = None if dump is None else device.dump or Dump(dump)
    result = Result(NAME)
    with timed(result):
        for launched in _launches(extent):
            if launched.identifier in chosen:
                if device.dump is not None:
                    device.dump.case = launched.identifier
                _compare(result, launched, device, extent)
    coverage.write(device, folder)
    return result


def _compare(result: Result, launched: Launched, device: Any, extent: Extent) -> None:
    device.take_faults()
    result.cases += 1
    problem = None
    try:
        for number, (expected, observed) in enumerate(launched.run()):
            result.compared += expected.size
            if problem is None and expected.tobytes() != observed.tobytes():
                problem = f"launch {number} must leave {expected.tolist()}, got {observed.tolist()}"
    # As in `run_cases`: a fault says more than the error that the device answers with afterwards.
    except Exception as failure:  # noqa: BLE001
        problem = f"{type(failure).__name__}: {failure}"
    faults = device.take_faults()
    if faults:
        problem = f"{type(faults[0]).__name__}: {faults[0]}"
    if problem is not None:
        result.differs(f"{launched.identifier}\n  {problem}\n  again: {extent.command(launched.identifier)}")


def _launches(extent: Extent) -> Iterator[Launched]:
    from numba_kernels.cuda.device.elementwise import update_kernel
    from numba_kernels.cuda.device.gather import gather_kernel, scatter_kernel

    for source, target in itertools.product(FORMATS, FORMATS):
        if holds(target, source):
            kernel = gather_kernel(source, target)
            identifier = f"{START}/{kernel.name}"
            generator = random_numbers(extent, identifier)
            yield Launched(identifier, partial(_gathered, kernel, source, target, generator))
    for dtype in FORMATS:
        kernel = scatter_kernel(dtype)
        identifier = f"{START}/{kernel.name}"
        yield Launched(identifier, partial(_scattered, kernel, dtype, random_numbers(extent, identifier)))
    for dtype, variant, is_wide in _updates():
        kernel = update_kernel(dtype, variant, is_wide)
        yield Launched(f"{START}/{kernel.name}", partial(_counted, kernel))


def _updates() -> Iterator[tuple[np.dtype[Any], Variant, bool]]:
    for dtype, variant in itertools.product(FORMATS, VARIANTS):
        yield dtype, variant, False
        if dtype != FLOAT64 and variant in (VARIANTS[0], VARIANTS[-1]):
            yield dtype, variant, True


def _lengths() -> Iterator[tuple[int, ...]]:
    """Yield the lengths of the axes of arrays; those of a long axis have few elements that are copied."""
    small = (2, 3, 2, 4, 3, 2, 2)
    for axes in range(len(small) + 1):
        yield small[:axes]
        for place in range(axes):
            yield (*small[:place], LONG, *small[place + 1 : axes])


def _offsets(lengths: tuple[int, ...], itemsize: int, count: int) -> tuple[list[int], list[int]]:
    """Return strides that leave gaps, and the offset of each of the first elements in row-major order."""
    strides: list[int] = []
    step = 2 * itemsize
    for length in lengths[::-1]:
        strides.insert(0, step)
        step *= min(length, COPIED) + 1
    offsets = []
    for element in range(count):
        index, offset = element, 0
        for length, stride in zip(lengths[::-1], strides[::-1], strict=True):
            index, place = divmod(index, length)
            offset += place * stride
        offsets.append(offset)
    return strides, offsets


def _copies(itemsize: int) -> Iterator[tuple[tuple[int, ...], list[int], list[int], int]]:
    """Yield lengths, strides, the offset of each element, and the number of threads."""
    # An array without axes has one element. Its loops are known to work for more all the same.
    yield (), [], [0] * 9, 1
    for lengths in _lengths():
        count = min(COPIED, math.prod(lengths))
        yield lengths, *_offsets(lengths, itemsize, count), THREADS


def _gathered(
    kernel: Any, source: np.dtype[Any], target: np.dtype[Any], generator: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    for lengths, strides, offsets, threads in _copies(source.itemsize):
        memory = numbers(generator, (max(offsets) // source.itemsize + 1,), source)
        expected = convert(memory[np.array(offsets) // source.itemsize].astype(np.float64), target)
        given, found = _on_device(memory), _on_device(np.zeros(len(offsets), target))
        _launch_copy(kernel, threads, (given, found), (*lengths, *strides), len(offsets))
        yield _bits(expected), _bits(found.copy_to_host().view(target))


def _scattered(
    kernel: Any, dtype: np.dtype[Any], generator: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    for lengths, strides, offsets, threads in _copies(dtype.itemsize):
        memory = numbers(generator, (max(offsets) // dtype.itemsize + 1,), dtype)
        values = numbers(generator, (len(offsets),), dtype)
        found = _on_device(memory)
        memory[np.array(offsets) // dtype.itemsize] = values
        _launch_copy(kernel, threads, (found, _on_device(values)), (*lengths, *strides), len(offsets))
        yield _bits(memory), _bits(found.copy_to_host().view(dtype))


def _launch_copy(
    kernel: Any, threads: int, arrays: tuple[Any, Any], layout: tuple[int, ...], count: int
) -> None:
    table = _on_device(np.array([*layout, 0], np.int64))
    kernel.launch(1, threads, 0, *map(_address, (*arrays, table)), len(layout) // 2, count)


def _bits(array: Array) -> Array:
    return array.view(f"u{array.itemsize}")


def _on_device(array: Array) -> Any:
    from numba_kernels.cuda.toolkit import cuda

    return cuda.to_device(array.view(np.uint8) if array.dtype != np.int64 else array)


def _address(array: Any) -> int:
    return int(array.__cuda_array_interface__["data"][0])


@dataclass
class Counts:
    """What a device counts, as plain Python: the first words of the table of counts, and the numbers.

    Attributes
    ----------
    steps, frequency, growth : int
        The settings of accumulation, of overwriting and of the loss scale.
    is_dynamic : bool
        Whether the loss scale changes.
    scale : float32
        The loss scale.
    rates : dict of int to float
        The known learning rates, by call.
    """

    steps: int
    frequency: int
    growth: int
    is_dynamic: bool
    scale: Any
    rates: dict[int, float]
    calls: int = 0
    updates: int = 0
    calls_of_window: int = 0
    updates_of_period: int = 0
    growth_counter: int = 0
    rate: Any = field(default_factory=lambda: np.float32(0))

    def words(self) -> list[int]:
        """Return the counts as the device must have them before a call."""
        return [
            self.calls,
            self.updates,
            self.calls_of_window,
            self.updates_of_period,
            self.growth_counter,
            int(self.accumulates),
            int(self.updates == 0),
            int(self.overwrites),
            0,
            int(self.is_exhausted),
        ]

    @property
    def accumulates(self) -> bool:
        """Whether the next call only accumulates."""
        return self.calls_of_window + 1 != self.steps

    @property
    def overwrites(self) -> bool:
        """Whether the next update overwrites the variables."""
        return self.updates_of_period + 1 == self.frequency

    @property
    def is_exhausted(self) -> bool:
        """Whether the rate of the next call is not known."""
        return self.calls not in self.rates

    def advance(self, is_finite: bool) -> None:
        """Count a call."""
        if not self.is_exhausted:
            if is_finite:
                self._count()
            else:
                self.growth_counter = 0
                halved = np.float32(self.scale * np.float32(0.5))
                self.scale = halved if halved >= np.finfo(np.float32).tiny else self.scale

    def _count(self) -> None:
        self.calls += 1
        if self.accumulates:
            self.calls_of_window += 1
        else:
            self.calls_of_window = 0
            self.updates_of_period = 0 if self.overwrites else self.updates_of_period + 1
            self.updates += 1
        if self.is_dynamic:
            self.growth_counter += 1
            if self.growth_counter >= self.growth:
                self.growth_counter = 0
                with np.errstate(over="ignore"):
                    doubled = np.float32(self.scale * np.float32(2))
                self.scale = doubled if np.isfinite(doubled) else self.scale


SCALE, LARGEST, SMALLEST = 8.0, float(np.finfo(np.float32).max), float(np.finfo(np.float32).tiny)

COUNTED = (
    (1, 0, False, SCALE),
    (2, 2, False, SCALE),
    (1, 2, True, SCALE),
    (2, 0, True, LARGEST),
    (1, 0, True, SMALLEST),
)
"""Steps of accumulation, the frequency of overwriting, whether the loss scale changes, and its start."""

FINITE = (True, True, False, True, True, True, False, True, True)
"""Whether the gradients of each call are finite; the last calls have no rate."""


def _counted(kernel: Any) -> Iterator[tuple[Array, Array]]:
    for steps, frequency, is_dynamic, scale in COUNTED:
        for is_constant in (True, False):
            rates = {call: 0.25 * (call + 1) for call in range(RATES)}
            if is_constant:
                rates = dict.fromkeys(range(len(FINITE) + 1), 0.25)
            counts = Counts(steps, frequency, 2, is_dynamic, np.float32(scale), rates)
            yield from _counting(kernel, counts, 1 if is_constant else RATES)


def _counting(kernel: Any, counts: Counts, known: int) -> Iterator[tuple[Array, Array]]:
    from numba_kernels.cuda.device import layout

    rates = _on_device(np.array([counts.rates[call] for call in range(known)], np.float32))
    calls = _on_device(np.arange(known))
    limits = np.zeros(layout.LIMIT_WORDS, np.int64)
    limits[layout.ACCUMULATION_STEPS], limits[layout.OVERWRITE_FREQUENCY] = counts.steps, counts.frequency
    limits[layout.GROWTH_STEPS], limits[layout.RATE_COUNT] = counts.growth, known
    limits[layout.RATES], limits[layout.CALLS_OF_RATES] = _address(rates), _address(calls)
    on_device = _on_device(limits)
    words = np.zeros(layout.COUNT_WORDS, np.int64)
    words[: layout.IS_EXHAUSTED + 1] = counts.words()
    words[layout.LIMITS] = _address(on_device)
    found = _on_device(words)
    given = np.array([counts.rates[0], counts.scale], np.float32)
    singles, settings = _on_device(given), _on_device(np.ones(layout.SETTING_COUNT))
    descriptor = np.zeros(layout.DESCRIPTOR_WORDS, np.int64)
    descriptor[layout.COUNTS], descriptor[layout.NUMBERS] = _address(found), _address(singles)
    descriptor[layout.SETTINGS], descriptor[layout.IS_DYNAMIC] = _address(settings), counts.is_dynamic
    table = _on_device(descriptor)
    for is_finite in FINITE:
        # Only an optimizer with dynamic loss scaling looks for gradients that are not finite.
        is_skipped = counts.is_dynamic and not is_finite
        if is_skipped:
            before = found.copy_to_host()
            before[layout.NOT_FINITE] = 1
            found.copy_to_device(before)
        counts.advance(not is_skipped)
        kernel.launch(2, THREADS, 0, _address(table), 1)
        yield np.array(counts.words()), found.copy_to_host()[: layout.IS_EXHAUSTED + 1]
        seen = singles.copy_to_host().view(np.float32)
        rate = seen[layout.RATE] if counts.is_exhausted else np.float32(counts.rates[counts.calls])
        yield _bits(np.array([rate, counts.scale])), _bits(seen)
