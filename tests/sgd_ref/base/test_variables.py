"""What an optimizer can be built with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided

from sgd_ref import SGD, LossScaleOptimizer, SparseRows

both = pytest.mark.parametrize(
    "wrap", [lambda optimizer: optimizer, LossScaleOptimizer], ids=["SGD", "scaled"]
)

SPACE = np.ones((4, 6))
FLOATS = "float16, bfloat16, float32, float64"
LIST = "variables must be a list of ndarrays"
DTYPE = f"variables[0] must have one of the dtypes {FLOATS}"
OVERLAP = "variables[1] must not share memory with another variable, got an array that overlaps variables[0]"


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


VARIABLES: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, f"{LIST}, got None of type NoneType"),
    (np.ones((2, 2)), TypeError, f"{LIST}, got array(...) of type ndarray"),
    (iter([np.ones(2)]), TypeError, f"{LIST}, got <...> of type list_iterator"),
    ({"kernel": np.ones(2)}, TypeError, f"{LIST}, got ... of type dict"),
    ([], ValueError, "variables must be a list with at least one array, got []"),
    ([np.ones(2), [1.0]], TypeError, "variables[1] must be an ndarray, got [1.0] of type list"),
    ([np.float32(1)], TypeError, "variables[0] must be an ndarray, got np.float32(1.0) of type float32"),
    ([None], TypeError, "variables[0] must be an ndarray, got None of type NoneType"),
    ([np.ma.masked_array([1.0])], TypeError, "variables[0] must be an ndarray, got masked_array(...) of ..."),
    ([np.ones(2, np.int32)], TypeError, f"{DTYPE}, got int32"),
    ([np.ones(2, np.bool_)], TypeError, f"{DTYPE}, got bool"),
    ([np.ones(2, np.complex64)], TypeError, f"{DTYPE}, got complex64"),
    ([np.ones(2, object)], TypeError, f"{DTYPE}, got object"),
    ([np.ones(2, ">f4")], TypeError, f"{DTYPE}, got >f4"),
    ([np.ones(2, "f4,f4")], TypeError, f"{DTYPE}, got [...]"),
    ([np.ones(2, np.longdouble)], TypeError, f"{DTYPE}, got {np.dtype(np.longdouble)}"),
    ([np.ones(2, ml_dtypes.float8_e5m2)], TypeError, f"{DTYPE}, got float8_e5m2"),
    (
        [np.ones(2), read_only(np.ones(2))],
        ValueError,
        "variables[1] must be writable, since it is updated in place, got a read-only array",
    ),
    ([np.broadcast_to(np.ones(2), (2, 2))], ValueError, "variables[0] must be writable, ..."),
    (
        [as_strided(np.ones(2), (3, 2), (0, 8))],
        ValueError,
        "variables[0] must not overlap itself, got strides (0, 8)",
    ),
    (
        [as_strided(SPACE, (3, 3), (8, 8))],
        ValueError,
        "variables[0] must not overlap itself, got strides (8, 8)",
    ),
    (
        [np.ones(1), SPACE, SPACE],
        ValueError,
        "variables must hold each array once, got the same one as variables[1] and variables[2]",
    ),
    (
        [SPACE[:0]] * 2,
        ValueError,
        "variables must hold each array once, got ... variables[0] and variables[1]",
    ),
    ([SPACE, SPACE[:]], ValueError, OVERLAP),
    ([SPACE, SPACE[::-1]], ValueError, OVERLAP),
    ([SPACE, SPACE.T], ValueError, OVERLAP),
    ([SPACE[:3], SPACE[2:]], ValueError, OVERLAP),
    ([SPACE[:, ::2], SPACE[1, 4:]], ValueError, OVERLAP),
    ([SPACE.view(np.float32), SPACE], ValueError, OVERLAP),
]


def matches(error: BaseException, message: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in message.split("..."))
    return re.fullmatch(pattern, str(error), re.DOTALL) is not None


@both
@pytest.mark.parametrize(("variables", "error", "message"), VARIABLES)
def test_variables_that_cannot_be_updated_in_place_are_rejected(
    variables: Any, error: type[Exception], message: str, wrap: Any
) -> None:
    optimizer = wrap(SGD(momentum=0.5))
    with pytest.raises(error) as caught:
        optimizer.build(variables)
    assert matches(caught.value, message), str(caught.value)
    gradients = [np.ones(variable.shape) for variable in variables] if caught.type is ValueError else []
    if variables is not None:
        with pytest.raises(error) as caught:
            optimizer.apply(gradients, variables)
        assert matches(caught.value, message), str(caught.value)
    assert not optimizer.built
    assert (SPACE == 1).all()
    optimizer.build([np.ones(2)])


@both
@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("ab", TypeError, "names must be a list of strings, got 'ab' of type str"),
        ({"a": 1, "b": 2}, TypeError, "names must be a list of strings, got {'a': 1, 'b': 2} of type dict"),
        (["a", 2], TypeError, "names[1] must be a string, got 2 of type int"),
        (["a", None], TypeError, "names[1] must be a string, got None of type NoneType"),
        (["a", ""], ValueError, "names[1] must be a string that is not empty, got ''"),
        ([], ValueError, "names must have one entry for each of the 2 variables, got 0"),
        (["a", "b", "c"], ValueError, "names must have one entry for each of the 2 variables, got 3"),
        (["a", "a"], ValueError, "names must differ, also with '/' read as '_', got 'a' and 'a'"),
        (["a/b", "a_b"], ValueError, "names must differ, also with '/' read as '_', got 'a/b' and 'a_b'"),
    ],
)
def test_names_that_do_not_tell_variables_apart_are_rejected(
    names: Any, error: type[Exception], message: str, wrap: Any
) -> None:
    optimizer = wrap(SGD())
    with pytest.raises(error) as caught:
        optimizer.build([np.ones(1), np.ones(1)], names)
    assert str(caught.value) == message
    assert not optimizer.built


@pytest.mark.parametrize("names", [("a", "A"), ["a", "a_momentum"], ["a/b", "a//b"], ["ä", "\n"]])
def test_other_names_are_accepted(names: Any) -> None:
    optimizer = SGD(momentum=0.5)
    optimizer.build([np.ones(1), np.ones(1)], names)
    expected = [f"SGD/{name.replace('/', '_')}_momentum" for name in names]
    assert optimizer.variable_names[2:] == expected
    assert len(set(expected)) == 2


@both
@pytest.mark.parametrize(
    ("gradient", "error"),
    [
        (np.ones(3), ValueError),
        (np.ones(2, int), TypeError),
        (None, ValueError),
        (SparseRows([0], np.ones(1), (3,)), ValueError),
    ],
)
def test_a_rejected_gradient_does_not_build(gradient: Any, error: type[Exception], wrap: Any) -> None:
    optimizer, w = wrap(SGD(momentum=0.5)), np.ones(2)
    with pytest.raises(error, match=r"^gradients"):
        optimizer.apply([gradient], [w])
    assert not optimizer.built
    assert w.tolist() == [1, 1]


def test_a_gradient_may_not_be_the_variable_that_builds() -> None:
    optimizer, w = SGD(), np.ones(2)
    with pytest.raises(ValueError, match=r"^gradients\[0\] must not share memory .* overlaps variable_0$"):
        optimizer.apply([w], [w])
    assert not optimizer.built


def test_views_that_interleave_are_variables_of_their_own(tmp_path: Path) -> None:
    space = np.zeros((4, 6), np.float32)
    pairs = np.zeros(3, [("first", np.float16), ("second", np.float16)])
    mapped = np.memmap(tmp_path / "weights", np.float32, "w+", shape=(2,))
    empty = np.zeros((0, 2))
    variables = [
        space[:, ::2],
        space[:, 1::4],
        space[::2, 3::4].T[:, ::-1],
        pairs["first"],
        pairs["second"],
        empty,
        np.zeros((0, 2)),
        mapped,
    ]
    optimizer = SGD(1.0, momentum=0.5)
    gradients = [np.full(array.shape, index + 1, array.dtype) for index, array in enumerate(variables)]
    for _ in range(2):
        optimizer.apply(gradients, variables)
    expected = np.array([[1, 2, 1, 3, 1, 2], [1, 2, 1, 0, 1, 2]] * 2) * -2.5
    assert space.tolist() == expected.tolist()
    assert [tuple(pair) for pair in pairs.tolist()] == [(-10, -12.5)] * 3
    assert mapped.tolist() == [-20, -20]


def test_many_variables_are_checked_in_a_moment(sweep: Any) -> None:
    """Each of 2000 arrays is compared with all others only by its bounds."""
    space = sweep.generator.standard_normal((2000, 3))
    variables = list(space)
    gradients = [np.ones(3) for _ in variables]
    optimizer = SGD(1.0)
    optimizer.build(variables)
    optimizer.apply(gradients)
    optimizer.apply(gradients, [variable[:] for variable in variables[:10]] + variables[10:])
