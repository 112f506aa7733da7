"""Exclusion from weight decay."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, LossScaleOptimizer

NAMES = ["dense/kernel", "dense/bias", "norm/gamma", "Norm/Bias"]


def decayed(optimizer: Any, *exclusions: dict[str, Any], names: list[str] | None = NAMES) -> list[bool]:
    """For each of four variables, the first two of them given as `var_list`, whether it was decayed."""
    variables = [np.ones(2) for _ in NAMES]
    for exclusion in exclusions:
        chosen = {
            key: [variables[i] for i in value] if key == "var_list" else value
            for key, value in exclusion.items()
        }
        optimizer.exclude_from_weight_decay(**chosen)
    optimizer.build(variables, names)
    optimizer.apply([np.zeros(2) for _ in variables])
    return [bool(variable[0] < 1) for variable in variables]


@pytest.mark.parametrize(
    ("exclusions", "expected"),
    [
        ([], [True, True, True, True]),
        ([{}], [True, True, True, True]),
        ([{"var_list": [1]}], [True, False, True, True]),
        ([{"var_list": [1, 3]}], [True, False, True, False]),
        ([{"var_names": ["bias"]}], [True, False, True, True]),
        ([{"var_names": ("bias", "gamma")}], [True, False, False, True]),
        ([{"var_names": {"dense/"}}], [False, False, True, True]),
        ([{"var_names": ["e/b"]}], [True, False, True, True]),
        ([{"var_list": [0], "var_names": ["Bias"]}], [False, True, True, False]),
        ([{"var_list": [0]}, {"var_names": ["gamma"]}], [True, True, False, True]),
        ([{"var_names": ["bias"]}, {}], [True, True, True, True]),
    ],
)
def test_by_identity_and_by_parts_of_names(exclusions: list[dict[str, Any]], expected: list[bool]) -> None:
    assert decayed(SGD(1.0, weight_decay=0.5), *exclusions) == expected
    assert decayed(LossScaleOptimizer(SGD(1.0, weight_decay=0.5)), *exclusions) == expected


@pytest.mark.parametrize(
    "pattern", ["^dense", "b.as", "bias$", "bias|gamma", "BIAS", "dense_bias", "SGD", "bias:0"]
)
def test_names_are_no_patterns(pattern: str) -> None:
    with pytest.warns(UserWarning, match="is part of no name") as caught:
        assert decayed(SGD(1.0, weight_decay=0.5), {"var_names": [pattern]}) == [True] * 4
    assert str(caught[0].message) == f"var_names: {pattern!r} is part of no name in {NAMES}"


def test_default_names_are_numbered() -> None:
    exclusion = {"var_names": ["variable_2"]}
    assert decayed(SGD(1.0, weight_decay=0.5), exclusion, names=None) == [True, True, False, True]


def test_what_is_excluded_is_recognised_by_identity_not_by_value() -> None:
    a, b = np.ones(2), np.ones(2)
    optimizer = SGD(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([a[:]])
    optimizer.apply([np.zeros(2), np.zeros(2)], [a, b])
    assert [a[0], b[0]] == [1.0, 0.5]


def test_without_weight_decay_there_is_nothing_to_exclude() -> None:
    assert decayed(SGD(1.0), {"var_list": [0], "var_names": ["bias"]}) == [False] * 4


def test_an_excluded_array_must_be_a_variable() -> None:
    optimizer = SGD(weight_decay=0.5)
    optimizer.exclude_from_weight_decay([np.ones((2, 3), np.float16)])
    expected = (
        "var_list[0] must be one of the 1 variables, got another array of shape (2, 3) and dtype float16"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        optimizer.build([np.ones(2)])
    assert not optimizer.built
    optimizer.exclude_from_weight_decay()
    optimizer.build([np.ones(2)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"var_list": np.ones(2)},
            "var_list must be a list of ndarrays, got array([1., 1.]) of type ndarray",
        ),
        ({"var_list": [1.0]}, "var_list[0] must be an ndarray, got 1.0 of type float"),
        ({"var_list": ["bias"]}, "var_list[0] must be an ndarray, got 'bias' of type str"),
        ({"var_names": "bias"}, "var_names must be a list of strings, got 'bias' of type str"),
        ({"var_names": ["bias", 1]}, "var_names[1] must be a string, got 1 of type int"),
        ({"var_names": [b"bias"]}, "var_names[0] must be a string, got b'bias' of type bytes"),
    ],
)
def test_arguments_of_another_type_are_rejected_and_the_exclusion_stays(
    arguments: dict[str, Any], message: str
) -> None:
    optimizer = SGD(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    with pytest.raises(TypeError) as caught:
        optimizer.exclude_from_weight_decay(**arguments)
    assert str(caught.value) == message
    assert decayed(optimizer) == [True, False, True, True]


def test_once_built_it_is_too_late() -> None:
    optimizer = SGD(weight_decay=0.5)
    optimizer.build([np.ones(2)])
    with pytest.raises(
        RuntimeError, match=r"^exclude_from_weight_decay must be called before the optimizer is built$"
    ):
        optimizer.exclude_from_weight_decay(var_names=["variable"])
