"""Checkpoints loaded into variables in another order: each name finds its own values."""

from __future__ import annotations

import itertools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from sgd_ref import SGD, LossScaleOptimizer, save

NAMES = ["kernel", "bias", "scale"]
SETTINGS: dict[str, Any] = {
    "momentum": 0.5,
    "use_ema": True,
    "gradient_accumulation_steps": 2,
    "weight_decay": 0.25,
}
PACKAGES = [sgd_ref, numba_kernels]


def gradients(names: list[str], call: int) -> list[Any]:
    return [np.full(2, NAMES.index(name) + call + 1, np.float32) for name in names]


def trained(wrapped: bool, calls: int = 3) -> tuple[Any, list[Any]]:
    variables = [np.full(2, 10.0 * index, np.float32) for index in range(3)]
    optimizer: Any = SGD(0.5, **SETTINGS)
    if wrapped:
        optimizer = LossScaleOptimizer(optimizer, 4.0, 2)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(variables, NAMES)
    for call in range(calls):
        optimizer.apply(gradients(NAMES, call))
    return optimizer, variables


def by_name(optimizer: Any, variables: list[Any], names: list[str]) -> dict[str, Any]:
    slots = dict(zip(optimizer.variable_names, optimizer.variables, strict=True))
    named = {**slots, **dict(zip(names, variables, strict=True))}
    return {name: array.tobytes() for name, array in named.items()}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "wrapped"])
@pytest.mark.parametrize("names", list(itertools.permutations(NAMES)), ids=", ".join)
def test_values_are_found_by_name_in_any_order(
    tmp_path: Path, package: Any, wrapped: bool, names: tuple[str, ...]
) -> None:
    optimizer, variables = trained(wrapped)
    save(tmp_path / "checkpoint", optimizer, variables)
    others = [np.zeros(2, np.float32) for _ in names]
    loaded = package.load(tmp_path / "checkpoint", others, names=list(names))
    assert by_name(loaded, others, list(names)) == by_name(optimizer, variables, NAMES)
    inner = loaded.inner_optimizer if wrapped else loaded
    assert inner.built_state().decayed == [name != "bias" for name in names]
    for call in range(3, 6):
        optimizer.apply(gradients(NAMES, call))
        loaded.apply(gradients(list(names), call))
    assert by_name(loaded, others, list(names)) == by_name(optimizer, variables, NAMES)


def test_without_names_values_go_by_position(tmp_path: Path) -> None:
    optimizer, variables = trained(False)
    save(tmp_path / "checkpoint", optimizer, variables)
    others = [np.zeros(2, np.float32) for _ in NAMES]
    sgd_ref.load(tmp_path / "checkpoint", others[::-1])
    assert [array.tobytes() for array in others[::-1]] == [array.tobytes() for array in variables]


def test_a_name_takes_its_shape_with_it(tmp_path: Path) -> None:
    variables = [np.zeros((2, 3), np.float32), np.zeros(4, np.float16)]
    optimizer = SGD(momentum=0.5)
    optimizer.build(variables, ["dense/kernel", "dense/bias"])
    save(tmp_path / "checkpoint", optimizer, variables)
    sgd_ref.load(tmp_path / "checkpoint", variables[::-1], names=["dense/bias", "dense/kernel"])
    with pytest.raises(ValueError, match=r"'dense/bias' is float16 of shape \(4,\), while variables\[0\] is"):
        sgd_ref.load(tmp_path / "checkpoint", variables, names=["dense/bias", "dense/kernel"])


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["kernel", "bias", "gain"], ValueError,
         r"names must be \['kernel', 'bias', 'scale'\] in any order, got \['kernel', 'bias', 'gain'\]: "
         r"unknown are \['gain'\], missing \['scale'\]$"),
        (["variable_0", "variable_1", "variable_2"], ValueError, "unknown are .*'variable_0'"),
        (["kernel", "bias", "bias"], ValueError, "^names must differ, .* got 'bias' and 'bias'$"),
        (["a/b", "a_b", "c"], ValueError, "^names must differ"),
        (["kernel", "bias"], ValueError, "^names must have one entry for each of the 3 variables, got 2$"),
        ("abc", TypeError, "^names must be a list of strings, got 'abc' of type str$"),
        (["kernel", "bias", 3], TypeError, r"^names\[2\] must be a string"),
        ({"kernel": 0, "bias": 1, "scale": 2}, TypeError, "^names must be a list of strings"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_names_that_do_not_fit_are_refused_and_change_nothing(
    tmp_path: Path, package: Any, names: Any, error: type[Exception], message: str
) -> None:
    save(tmp_path / "checkpoint", *trained(False))
    others = [np.full(2, 7.0, np.float32) for _ in NAMES]
    with pytest.raises(error, match=message):
        package.load(tmp_path / "checkpoint", others, names=names)
    assert [array.tolist() for array in others] == [[7.0, 7.0]] * 3


def test_fewer_variables_than_were_saved_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "checkpoint", *trained(False))
    with pytest.raises(ValueError, match=r"unknown are \[\], missing \['scale'\]$"):
        sgd_ref.load(
            tmp_path / "checkpoint", [np.zeros(2, np.float32), np.zeros(2, np.float32)], names=NAMES[:2]
        )


def test_names_that_repeat_in_the_file_are_refused(tmp_path: Path) -> None:
    path, broken = tmp_path / "checkpoint", tmp_path / "broken"
    variables = [np.zeros(2, np.float32), np.zeros(2, np.float32)]
    optimizer = SGD()
    optimizer.build(variables, ["first", "other"])
    save(path, optimizer, variables)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(broken, "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member).replace(b'"other"', b'"first"'))
    for names in (["first", "other"], ["other", "first"]):
        with pytest.raises(ValueError, match=r"cannot be loaded: names must differ, .*'first' and 'first'"):
            sgd_ref.load(broken, variables, names=names)
    with pytest.raises(ValueError, match="cannot be loaded: names must differ"):
        sgd_ref.load(broken, variables[:1], names=["first"])
