"""Cases and trajectories through JSON and back: bit by bit the same, and nothing else accepted."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import hypothesis.extra.numpy as hypothesis_numpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_ref.arithmetic.formats import BFLOAT16, FORMATS, Array
from sgd_ref.conformance.catalogue.case import Case, Layouts, LossScaling, Made, State
from sgd_ref.conformance.catalogue.made import made
from sgd_ref.conformance.protocol.arrays import array_from_json, array_to_json
from sgd_ref.conformance.protocol.digest import Digest, digest_of
from sgd_ref.conformance.protocol.encoding import (
    case_from_json,
    case_to_json,
    from_line,
    to_line,
    trajectory_from_json,
    trajectory_to_json,
)
from sgd_ref.gradients import SparseRows

DTYPES = [np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64)]
SHAPES = st.one_of(st.just(()), hypothesis_numpy.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))

# Bit patterns, so that NaN with any payload, infinities, both zeros and subnormals all come up.
SPECIAL = {
    2: [0x0000, 0x8000, 0x0001, 0x8001, 0x7C00, 0xFC00, 0x7C01, 0xFE00, 0x7F80, 0xFF80, 0x7F81, 0xFFC0],
    4: [0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFC00000],
    8: [0, 1 << 63, 1, (1 << 63) + (1 << 52) - 1, 0x7FF << 52, 0xFFF << 52, (0x7FF << 52) + 1, 0xFFF8 << 48],
}


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...] | None = None) -> Array:
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(SHAPES) if shape is None else shape
    size = dtype.itemsize
    elements = st.one_of(st.integers(0, 2 ** (8 * size) - 1), st.sampled_from(SPECIAL[size]))
    return draw(hypothesis_numpy.arrays(f"u{size}", shape, elements=elements)).view(dtype)


@st.composite
def sparse_rows(draw: st.DrawFn) -> SparseRows:
    length = draw(st.integers(1, 4))
    indices = draw(st.lists(st.integers(0, length - 1), max_size=5))
    width = draw(st.integers(0, 3))
    return SparseRows(indices, draw(arrays((len(indices), width))), (length, width))


TEXTS = st.text(min_size=1, max_size=8)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SETTINGS = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
COUNTS = st.integers(0, 2**40)
LISTS = st.lists(arrays(), max_size=2).map(tuple)
NUMBERS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: st.integers(0, 2 ** (8 * dtype.itemsize) - 1).map(
        lambda bits: np.array(bits, f"u{dtype.itemsize}").view(dtype)[()]
    )
)
STATES = st.builds(
    State,
    calls=COUNTS,
    velocities=LISTS,
    averages=LISTS,
    accumulators=LISTS,
    loss_scale=st.none() | st.floats(width=32),
    growth_counter=st.none() | COUNTS,
)
GRADIENTS = st.lists(st.none() | arrays() | sparse_rows(), max_size=3).map(tuple)
CASES = st.builds(
    Case,
    id=TEXTS,
    config=st.dictionaries(TEXTS, SETTINGS, max_size=4),
    names=st.lists(TEXTS, max_size=3).map(tuple),
    variables=LISTS,
    gradients=st.lists(GRADIENTS, max_size=3).map(tuple),
    state=st.none() | STATES,
    excluded_from_weight_decay=st.lists(st.text(max_size=3), max_size=2).map(tuple),
    loss_scaling=st.none() | st.builds(LossScaling, initial_scale=FLOATS, dynamic_growth_steps=COUNTS),
    learning_rate_calls=st.none() | st.lists(st.floats(), max_size=3).map(tuple),
    finalize=st.booleans(),
    features=st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3),
    learning_rate_units=COUNTS,
    notes=st.text(max_size=20),
    kind=TEXTS,
)
RECORDS = st.fixed_dictionaries(
    {"variables": LISTS.map(list)},
    optional={
        "velocities": LISTS.map(list),
        "averages": LISTS.map(list),
        "accumulators": LISTS.map(list),
        "iterations": COUNTS,
        "calls": COUNTS,
        "growth_counter": COUNTS,
        "loss_scale": NUMBERS,
        "learning_rate": NUMBERS,
    },
)


def assert_same(expected: Any, found: Any) -> None:
    """Assert that two values are the same, of the same types, floats by their bits."""
    if isinstance(expected, SparseRows):
        assert isinstance(found, SparseRows)
        assert expected.shape == found.shape
        assert expected.indices.tolist() == found.indices.tolist()
        assert_same(expected.values, found.values)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert type(expected) is type(found)
        assert (expected.dtype, expected.shape) == (found.dtype, found.shape)
        assert expected.tobytes() == found.tobytes()
    elif isinstance(expected, float):
        assert type(expected) is type(found)
        assert np.float64(expected).tobytes() == np.float64(found).tobytes()
    elif isinstance(expected, dict):
        assert isinstance(found, dict)
        assert list(expected) == list(found)
        for key in expected:
            assert_same(expected[key], found[key])
    elif isinstance(expected, (list, tuple)):
        assert type(expected) is type(found)
        assert len(expected) == len(found)
        for one, other in zip(expected, found, strict=True):
            assert_same(one, other)
    elif isinstance(expected, (Case, State, LossScaling)):
        assert type(expected) is type(found)
        for field in fields(expected):
            assert_same(getattr(expected, field.name), getattr(found, field.name))
    else:
        assert type(expected) is type(found)
        assert expected == found


def example(**changes: Any) -> Case:
    parts: dict[str, Any] = {
        "id": "one",
        "config": {"learning_rate": 0.1},
        "names": ("kernel",),
        "variables": (np.ones(2, np.float32),),
        "gradients": ((np.ones(2, np.float32),),),
    }
    return Case(**{**parts, **changes})


@given(arrays())
def test_arrays_come_back_bit_by_bit(array: Array) -> None:
    found = array_from_json(array_to_json(array))
    assert_same(array, found)
    assert found.flags.writeable
    assert found.flags.c_contiguous


@given(CASES)
@settings(deadline=None)
def test_cases_come_back_bit_by_bit(case: Case) -> None:
    line = to_line(case_to_json(case))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert_same(case, case_from_json(from_line(line)))


@given(st.lists(RECORDS, max_size=3))
@settings(deadline=None)
def test_trajectories_come_back_bit_by_bit(trajectory: list[dict[str, Any]]) -> None:
    line = to_line({"trajectory": trajectory_to_json(trajectory)})
    assert line.count(b"\n") == 1
    assert_same(trajectory, trajectory_from_json(from_line(line)["trajectory"]))


def test_every_dtype_has_its_special_patterns() -> None:
    for dtype in FORMATS:
        numbers = np.array(SPECIAL[dtype.itemsize], f"u{dtype.itemsize}").view(dtype)
        with np.errstate(invalid="ignore"):
            assert np.isnan(numbers).any()
            assert np.isinf(numbers).any()
        assert_same(numbers, array_from_json(array_to_json(numbers)))


@pytest.mark.parametrize(
    ("array", "dtype", "bits"),
    [
        (np.array([1.0, -2.0], np.float16), "float16", "3c00 c000"),
        (np.array([1.0, -2.0], BFLOAT16), "bfloat16", "3f80 c000"),
        (np.array([1.0, -2.0], np.float32), "float32", "3f800000 c0000000"),
        (np.array([1.0, -2.0], np.float64), "float64", "3ff0000000000000 c000000000000000"),
    ],
)
def test_bits_are_written_most_significant_digit_first(array: Array, dtype: str, bits: str) -> None:
    assert array_to_json(array) == {"dtype": dtype, "shape": [2], "bits": bits}


def test_elements_are_written_in_row_major_order() -> None:
    array = np.asfortranarray(np.array([[1.0, 2.0], [4.0, 8.0]], np.float16))
    assert array_to_json(array)["bits"] == "3c00 4000 4400 4800"
    assert array_to_json(array[:, ::-1])["bits"] == "4000 3c00 4800 4400"


def test_shapes_without_axes_or_elements() -> None:
    number = {"dtype": "float32", "shape": [], "bits": "80000000"}
    assert array_to_json(np.float32(-0.0)) == number
    assert array_from_json(number).shape == ()
    empty = {"dtype": "float32", "shape": [3, 0], "bits": ""}
    assert array_to_json(np.ones((3, 0), np.float32)) == empty
    assert array_from_json(empty).shape == (3, 0)


@pytest.mark.parametrize("array", [np.ones(2, np.int32), np.ones(2, ">f4"), np.array("text"), [True]])
def test_arrays_of_other_dtypes_are_refused(array: Any) -> None:
    with pytest.raises(TypeError, match="array must be an array of float16, bfloat16, float32, float64"):
        array_to_json(array)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bits": "3f800000"}, ValueError, "2 hexadecimal numbers of 8 digits each"),
        ({"bits": "3f800000 3f80000"}, ValueError, "2 hexadecimal numbers of 8 digits each"),
        ({"bits": "3f8000 003f800000"}, ValueError, "2 hexadecimal numbers of 8 digits each"),
        ({"bits": "3f800000 3f80000g"}, ValueError, "2 hexadecimal numbers of 8 digits each"),
        ({"bits": "3f800000 +f800000"}, ValueError, "2 hexadecimal numbers of 8 digits each"),
        ({"bits": "3f8000003f800000"}, ValueError, "2 hexadecimal numbers of 8 digits each"),
        ({"bits": ["3f800000", "3f800000"]}, TypeError, "a string"),
        ({"dtype": "int32"}, ValueError, "one of float16, bfloat16, float32, float64"),
        ({"dtype": 32}, TypeError, "a string"),
        ({"shape": [3]}, ValueError, "3 hexadecimal numbers"),
        ({"shape": [-2]}, ValueError, "an integer of at least 0"),
        ({"shape": [2.0]}, TypeError, "an integer of at least 0"),
        ({"shape": [True, 2]}, TypeError, "an integer of at least 0"),
        ({"shape": 2}, TypeError, "a list"),
        ({"shape": [10**9, 10**9]}, ValueError, "hexadecimal numbers"),
        ({"shape": [0, 10**30], "bits": ""}, ValueError, r"v\.shape must be a shape that an array can have"),
        ({"shape": [1] * 99 + [2]}, ValueError, r"v\.shape must be a shape that an array can have"),
        ({"order": "C"}, ValueError, "the keys of v"),
    ],
)
def test_malformed_arrays_are_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    document = {"dtype": "float32", "shape": [2], "bits": "3f800000 3f800000"}
    array_from_json(document, "v")
    with pytest.raises(error, match=message):
        array_from_json({**document, **change}, "v")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_settings_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"config\['values'\]\[1\] must be a finite real number"):
        case_to_json(example(config={"values": [1.0, value]}))


@pytest.mark.parametrize("value", [np.float32(0.1), np.ones(1), len, {1: 2}, {2.0}])
def test_settings_that_are_not_plain_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"config\['momentum'\] must be"):
        case_to_json(example(config={"momentum": value}))


def test_settings_keep_all_their_digits() -> None:
    config = {"a": 0.1 + 2.0**-56, "b": 5e-324, "c": -0.0, "d": 3, "e": 3.0, "f": True, "g": None}
    found = case_from_json(from_line(to_line(case_to_json(example(config=config))))).config
    assert_same(config, found)


def test_tuples_in_settings_come_back_as_lists() -> None:
    assert case_to_json(example(config={"values": (1.0, 2.0)}))["config"] == {"values": [1.0, 2.0]}


def test_every_field_of_a_case_but_those_of_arrays_is_written_and_required() -> None:
    document = case_to_json(example())
    assert set(document) == {field.name for field in fields(Case)} - {"layouts", "made"}
    for key in document:
        shorter = {other: value for other, value in document.items() if other != key}
        with pytest.raises(ValueError, match="the keys of case"):
            case_from_json(shorter)
    with pytest.raises(ValueError, match="the keys of case"):
        case_from_json({**document, "momentun": 0.5})


def big_example() -> Case:
    rule = Made(((3, 5), (1, 2)), (((7, 11), (4, 6)),))
    shapes = ((2, 3), (1,))
    arrays = [
        tuple(made(*pair, shape, BFLOAT16) for pair, shape in zip(pairs, shapes, strict=True))
        for pairs in (rule.variables, *rule.gradients)
    ]
    return example(names=("v", "w"), variables=arrays[0], gradients=tuple(arrays[1:]), made=rule)


def test_big_arrays_are_written_as_what_they_are_made_from() -> None:
    case = big_example()
    document = case_to_json(case)
    assert document["variables"][0] == {"dtype": "bfloat16", "shape": [2, 3], "made": [3, 5]}
    assert document["gradients"] == [
        [
            {"dtype": "bfloat16", "shape": [2, 3], "made": [7, 11]},
            {"dtype": "bfloat16", "shape": [1], "made": [4, 6]},
        ]
    ]
    found = case_from_json(from_line(to_line(document)))
    assert found.made == case.made
    assert_same(found.variables, case.variables)
    assert_same(found.gradients, case.gradients)


@pytest.mark.parametrize(
    "part",
    [
        {"made": [3]},
        {"made": [3, 5, 7]},
        {"made": [-1, 5]},
        {"made": [2**31 - 1, 5]},
        {"made": [3, 5], "bits": "3f80"},
        {"made": [3, 5], "shape": [2**22]},
    ],
)
def test_malformed_made_arrays_are_refused(part: dict[str, Any]) -> None:
    document = case_to_json(big_example())
    document["variables"][0] |= part
    with pytest.raises(ValueError, match=r"made|multiplier|shape|keys|variables\[0\]"):
        case_from_json(document)


def test_digests_come_back() -> None:
    digest = digest_of(np.arange(70000, dtype=np.float32))
    line = to_line({"trajectory": trajectory_to_json([{"variables": [digest]}])})
    (record,) = trajectory_from_json(from_line(line)["trajectory"])
    (found,) = record["variables"]
    assert isinstance(found, Digest)
    assert (found.dtype, found.shape, found.hash) == (digest.dtype, digest.shape, digest.hash)
    assert_same(found.window, digest.window)


def test_layouts_are_written_where_there_are_some_and_applied() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    case = example(
        variables=(matrix,), gradients=((matrix,),), layouts=Layouts(("transposed",), ("reversed",))
    )
    document = case_to_json(case)
    assert document["layouts"] == {"variables": ["transposed"], "gradients": ["reversed"]}
    found = case_from_json(from_line(to_line(document)))
    assert found.layouts == case.layouts
    assert found.variables[0].strides == (8, 16)
    assert found.gradients[0][0].strides == (-24, -8)  # type: ignore[union-attr]
    assert_same(case_to_json(found), document)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"layouts": None}, TypeError),
        ({"layouts": {"variables": ["strided"]}}, ValueError),
        ({"layouts": {"variables": "strided", "gradients": ["strided"]}}, TypeError),
        ({"layouts": {"variables": ["strided"], "gradients": ["sideways"]}}, ValueError),
        ({"layouts": {"variables": ["broadcast"], "gradients": ["strided"]}}, ValueError),
        ({"layouts": {"variables": ["strided"], "gradients": []}}, ValueError),
        ({"id": ""}, ValueError),
        ({"names": "kernel"}, TypeError),
        ({"names": [1]}, TypeError),
        ({"config": []}, TypeError),
        ({"variables": {}}, TypeError),
        ({"variables": [1.0]}, TypeError),
        ({"gradients": [1]}, TypeError),
        ({"gradients": [[1]]}, TypeError),
        ({"gradients": [[{"indices": [0]}]]}, ValueError),
        ({"state": {"calls": 1}}, ValueError),
        ({"loss_scaling": {"initial_scale": 1.0}}, ValueError),
        ({"finalize": 1}, TypeError),
        ({"learning_rate_units": -1}, ValueError),
        ({"learning_rate_calls": [0.1]}, TypeError),
        ({"features": []}, TypeError),
        ({"notes": None}, TypeError),
    ],
)
def test_malformed_cases_are_refused(change: dict[str, Any], error: type[Exception]) -> None:
    document = case_to_json(example())
    with pytest.raises(error):
        case_from_json({**document, **change})


@pytest.mark.parametrize(
    ("record", "error", "message"),
    [
        ({}, ValueError, "the keys of record 0"),
        ({"variables": [], "velocity": []}, ValueError, "the keys of record 0"),
        ({"variables": [], "calls": 1.0}, TypeError, "record 0.calls"),
        ({"variables": [], "calls": -1}, ValueError, "record 0.calls"),
        ({"variables": [np.ones(2, np.int32)]}, TypeError, r"record 0.variables\[0\]"),
        ({"variables": [], "loss_scale": np.ones(1, np.float32)}, TypeError, "record 0.loss_scale"),
        ([], TypeError, "record 0"),
    ],
)
def test_malformed_records_are_refused(record: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        trajectory_to_json([record])


def test_malformed_trajectories_are_refused() -> None:
    with pytest.raises(TypeError, match="trajectory must be a list"):
        trajectory_from_json({})
    with pytest.raises(ValueError, match="the keys of record 0"):
        trajectory_from_json([{"variables": [], "velocity": []}])
    one = {"dtype": "float32", "shape": [1], "bits": "3f800000"}
    with pytest.raises(ValueError, match=r"record 0\.learning_rate\.shape must be"):
        trajectory_from_json([{"variables": [], "learning_rate": one}])


def test_python_numbers_in_records_become_numpy_scalars() -> None:
    record = {"variables": [], "learning_rate": 0.1, "calls": np.int64(3)}
    found = trajectory_from_json(trajectory_to_json([record]))[0]
    assert_same(np.float64(0.1), found["learning_rate"])
    assert_same(3, found["calls"])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"junk\n",
        b"[]\n",
        b"3\n",
        b'{"a":NaN}\n',
        b'{"a":Infinity}\n',
        b"\xff\n",
        b"{}{}\n",
        b"[" * 9999,
    ],
)
def test_lines_that_are_no_objects_are_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a (line of JSON|JSON object)"):
        from_line(line)


@pytest.mark.parametrize("line", [b'{"a":1,"b":2,"a":1}', b'{"b":[{"a":1,"a":2}]}', rb'{"a":1,"\u0061":2}'])
def test_a_key_that_is_there_twice_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="the key 'a' is there 2 times"):
        from_line(line)


def test_lines_with_numbers_that_json_has_not_are_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_line({"a": float("nan")})


def test_lines_are_plain_json() -> None:
    line = to_line(case_to_json(example(notes="é\n")))
    assert json.loads(line)["variables"] == [{"dtype": "float32", "shape": [2], "bits": "3f800000 3f800000"}]
    assert line.isascii()
