"""Comparison: bits in four dtypes, distances counted in numbers, the first difference in order of calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.conformance import Case
from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.protocol.encoding import trajectory_from_json
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import (
    Difference,
    check_form,
    compare,
    describe_units,
    equal_bits,
    hexadecimal,
    units_apart,
)

Dtype = np.dtype[Any]
Records = list[dict[str, Any]]

every_dtype = pytest.mark.parametrize("dtype", FORMATS, ids=str)

CASE = make_case(PLAINEST | {"update": "momentum", "averages": "averages", "loss_scaling": "dynamic"})


def array(dtype: Dtype, *values: float) -> Array:
    return convert(np.array(values, np.float64), dtype)


def from_bits(dtype: Dtype, *patterns: int) -> Array:
    return np.array(patterns, f"u{dtype.itemsize}").view(dtype)


def infinity_bits(dtype: Dtype) -> int:
    form = FORMATS[dtype]
    return int(((1 << (8 * dtype.itemsize - form.precision)) - 1) << (form.precision - 1))


def sign_bit(dtype: Dtype) -> int:
    return 1 << (8 * dtype.itemsize - 1)


@every_dtype
def test_zeros_of_different_signs_have_different_bits_and_no_distance(dtype: Dtype) -> None:
    expected, observed = array(dtype, 0.0, -0.0, 0.0, -0.0), array(dtype, 0.0, -0.0, -0.0, 0.0)
    assert equal_bits(expected, observed).tolist() == [True, True, False, False]
    assert units_apart(expected, observed).tolist() == [0.0, 0.0, 0.0, 0.0]


@every_dtype
def test_any_nan_is_like_any_other_and_unlike_any_number(dtype: Dtype) -> None:
    infinity, sign = infinity_bits(dtype), sign_bit(dtype)
    payloads = from_bits(dtype, infinity + 1, infinity | (infinity >> 1), sign | (infinity + 1), sign - 1)
    with np.errstate(invalid="ignore"):
        assert np.isnan(payloads).all()
    for nan in payloads:
        nans = np.full_like(payloads, nan)
        assert equal_bits(nans, payloads).all()
        assert units_apart(nans, payloads).tolist() == [0.0] * 4
    numbers = array(dtype, 0.0, math.inf, -math.inf, 1.0)
    for expected, observed in ((payloads, numbers), (numbers, payloads)):
        assert not equal_bits(expected, observed).any()
        assert units_apart(expected, observed).tolist() == [math.inf] * 4


@every_dtype
def test_distances(dtype: Dtype) -> None:
    form = FORMATS[dtype]
    unit, numbers = 2.0 ** (1 - form.precision), 2 ** (form.precision - 1)
    smallest = float(form.smallest_normal) * unit
    largest, infinity = float(form.largest), infinity_bits(dtype)
    for expected, observed, distance in (
        (1.0, 1.0 + unit, 1),
        (1.0, 1.0 - unit / 2, 1),
        (1.0 - unit / 2, 1.0 + unit, 2),
        (1.0, 2.0, numbers),
        (1.0, 4.0, 2 * numbers),
        (0.5, 1.5, numbers + numbers // 2),
        (smallest, 0.0, 1),
        (smallest, -0.0, 1),
        (smallest, -smallest, 2),
        (-3 * smallest, 2 * smallest, 5),
        (float(form.smallest_normal), smallest, numbers - 1),
        (float(form.smallest_normal), float(form.smallest_normal) - smallest, 1),
        (largest, math.inf, 1),
        (-largest, -math.inf, 1),
        (0.0, math.inf, infinity),
        (-math.inf, math.inf, 2 * infinity),
        (-1.0, -1.0, 0),
    ):
        for one, other in ((expected, observed), (observed, expected), (-expected, -observed)):
            units = units_apart(array(dtype, one), array(dtype, other))
            assert units.dtype == np.float64
            assert units.tolist() == [float(distance)], (one, other)


def test_distances_of_float64_may_pass_the_integers_of_64_bits() -> None:
    float64 = np.dtype(np.float64)
    units = units_apart(array(float64, -math.inf), array(float64, math.inf))
    assert units.tolist() == [float(2 * 0x7FF0000000000000)]
    assert units[0] > 2**63


@every_dtype
@settings(deadline=None, print_blob=True, max_examples=50)
@given(data=st.data())
def test_a_distance_is_the_number_of_steps_to_the_next_number(dtype: Dtype, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, infinity_bits(dtype)), "start")
    steps = data.draw(st.integers(0, min(infinity_bits(dtype) - start, 2**20)), "steps")
    sign = data.draw(st.sampled_from((0, sign_bit(dtype))), "sign")
    one, other = from_bits(dtype, sign | start), from_bits(dtype, sign | (start + steps))
    assert units_apart(one, other).tolist() == [float(steps)]
    assert equal_bits(one, other).tolist() == [steps == 0]
    walked = one
    with np.errstate(over="ignore", under="ignore"):
        for _ in range(min(steps, 5)):
            walked = np.nextafter(walked, array(dtype, -math.inf if sign else math.inf))
    assert units_apart(one, walked).tolist() == [float(min(steps, 5))]


@every_dtype
def test_shapes_are_kept(dtype: Dtype) -> None:
    for shape in ((), (0,), (1,), (2, 3), (0, 3)):
        zeros, ones = np.zeros(shape, dtype), np.ones(shape, dtype)
        assert np.shape(equal_bits(zeros, ones)) == shape
        assert not np.any(equal_bits(zeros, ones))
        assert np.shape(units_apart(zeros, ones)) == shape
    transposed = np.arange(6).astype(dtype).reshape(2, 3).T
    assert equal_bits(transposed, np.array(transposed)).all()
    assert units_apart(transposed, transposed + setting(0.0, dtype)).tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize(
    ("units", "words"),
    [
        (0.0, "apart in the sign of zero"),
        (1.0, "1 unit apart"),
        (2.0, "2 units apart"),
        (math.inf, "NaN or a number"),
    ],
)
def test_distances_in_words(units: float, words: str) -> None:
    assert describe_units(units) == words


@pytest.mark.parametrize(
    ("value", "pattern"),
    [
        (np.float16(-2.0), "0xc000"),
        (setting(1.0, "bfloat16"), "0x3f80"),
        (np.float32(-0.0), "0x80000000"),
        (np.float64(1.0), "0x3ff0000000000000"),
        (np.float16(2**-24), "0x0001"),
        (np.int64(-3), "-3"),
        (7, "7"),
    ],
)
def test_bit_patterns(value: Any, pattern: str) -> None:
    assert hexadecimal(value) == pattern


@pytest.fixture
def expected() -> Records:
    return reference.run(CASE)


@pytest.fixture
def observed() -> Records:
    return reference.run(CASE)


def test_equal_trajectories(expected: Records, observed: Records) -> None:
    check_form(CASE, expected, observed)
    comparison = compare(CASE, expected, observed)
    assert comparison.equal
    assert (comparison.first, comparison.differing, comparison.units) == (None, 0, 0.0)
    elements = sum(variable.size for variable in CASE.variables)
    scalars = len(CASE.gradients) * 5 + 4
    assert comparison.compared == 3 * elements * len(expected) + scalars


def test_only_what_both_hold_is_compared(expected: Records, observed: Records) -> None:
    bare = [{"variables": record["variables"]} for record in observed]
    elements = sum(variable.size for variable in CASE.variables)
    check_form(CASE, expected, bare)
    assert compare(CASE, expected, bare).compared == elements * len(expected)
    none = [record | {"velocities": None, "calls": None, "learning_rate": None} for record in bare]
    check_form(CASE, expected, none)
    assert compare(CASE, expected, none).equal


def test_the_state_of_a_feature_that_is_off_may_be_zeros(expected: Records, observed: Records) -> None:
    assert not expected[0]["accumulators"]
    for nothing in (None, [], [-np.zeros_like(variable) for variable in CASE.variables]):
        reported = [record | {"accumulators": nothing} for record in observed]
        check_form(CASE, expected, reported)
        assert compare(CASE, expected, reported).equal
        assert judge(CASE, expected, reported).is_faithful
    something = [np.ones_like(variable) for variable in CASE.variables]
    observed[2] = observed[2] | {"accumulators": something}
    first = compare(CASE, expected, observed).first
    assert first is not None
    assert (first.call, first.quantity) == (2, "accumulators")
    violation = judge(CASE, expected, observed).violation
    assert str(violation).startswith("call 2, accumulators of kernel[0, 0]: 1, where 0 is the only possible")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("velocitys", "perhaps 'velocities' was meant"),
        ("accumulator", "perhaps 'accumulators' was meant"),
        ("lr", "accepted are variables, velocities, averages, accumulators, iterations, calls, "),
    ],
)
def test_unknown_keys_are_refused_with_the_one_that_was_meant(
    expected: Records, observed: Records, key: str, meant: str
) -> None:
    observed[1] = observed[1] | {key: []}
    with pytest.raises(ValueError, match=f"the keys of record 1 must not hold '{key}'; {meant}"):
        check_form(CASE, expected, observed)
    with pytest.raises(ValueError, match=f"the keys of record 0 must not hold '{key}'; {meant}"):
        trajectory_from_json([{"variables": [], key: []}])


def test_the_first_difference_is_that_of_the_earliest_call(expected: Records, observed: Records) -> None:
    later, earlier = observed[5]["variables"][0], observed[2]["averages"][2]
    later[0, 0] += np.float32(1.0)
    value = earlier[4, 1]
    earlier[4, 1] = np.nextafter(value, np.float32(9))
    earlier[5, 0] = -earlier[5, 0]
    comparison = compare(CASE, expected, observed)
    assert not comparison.equal
    assert comparison.first == Difference(
        call=2,
        quantity="averages",
        variable="table",
        element=(4, 1),
        expected=hexadecimal(value),
        observed=hexadecimal(earlier[4, 1]),
        values=(float(value), float(earlier[4, 1])),
        units=1.0,
    )
    assert comparison.differing == 3
    assert comparison.units == units_apart(expected[2]["averages"][2], earlier)[5, 0] > 2**24


def test_within_a_call_scalars_come_first_and_counters_last(expected: Records, observed: Records) -> None:
    def change_everything() -> None:
        observed[3]["calls"] += 1
        observed[3]["velocities"][1][0] = math.nan
        observed[3]["variables"][3][...] = 7.0
        observed[3]["loss_scale"] = np.float32(3.0)
        observed[3]["learning_rate"] = np.float32(0.5)

    change_everything()
    order = []
    for quantity in ("learning_rate", "loss_scale", "variables", "velocities", "calls"):
        first = compare(CASE, expected, observed).first
        assert first is not None
        order.append((first.quantity, first.variable, first.element, first.units))
        observed[3][quantity] = expected[3][quantity]
    assert [entry[:3] for entry in order] == [
        ("learning_rate", "", ()),
        ("loss_scale", "", ()),
        ("variables", "scale", ()),
        ("velocities", "bias", (0,)),
        ("calls", "", ()),
    ]
    assert [entry[3] for entry in order[3:]] == [math.inf, 1.0]
    assert compare(CASE, expected, observed).equal


def test_a_difference_after_finalisation(expected: Records, observed: Records) -> None:
    observed[-1]["variables"][0][0, 0] = 0.5
    first = compare(CASE, expected, observed).first
    assert first is not None
    assert first.call == len(CASE.gradients)


def test_a_difference_in_words(expected: Records, observed: Records) -> None:
    expected[0]["variables"][1][2] = -0.0
    observed[0]["variables"][1][2] = 0.0
    words = str(compare(CASE, expected, observed).first)
    assert words == (
        "call 0, variables of bias[2]: expected 0x80000000 (-0), got 0x00000000 (0), "
        "apart in the sign of zero"
    )
    observed[0]["learning_rate"] = np.float32(0.15625001)
    words = str(compare(CASE, expected, observed).first)
    assert words.startswith("call 0, learning_rate: expected 0x3e200000 (0.15625), got 0x3e200001 (")
    assert words.endswith("1 unit apart")


def test_scalars_in_other_types_are_compared_by_value(expected: Records, observed: Records) -> None:
    for record in observed[:-1]:
        record["learning_rate"] = float(record["learning_rate"])
        record["loss_scale"] = np.array(record["loss_scale"], np.float64)
    for record in observed:
        record["calls"] = np.array(record["calls"], np.int32)
    check_form(CASE, expected, observed)
    assert compare(CASE, expected, observed).equal
    observed[0]["loss_scale"] = 1e300
    observed[1]["calls"] = 2**63 + 5
    observed[2]["calls"] = -(2**62)
    check_form(CASE, expected, observed)
    comparison = compare(CASE, expected, observed)
    assert comparison.differing == 3
    assert comparison.units == float(2**63 + 3)


def put(record: int, key: str, value: Any) -> Callable[[Records], Any]:
    def change(observed: Records) -> Records:
        observed[record][key] = value
        return observed

    return change


def exchange(array: Any, position: int = 2) -> Callable[[Records], Any]:
    def change(observed: Records) -> Records:
        observed[1]["variables"][position] = array
        return observed

    return change


def without(sequence: Sequence[Any], position: int) -> list[Any]:
    return [element for index, element in enumerate(sequence) if index != position]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda observed: None, "the trajectory must be a list of records, got NoneType"),
        (iter, "the trajectory must be a list of records, got list_iterator"),
        (lambda observed: observed[0], "the trajectory must be a list of records, got dict"),
        (lambda observed: observed[:-1], "the trajectory must have 10 records, got 9"),
        (lambda observed: [*observed, observed[-1]], "the trajectory must have 10 records, got 11"),
        (lambda observed: [None, *observed[1:]], "record 0 must be a dict with the key 'variables'"),
        (lambda observed: [*observed[:-1], {}], "record 9 must be a dict with the key 'variables'"),
        (put(4, "variables", None), "variables of record 4 must be a list of arrays, got NoneType"),
        (put(4, "variables", []), "variables of record 4 must have 5 arrays, got 0"),
        (put(4, "velocities", np.zeros(5)), "velocities of record 4 must be a list of arrays, got ndarray"),
        (put(4, "averages", [np.zeros(3)]), "averages of record 4 must have 5 arrays, got 1"),
        (
            exchange(np.zeros((17, 4), np.float64)),
            r"variables of table in record 1 must be float32 of shape \(17, 4\), got float64 of shape",
        ),
        (
            exchange(np.zeros((17, 4), ">f4")),
            r"variables of table in record 1 must be float32 of shape \(17, 4\), got >f4 of shape",
        ),
        (
            exchange(np.zeros((4, 17), np.float32)),
            r"table in record 1 must be float32 of shape \(17, 4\), got float32 of shape \(4, 17\)",
        ),
        (exchange([[1.0], [2.0, 3.0]]), "variables of table in record 1 is no array: .*inhomogeneous"),
        (exchange(None), r"must be float32 of shape \(17, 4\), got object of shape \(\)"),
        (put(0, "calls", "one"), "calls of record 0 must be an integer, got 'one'"),
        (put(0, "calls", 1.0), r"calls of record 0 must be an integer, got 1\.0"),
        (put(0, "iterations", True), "iterations of record 0 must be an integer, got True"),
        (put(0, "growth_counter", [1]), r"growth_counter of record 0 must be an integer, got \[1\]"),
        (put(0, "calls", 10**30), "calls of record 0 must be an integer, got 10{30}"),
        (put(0, "learning_rate", "fast"), "learning_rate of record 0 must be a real number, got 'fast'"),
        (put(0, "loss_scale", np.ones(2)), "loss_scale of record 0 must be a real number, got array"),
        (put(0, "loss_scale", 1j), "loss_scale of record 0 must be a real number, got 1j"),
    ],
)
def test_what_is_no_trajectory_is_refused(
    expected: Records, observed: Records, change: Callable[[Records], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_form(CASE, expected, change(observed))


class Unreadable:
    """Something like an array on a device that has gone."""

    def __array__(self, *arguments: Any, **keywords: Any) -> Array:
        raise RuntimeError("the device is gone")


def test_an_array_that_cannot_be_read_is_refused(expected: Records, observed: Records) -> None:
    observed[0]["variables"][0] = Unreadable()
    with pytest.raises(ValueError, match="variables of kernel in record 0 is no array: the device is gone"):
        check_form(CASE, expected, observed)


def test_tuples_and_read_only_arrays_will_do(expected: Records, observed: Records) -> None:
    for record in observed:
        record["variables"] = tuple(record["variables"])
        record["variables"][1].flags.writeable = False
    check_form(CASE, expected, observed)
    assert compare(CASE, expected, observed).equal


def test_the_case_is_as_assumed() -> None:
    assert isinstance(CASE, Case)
    assert (len(CASE.gradients), CASE.finalize, len(CASE.variables)) == (9, True, 5)
