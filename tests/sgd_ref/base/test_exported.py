"""Weights that know what they are: no other meaning is given to them."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from sgd_ref import SGD, LossScaleOptimizer, schedules
from sgd_ref.base.exported import Weights

PACKAGES = [sgd_ref, numba_kernels]
every_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)


def trained(optimizer: Any, names: list[str] | None = None, calls: int = 2, variables: int = 2) -> Any:
    optimizer.build([np.ones(2, np.float32) for _ in range(variables)], names)
    for _ in range(calls):
        optimizer.apply([np.ones(2, np.float32) for _ in range(variables)])
    return optimizer


def as_bytes(arrays: list[Any]) -> list[bytes]:
    return [array.tobytes() for array in arrays]


def wrapped(optimizer: Any) -> LossScaleOptimizer:
    return LossScaleOptimizer(optimizer, 1.0)


AVERAGES, VELOCITIES = {"use_ema": True}, {"momentum": 0.5}
ARRAYS = "the arrays iteration, learning_rate"


@every_package
@pytest.mark.parametrize(
    ("source", "target", "accepted", "given"),
    [
        (VELOCITIES, AVERAGES, f"{ARRAYS}, average", f"{ARRAYS}, momentum"),
        (AVERAGES, VELOCITIES, f"{ARRAYS}, momentum", f"{ARRAYS}, average"),
        (
            {"gradient_accumulation_steps": 4},
            {"gradient_accumulation_steps": 3},
            "gradient_accumulation_steps=3",
            "gradient_accumulation_steps=4",
        ),
        (
            {"gradient_accumulation_steps": 4},
            VELOCITIES,
            f"{ARRAYS}, momentum and gradient_accumulation_steps=None",
            f"{ARRAYS}, gradient_accumulator and gradient_accumulation_steps=4",
        ),
        (
            VELOCITIES,
            {"learning_rate": schedules.ExponentialDecay(0.5, 2, 0.5), **VELOCITIES},
            "the arrays iteration, momentum",
            f"{ARRAYS}, momentum",
        ),
        ({**AVERAGES, **VELOCITIES}, {}, ARRAYS, f"{ARRAYS}, average, momentum"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, wrapped], ids=["alone", "wrapped"])
def test_weights_of_another_kind_of_optimizer_are_refused(
    package: Any, source: Any, target: Any, accepted: str, given: str, wrap: Any
) -> None:
    values = trained(wrap(package.SGD(**source))).get_weights()
    optimizer = trained(wrap(package.SGD(**target)))
    before = as_bytes(optimizer.variables)
    if wrap is wrapped:
        own = "the arrays iteration, learning_rate, step_counter, dynamic_scale, "
        accepted, given = (text.replace("the arrays ", own) for text in (accepted, given))
    with pytest.raises(ValueError, match=r"^values must be weights of an optimizer that has ") as caught:
        optimizer.set_weights(values)
    assert str(caught.value) == (
        f"values must be weights of an optimizer that has {accepted}, got those that were exported from one "
        f"with {given}; list(values) is taken by position, whatever it means"
    )
    assert as_bytes(optimizer.variables) == before


@every_package
@pytest.mark.parametrize("names", [["bias", "kernel"], ["kernel", "gain"]])
def test_weights_for_variables_of_other_names_are_refused(package: Any, names: list[str]) -> None:
    values = trained(package.SGD(momentum=0.5), ["kernel", "bias"]).get_weights()
    optimizer = trained(package.SGD(momentum=0.5), names)
    message = re.escape(
        f"values must be weights of an optimizer that has the variables {names}, "
        "got those that were exported from one with the variables ['kernel', 'bias']; "
    )
    with pytest.raises(ValueError, match=f"^{message}"):
        optimizer.set_weights(values)


@every_package
@pytest.mark.parametrize("names", [(None, ["a", "b"]), (["a", "b"], None), (None, None)])
def test_variables_without_names_go_by_position(package: Any, names: Any) -> None:
    source = trained(package.SGD(momentum=0.5), names[0])
    target = trained(package.SGD(momentum=0.5), names[1], calls=0)
    target.set_weights(source.get_weights())
    assert as_bytes(target.variables) == as_bytes(source.variables)


def test_names_of_variables_do_not_matter_where_nothing_is_kept_of_them() -> None:
    source, target = trained(SGD(0.5), ["a", "b"]), trained(SGD(0.25), ["c", "d", "e"], 0, 3)
    target.set_weights(source.get_weights())
    assert (target.calls, target.learning_rate) == (2, 0.5)


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.75, "nesterov": True},
        {"momentum": 1.0, "name": "other"},
        {"momentum": 0.5, "weight_decay": 0.5, "clipnorm": 1.0, "loss_scale_factor": 2.0},
    ],
)
def test_settings_that_change_no_meaning_may_differ(settings: Any) -> None:
    source, target = trained(SGD(momentum=0.5)), trained(SGD(**settings), calls=0)
    target.set_weights(source.get_weights())
    assert as_bytes(target.velocities) == as_bytes(source.velocities)


def test_the_packages_exchange_weights() -> None:
    settings: Any = {"momentum": 0.5, "use_ema": True, "gradient_accumulation_steps": 3}
    for source, target in (PACKAGES, PACKAGES[::-1]):
        optimizer = trained(source.SGD(**settings), ["a", "b"])
        other = trained(target.SGD(**settings), ["a", "b"], calls=0)
        other.set_weights(optimizer.get_weights())
        assert as_bytes(other.variables) == as_bytes(optimizer.variables)


@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, wrapped], ids=["alone", "wrapped"])
def test_weights_of_a_wrapper_are_not_those_of_what_it_wraps(wrap: Any) -> None:
    alone, around = trained(SGD(momentum=0.5)), trained(wrapped(SGD(momentum=0.5)))
    optimizer, other = (alone, around) if wrap is wrapped else (around, alone)
    with pytest.raises(ValueError, match=r"^values must be weights of an optimizer that has the arrays "):
        optimizer.set_weights(other.get_weights())


def test_a_plain_list_goes_by_position() -> None:
    values = trained(SGD(momentum=0.5)).get_weights()
    optimizer = trained(SGD(use_ema=True))
    for plain in (list(values), values[:], [*values], tuple(values), values.copy()):
        optimizer.set_weights(plain)
        assert as_bytes(optimizer.averages) == as_bytes(values[2:])
    optimizer.set_weights(Weights(values))


def test_weights_are_a_list() -> None:
    weights = trained(SGD(momentum=0.5)).get_weights()
    assert isinstance(weights, list)
    assert len(weights) == 4
    assert repr(weights) == repr(list(weights))
    weights[2] = np.full(2, 7, np.float32)
    optimizer = trained(SGD(momentum=0.5))
    optimizer.set_weights(weights)
    assert optimizer.velocities[0].tolist() == [7, 7]
    weights.append(weights[-1])
    with pytest.raises(ValueError, match=r"^values must hold 4 arrays, got 5$"):
        optimizer.set_weights(weights)


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle of protocol {protocol}": lambda weights, protocol=protocol: pickle.loads(  # noqa: S301
            pickle.dumps(weights, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_weights_knows_what_they_are(copied: Any) -> None:
    source = trained(SGD(momentum=0.5))
    values = copied(source.get_weights())
    assert type(values) is Weights
    with pytest.raises(ValueError, match=r"^values must be weights of an optimizer that has the arrays "):
        trained(SGD(use_ema=True)).set_weights(values)
    target = trained(SGD(momentum=0.5), calls=0)
    target.set_weights(values)
    assert as_bytes(target.variables) == as_bytes(source.variables)


IN_ANOTHER_PROCESS = """
import pickle, sys
import numpy as np
with open(sys.argv[1], "rb") as file:
    values = pickle.load(file)
from sgd_ref import SGD
optimizer = SGD(use_ema=True)
optimizer.build([np.ones(2, np.float32), np.ones(2, np.float32)])
try:
    optimizer.set_weights(values)
except ValueError as error:
    print(error)
"""


def test_weights_from_another_process_know_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(pickle.dumps(trained(SGD(momentum=0.5)).get_weights()))
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    assert output.stdout.startswith("values must be weights of an optimizer that has the arrays ")
