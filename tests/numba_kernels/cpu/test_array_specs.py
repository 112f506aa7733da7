"""The short way to check arrays refuses whatever the long way has to look at."""

from __future__ import annotations

import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numba_kernels
import sgd_ref
from numba_kernels.cpu import array_specs
from numba_kernels.cpu.array_specs import ArraySpecs, are_same_objects
from numba_kernels.shared import array_object
from numba_kernels.shared.array_object import layout_is_known
from numba_kernels.shared.slots import INDIRECT

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
Pair, numbers, misaligned = agreement["Pair"], agreement["numbers"], agreement["misaligned"]

DTYPES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]
NOTHING = np.zeros(0, np.int64)


class Subclass(np.ndarray):
    """An array of another type."""


def arrays() -> list[Any]:
    """Return arrays of every dtype and of zero to three axes, one of them empty."""
    shapes = [(), (7,), (2, 3), (2, 3, 4), (0,), (3, 0)]
    return [np.ones(shape, dtype) for dtype in DTYPES for shape in shapes]


def fit(specs: ArraySpecs, given: list[Any], occupied: Any = NOTHING) -> Any:
    """Return the addresses that were found, or None where the arrays do not fit."""
    read, written = specs.counts
    assert len(given) == read + written
    addresses = np.full(read, -1, np.int64)
    fits = specs.fit(given[:read], given[read:], occupied, addresses)
    return addresses.tolist() + addresses_of(given[read:]) if fits else None


def specs_of(expected: list[Any], same_memory: bool) -> ArraySpecs:
    """Return the specs of arrays that are written, or of arrays that are read."""
    return ArraySpecs([], expected) if same_memory else ArraySpecs(expected, [])


def addresses_of(given: list[Any]) -> list[int]:
    return [array.ctypes.data for array in given]


def test_the_layout_is_known_here() -> None:
    """Without it everything is right, and slower; a later Python or NumPy may need another layout."""
    assert layout_is_known()


@pytest.mark.parametrize("name", ["TYPE", "DATA", "AXES", "LENGTHS", "DTYPE", "FLAGS", "ITEMS"])
def test_another_layout_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two neighbours that are swapped, so that only memory of the object is read.
    swapped = {
        "TYPE": array_object.DATA,
        "DATA": array_object.TYPE,
        "AXES": array_object.FLAGS,
        "LENGTHS": array_object.LENGTHS + 8,
        "DTYPE": array_object.DATA,
        "FLAGS": array_object.AXES,
        "ITEMS": array_object.TYPE,
    }
    monkeypatch.setattr(array_object, name, swapped[name])
    assert not layout_is_known.__wrapped__()


@pytest.mark.parametrize("same_memory", [False, True])
def test_arrays_of_every_form_fit_and_their_addresses_are_found(same_memory: bool) -> None:
    expected = arrays()
    specs = specs_of(expected, same_memory)
    assert fit(specs, expected) == addresses_of(expected)
    others = arrays()
    if same_memory:
        assert fit(specs, others) is None
    else:
        assert fit(specs, others) == addresses_of(others)


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def a_view_of(array: Any) -> Any:
    return array[...]


OTHERS: dict[str, Callable[[], Any]] = {
    "another dtype of the same size": lambda: np.ones((4, 6), np.int32),
    "another float": lambda: np.ones((4, 6), np.float64),
    "the other byte order": lambda: np.ones((4, 6), np.dtype(np.float32).newbyteorder()),
    "a row more": lambda: np.ones((5, 6), np.float32),
    "a column less": lambda: np.ones((4, 5), np.float32),
    "lengths swapped": lambda: np.ones((6, 4), np.float32),
    "an axis less": lambda: np.ones(24, np.float32),
    "an axis more": lambda: np.ones((4, 6, 1), np.float32),
    "no axis": lambda: np.ones((), np.float32),
    "gaps": lambda: np.ones((4, 12), np.float32)[:, ::2],
    "Fortran's order": lambda: np.asfortranarray(np.ones((4, 6), np.float32)),
    "backwards": lambda: np.ones((4, 6), np.float32)[::-1],
    "one row many times": lambda: np.broadcast_to(np.ones(6, np.float32), (4, 6)),
    "an odd address": lambda: misaligned(np.ones((4, 6), np.float32)),
    "a subclass": lambda: np.ones((4, 6), np.float32).view(Subclass),
    "a masked array": lambda: np.ma.ones((4, 6), np.float32),
    "a matrix": lambda: np.ones((4, 6), np.float32).view(np.matrix),
    "a scalar": lambda: np.float32(1),
    "None": lambda: None,
    "a list": lambda: [[1.0] * 6] * 4,
    "a number": lambda: 1.0,
    "the class of arrays": lambda: np.ndarray,
    "sparse rows": lambda: sgd_ref.SparseRows([1], np.ones((1, 6), np.float32), (4, 6)),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("same_memory", [False, True])
def test_what_is_not_of_its_form_is_refused(name: str, place: int, same_memory: bool) -> None:
    expected = [np.ones(3, np.float32), np.ones((2, 2)), np.ones(5, np.float32)]
    expected[place] = np.ones((4, 6), np.float32)
    specs = specs_of(expected, same_memory)
    given = list(expected)
    assert fit(specs, given) == addresses_of(expected)
    given[place] = OTHERS[name]()
    assert fit(specs, given) is None


def test_a_read_only_array_is_refused_only_where_it_is_written() -> None:
    array = np.ones(4, np.float32)
    written, read = ArraySpecs([], [array]), ArraySpecs([array], [])
    read_only(array)
    assert fit(written, [array]) is None
    assert fit(read, [array]) == addresses_of([array])


def test_another_array_in_the_same_memory_fits() -> None:
    array = np.ones((4, 6), np.float32)
    assert fit(ArraySpecs([], [array]), [a_view_of(array)]) == addresses_of([array])
    assert fit(ArraySpecs([], [array]), [array.copy()]) is None


def test_arrays_changed_in_place_are_refused() -> None:
    def reshaped(array: Any) -> None:
        array.shape = (6, 4)

    def of_another_dtype(array: Any) -> None:
        array.dtype = np.int32

    def with_other_strides(array: Any) -> None:
        array.strides = (4, 16)

    for change in (
        reshaped,
        of_another_dtype,
        with_other_strides,
        lambda array: array.resize((4, 5), refcheck=False),
    ):
        array = np.ones((4, 6), np.float32)
        specs = ArraySpecs([array], [])
        assert fit(specs, [array]) == addresses_of([array])
        with warnings.catch_warnings():
            # NumPy advises against it, and does it.
            warnings.simplefilter("ignore", DeprecationWarning)
            change(array)
        assert fit(specs, [array]) is None


def reference_of_overlap(start: int, end: int, regions: list[tuple[int, int]]) -> bool:
    return any(start < high and low < end for low, high in regions)


@settings(max_examples=300, deadline=None)
@given(
    marks=st.lists(st.integers(0, 30), unique=True, max_size=10).map(sorted),
    start=st.integers(0, 24),
    length=st.integers(0, 6),
)
def test_overlapping_memory_is_refused(marks: list[int], start: int, length: int) -> None:
    memory = np.zeros(31, np.float32)
    base = memory.ctypes.data
    regions = list(zip(marks[::2], marks[1::2], strict=False))
    array = memory[start : start + length]
    specs = ArraySpecs([np.zeros(length, np.float32)], [])
    occupied = np.array([base + 4 * mark for region in regions for mark in region], np.int64)
    expected = length > 0 and reference_of_overlap(start, start + length, regions)
    assert (fit(specs, [array], occupied) is None) is expected


def test_memory_that_touches_at_its_ends_does_not_overlap() -> None:
    memory = np.zeros(12, np.float32)
    first, second, third = memory[:4], memory[4:8], memory[8:]
    bounds = np.array([second.ctypes.data, third.ctypes.data], np.int64)
    for array, fits in ((first, True), (second, False), (third, True)):
        assert (fit(ArraySpecs([array], []), [array], bounds) is not None) is fits
    for shifted in (memory[1:5], memory[7:11], memory[5:7]):
        assert fit(ArraySpecs([shifted], []), [shifted], bounds) is None


def test_only_the_place_where_an_array_lay_before_is_not_looked_up_again() -> None:
    memory = np.zeros(20, np.float32)
    first, second, third = memory[:4], memory[4:8], memory[8:12]
    specs = ArraySpecs([first, first], [])
    addresses = np.zeros(2, np.int64)
    occupied = np.array([third.ctypes.data, third.ctypes.data + 16], np.int64)
    assert specs.fit([first, second], [], occupied, addresses)
    assert specs.fit([second, first], [], occupied, addresses)
    for others in ([third, first], [second, third], [memory[7:11], first], [second, memory[9:13]]):
        for _ in range(2):
            assert not specs.fit(list(others), [], occupied, addresses)
        # What was refused is not taken for known, and another place may have been found for the other.
        assert specs.fit([second, first], [], occupied, addresses)


def test_a_longer_array_in_the_place_of_another_one_is_looked_up() -> None:
    memory = np.zeros(20, np.float32)
    specs = ArraySpecs([memory[:4], memory[:8]], [])
    addresses = np.zeros(2, np.int64)
    occupied = np.array([memory[8:].ctypes.data, memory[12:].ctypes.data], np.int64)
    assert specs.fit([memory[4:8], memory[:8]], [], occupied, addresses)
    assert not specs.fit([memory[4:8], memory[4:12]], [], occupied, addresses)


@pytest.mark.parametrize("copies", [1, array_specs.FEW])
def test_the_same_objects(copies: int) -> None:
    objects = [np.ones(2), None, "text", 1.5] * copies
    identities = np.array([id(item) for item in objects], np.int64)
    for form in (list, tuple):
        assert are_same_objects(form(objects), objects, identities)
        for place in range(len(objects)):
            others: list[Any] = list(objects)
            others[place] = object()
            assert not are_same_objects(form(others), objects, identities)


def test_one_absent_array_is_passed_over_and_all_others_are_checked() -> None:
    array, other = np.ones((2, 3)), np.ones(4, np.float32)
    specs, addresses = ArraySpecs([array, other], [other]), np.zeros(2, np.int64)
    absent = array_specs.ABSENT
    assert specs.fit([absent, other], [other], NOTHING, addresses, some_are_absent=True)
    assert addresses.tolist() == [INDIRECT, other.ctypes.data]
    assert not specs.fit([absent, other], [other], NOTHING, addresses)
    assert not specs.fit([absent, array], [other], NOTHING, addresses, some_are_absent=True)
    assert not specs.fit([None, other], [other], NOTHING, addresses, some_are_absent=True)
    assert not specs.fit([array, other], [absent], NOTHING, addresses, some_are_absent=True)


def test_the_same_objects_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_specs, "layout_is_known", lambda: False)
    test_the_same_objects(array_specs.FEW)


FEATURES: dict[str, dict[str, Any]] = {
    "plain": {"learning_rate": 0.1},
    "everything": {**agreement["EVERYTHING"], "gradient_accumulation_steps": 2},
}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_the_bits_are_the_same_on_the_short_and_the_long_way(
    known: bool, features: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = []
    short_way = numba_kernels.SGD.quickly_validated

    def noted(self: Any, gradients: Any, variables: Any) -> Any:
        call = short_way(self, gradients, variables)
        accepted.append(call is not None)
        return call

    monkeypatch.setattr(numba_kernels.SGD, "quickly_validated", noted)
    if not known:
        monkeypatch.setattr(array_specs, "layout_is_known", lambda: False)
    generator = np.random.default_rng(1)
    shapes = [(3, 5), (70_000,), (), (0, 4), (2, 2, 2)]
    dtypes = [np.float32, np.float32, np.float16, np.float64, ml_dtypes.bfloat16]
    pair = Pair(
        [numbers(generator, shape, dtype, 0.05) for shape, dtype in zip(shapes, dtypes, strict=True)],
        **features,
    )
    for _ in range(6):
        pair.apply(
            [numbers(generator, shape, dtype, 0.01) for shape, dtype in zip(shapes, dtypes, strict=True)]
        )
    # The first call makes the plan.
    assert accepted == [False, *[known] * 5]


def in_training(cls: Any, **features: Any) -> tuple[Any, list[Any], list[Any]]:
    w = [np.ones((4, 6), np.float32), np.ones(5, np.float32)]
    g = [np.full((4, 6), 0.5, np.float32), np.ones(5, np.float32)]
    optimizer = cls(0.5, momentum=0.5, use_ema=True, **features)
    for _ in range(3):
        optimizer.apply(g, w)
    return optimizer, w, g


def changed(array: Any, attribute: str, value: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        setattr(array, attribute, value)


CHANGES: dict[str, Callable[[Any, Any, Any], None]] = {
    "the shape of a variable": lambda optimizer, w, g: changed(w[0], "shape", (6, 4)),
    "the shape of a gradient": lambda optimizer, w, g: changed(g[0], "shape", (6, 4)),
    "the shape of a velocity": lambda optimizer, w, g: changed(optimizer.velocities[0], "shape", (6, 4)),
    "the shape of an average": lambda optimizer, w, g: changed(optimizer.averages[1], "shape", (5, 1)),
    "the dtype of a gradient": lambda optimizer, w, g: changed(g[0], "dtype", np.int32),
    "the dtype of a variable": lambda optimizer, w, g: changed(w[1], "dtype", np.int32),
    "a variable is read-only": lambda optimizer, w, g: read_only(w[1]),
    "a velocity is read-only": lambda optimizer, w, g: read_only(optimizer.velocities[0]),
    "a gradient too few": lambda optimizer, w, g: g.pop(),
    "a gradient too many": lambda optimizer, w, g: g.append(np.ones(5, np.float32)),
    "no gradient at all": lambda optimizer, w, g: g.__setitem__(slice(None), [None, None]),
    "a gradient is its variable": lambda optimizer, w, g: g.__setitem__(0, w[0]),
    "a gradient is another variable's velocity": (
        lambda optimizer, w, g: g.__setitem__(1, optimizer.velocities[0].reshape(-1)[3:8])
    ),
    "gradients in the wrong order": lambda optimizer, w, g: g.reverse(),
    "a wider gradient": lambda optimizer, w, g: g.__setitem__(1, np.ones(5)),
    "a list": lambda optimizer, w, g: g.__setitem__(1, [1.0] * 5),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_changed_since_the_last_call_is_an_error_as_of_the_reference(change: Any) -> None:
    raised, left = [], []
    for cls in (sgd_ref.SGD, numba_kernels.SGD):
        optimizer, w, g = in_training(cls)
        change(optimizer, w, g)
        before = [array.tobytes() for array in (*w, *optimizer.velocities, *optimizer.averages)]
        with pytest.raises((TypeError, ValueError)) as error:
            optimizer.apply(g)
        raised.append((error.type, str(error.value)))
        left.append([array.tobytes() for array in (*w, *optimizer.velocities, *optimizer.averages)])
        assert left[-1] == before
        assert optimizer.calls == 3
    assert raised[0] == raised[1]
    assert left[0] == left[1]


HARMLESS: dict[str, Callable[[Any, Any, Any], None]] = {
    "a read-only gradient": lambda optimizer, w, g: read_only(g[0]),
    "a gradient that is a subclass": lambda optimizer, w, g: g.__setitem__(0, g[0].view(Subclass)),
    "a narrower gradient": lambda optimizer, w, g: g.__setitem__(1, np.ones(5, np.float16)),
    "a gradient between variables": lambda optimizer, w, g: g.__setitem__(1, np.ones(6, np.float32)[1:]),
    "a gradient at an odd address": lambda optimizer, w, g: g.__setitem__(0, misaligned(g[0])),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_changed_and_may_has_the_bits_of_the_reference(change: Any) -> None:
    results = []
    for cls in (sgd_ref.SGD, numba_kernels.SGD):
        optimizer, w, g = in_training(cls)
        change(optimizer, w, g)
        for _ in range(2):
            optimizer.apply(g)
        results.append([array.tobytes() for array in (*w, *optimizer.velocities, *optimizer.averages)])
    assert results[0] == results[1]
