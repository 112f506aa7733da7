"""Configs and state move between the reference and the real Keras, both ways and in mid-training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import sgd_ref
from sgd_ref import SGD, LossScaleOptimizer, schedules
from sgd_ref.conformance.protocol.arrays import array_from_json, array_to_json
from sgd_ref.conformance.targets.keras.launch import BACKENDS, ENVIRONMENT, available

Array = np.ndarray[Any, np.dtype[Any]]

WORKER = Path(__file__).with_name("keras_exchange_worker.py")
TIME_LIMIT = 600.0
CLASSES: dict[str, Any] = {"SGD": SGD, "LossScaleOptimizer": LossScaleOptimizer}


def described(class_name: str, /, **arguments: Any) -> dict[str, Any]:
    """An optimizer or a schedule as its class and its arguments, which Keras and sgd_ref share."""
    return {"class_name": class_name, "arguments": arguments}


SCHEDULES = {
    "exponential": described(
        "ExponentialDecay", initial_learning_rate=0.1, decay_steps=10, decay_rate=0.7, staircase=True
    ),
    "piecewise": described("PiecewiseConstantDecay", boundaries=[2, 5], values=[0.5, 0.3, 0.1]),
    "polynomial": described(
        "PolynomialDecay",
        initial_learning_rate=0.1,
        decay_steps=10,
        end_learning_rate=0.03,
        power=2.0,
        cycle=True,
    ),
    "inverse time": described("InverseTimeDecay", initial_learning_rate=0.1, decay_steps=7, decay_rate=0.3),
    "cosine": described(
        "CosineDecay",
        initial_learning_rate=0.1,
        decay_steps=10,
        alpha=0.2,
        warmup_target=0.3,
        warmup_steps=4,
        name="mine",
    ),
    "restarts": described(
        "CosineDecayRestarts", initial_learning_rate=0.1, first_decay_steps=3, t_mul=1.5, m_mul=0.9, alpha=0.1
    ),
}

ALL_ARGUMENTS = {
    "learning_rate": 0.3,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.004,
    "use_ema": True,
    "ema_momentum": 0.95,
    "ema_overwrite_frequency": 7,
    "loss_scale_factor": 3.0,
    "gradient_accumulation_steps": 4,
    "name": "mine",
}

OPTIMIZERS = {
    "defaults": described("SGD", name="SGD"),
    **{
        f"everything with {clipping}": described("SGD", **ALL_ARGUMENTS, **{clipping: 0.7})
        for clipping in ("clipnorm", "clipvalue", "global_clipnorm")
    },
    "no decay": described("SGD", weight_decay=0.0, name="SGD"),
    **{name: described("SGD", learning_rate=schedule, name="SGD") for name, schedule in SCHEDULES.items()},
    "loss scaling": described(
        "LossScaleOptimizer",
        inner_optimizer=described("SGD", learning_rate=SCHEDULES["cosine"], momentum=0.9, name="inner"),
        initial_scale=1000.0,
        dynamic_growth_steps=3,
        name="scaling",
    ),
    "loss scaling by default": described(
        "LossScaleOptimizer", inner_optimizer=described("SGD", name="SGD"), name="LossScaleOptimizer"
    ),
}


def constructed(value: Any) -> Any:
    """What is described, as an object of sgd_ref."""
    if not isinstance(value, dict):
        return value
    arguments = {name: constructed(argument) for name, argument in value["arguments"].items()}
    class_name = value["class_name"]
    return (CLASSES.get(class_name) or getattr(schedules, class_name))(**arguments)


@dataclass(frozen=True)
class Run:
    """A training that is handed over after some of its calls.

    Attributes
    ----------
    optimizer : dict
        The description of the optimizer.
    dtypes : tuple of dtype
        Of the three variables.
    exact : bool
        Whether no operation rounds, so that contraction and reassociation change no bit.
    calls, handover : int
        How many calls there are, and how many before the handover.
    """

    optimizer: dict[str, Any]
    dtypes: tuple[Any, ...] = ("float32",) * 3
    exact: bool = False
    calls: int = 8
    handover: int = 5

    names = ("dense/kernel", "dense/bias", "scale")
    shapes = ((4, 3), (3,), ())
    excluded = ("bias",)

    @property
    def backends(self) -> tuple[str, ...]:
        """Where the bits are those of the reference; PyTorch contracts and reassociates."""
        return BACKENDS if self.exact else ("jax", "tensorflow")

    @property
    def scaled(self) -> bool:
        return self.optimizer["class_name"] == "LossScaleOptimizer"

    def numbers(self, seed: int, magnitude: float) -> list[Array]:
        """Three arrays, of small integers if the run is to be exact."""
        generator = np.random.default_rng([seed, self.exact])
        arrays = [generator.uniform(-magnitude, magnitude, shape) for shape in self.shapes]
        if self.exact:
            # Without -0.0, to which Keras on PyTorch resets accumulators.
            arrays = [np.rint(array) + 0.0 for array in arrays]
        return [np.array(array, dtype) for array, dtype in zip(arrays, self.dtypes, strict=True)]

    @property
    def gradients(self) -> list[list[Array]]:
        calls = [self.numbers(call + 1, 4.0) for call in range(self.calls)]
        if self.scaled:
            # The scale is halved in this call, and the call is skipped.
            calls[2][0][0, 0] = np.inf
        return calls


HALVES = {"learning_rate": 0.5, "name": "SGD"}

RUNS = {
    "plain": Run(described("SGD", learning_rate=0.1)),
    "momentum": Run(described("SGD", learning_rate=0.1, momentum=0.9)),
    "nesterov": Run(described("SGD", learning_rate=0.1, momentum=0.9, nesterov=True)),
    "weight decay": Run(described("SGD", learning_rate=0.1, momentum=0.9, weight_decay=0.9)),
    "clipvalue": Run(described("SGD", learning_rate=0.1, momentum=0.9, clipvalue=1.3)),
    "averages": Run(
        described(
            "SGD",
            learning_rate=0.1,
            momentum=0.9,
            use_ema=True,
            ema_momentum=0.7,
            ema_overwrite_frequency=3,
        )
    ),
    "accumulation": Run(
        described(
            "SGD",
            learning_rate=0.1,
            momentum=0.9,
            nesterov=True,
            weight_decay=0.9,
            clipvalue=1.3,
            gradient_accumulation_steps=2,
        )
    ),
    "piecewise rate": Run(
        described("SGD", learning_rate=SCHEDULES["piecewise"], momentum=0.9), calls=9, handover=4
    ),
    "float16": Run(
        described("SGD", learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=0.9),
        dtypes=("float16",) * 3,
    ),
    "bfloat16": Run(
        described("SGD", learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=0.9),
        dtypes=(ml_dtypes.bfloat16,) * 3,
    ),
    "mixed dtypes": Run(
        described("SGD", learning_rate=0.1, momentum=0.9, use_ema=True, ema_momentum=0.7),
        dtypes=("float32", ml_dtypes.bfloat16, "float16"),
    ),
    "exact with averages": Run(
        described("SGD", **HALVES, momentum=0.5, nesterov=True, use_ema=True, ema_momentum=0.75),
        exact=True,
        calls=5,
        handover=3,
    ),
    "exact with accumulation": Run(
        described(
            "SGD",
            **HALVES,
            momentum=0.5,
            nesterov=True,
            weight_decay=0.25,
            clipvalue=1.5,
            gradient_accumulation_steps=2,
        ),
        exact=True,
        calls=7,
        handover=3,
    ),
    "exact with loss scaling": Run(
        described(
            "LossScaleOptimizer",
            inner_optimizer=described("SGD", **HALVES, momentum=0.5, weight_decay=0.25),
            initial_scale=8.0,
            dynamic_growth_steps=2,
            name="scaling",
        ),
        exact=True,
        calls=7,
        handover=4,
    ),
    "exact with loss scaling and accumulation": Run(
        described(
            "LossScaleOptimizer",
            inner_optimizer=described("SGD", **HALVES, momentum=0.5, gradient_accumulation_steps=2),
            initial_scale=8.0,
            dynamic_growth_steps=2,
        ),
        exact=True,
        calls=8,
        handover=4,
    ),
}


def plain(array: Array) -> Any:
    return int(array) if array.dtype.kind == "i" else array_to_json(array)


class Training:
    """An optimizer of sgd_ref with its variables; the answers of Keras have the same form."""

    def __init__(self, run: Run, optimizer: Any = None) -> None:
        self.run = run
        self.calls = 0
        self.optimizer = constructed(run.optimizer) if optimizer is None else optimizer
        self.variables = run.numbers(0, 8.0)
        self.optimizer.exclude_from_weight_decay(var_names=list(run.excluded))
        self.optimizer.build(self.variables, list(run.names))

    def resume(self, state: dict[str, Any]) -> None:
        for variable, value in zip(self.variables, state["variables"], strict=True):
            variable[...] = array_from_json(value)
        self.optimizer.set_weights(
            [value if isinstance(value, int) else array_from_json(value) for value in state["weights"]]
        )

    def advance(self, first: int, last: int) -> None:
        for gradients in self.run.gradients[first:last]:
            self.optimizer.apply(gradients)
        self.calls = last

    def state(self) -> dict[str, Any]:
        return {
            "variables": [array_to_json(variable) for variable in self.variables],
            "weights": [plain(array) for array in self.optimizer.get_weights()],
        }

    def finalized(self) -> list[Any]:
        self.optimizer.finalize_variable_values(self.variables)
        return [array_to_json(variable) for variable in self.variables]


def config_of(description: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = constructed(description).get_config()
    return config


def run_as_request(run: Run) -> dict[str, Any]:
    training = Training(run)
    request = {
        "class_name": run.optimizer["class_name"],
        "config": training.optimizer.get_config(),
        "names": run.names,
        "excluded": run.excluded,
        "variables": training.state()["variables"],
        "gradients": [[array_to_json(gradient) for gradient in call] for call in run.gradients],
        "handover": run.handover,
    }
    training.advance(0, run.handover)
    return {**request, "state": training.state()}


@cache
def conversation(backend: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """What Keras makes of all configs and runs, in one process for each backend."""
    request = {
        "exports": OPTIMIZERS,
        "imports": {
            name: {"class_name": description["class_name"], "config": config_of(description)}
            for name, description in OPTIMIZERS.items()
        },
        "runs": {name: run_as_request(run) for name, run in RUNS.items() if backend in run.backends},
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, "request.json"), Path(folder, "answers.json")]
        paths[0].write_text(json.dumps(request))
        package = str(Path(sgd_ref.__file__).parent.parent)
        process = subprocess.run(
            [sys.executable, str(WORKER), *map(str, paths)],
            env={**os.environ, **ENVIRONMENT, "KERAS_BACKEND": backend, "PYTHONPATH": package},
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
        return process, paths[1].read_text() if paths[1].exists() else "null"


def answers_of_keras(backend: str) -> dict[str, Any]:
    if not available(backend):
        report = pytest.fail if os.environ.get("CI") else pytest.skip
        report(f"Keras 3 on {backend} is not installed")
    process, answers = conversation(backend)
    assert process.returncode == 0, process.stderr[-4000:]
    parsed: dict[str, Any] = json.loads(answers)
    return parsed


def on(backend: str, *others: str) -> Any:
    """Return parameters; by default for PyTorch alone: on JAX hundreds of small functions are compiled."""
    return pytest.param(backend, *others, marks=[] if backend == "torch" else [pytest.mark.sweep])


on_every_backend = pytest.mark.parametrize("backend", [on(backend) for backend in BACKENDS])
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
each_run = pytest.mark.parametrize(
    ("backend", "name"),
    [on(backend, name) for name, run in RUNS.items() for backend in run.backends],
)


def settings_of(optimizer: Any) -> tuple[Any, ...]:
    """All settings, the learning rate among them, as objects that can be compared."""
    inner = optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer
    outer = None if inner is optimizer else optimizer.settings[1:]
    return type(optimizer), outer, inner.settings, inner.rate_source


@on_every_backend
@each_optimizer
def test_a_config_that_keras_exports_gives_equal_settings_here(backend: str, name: str) -> None:
    description = OPTIMIZERS[name]
    config = answers_of_keras(backend)["exports"][name]
    loaded = CLASSES[description["class_name"]].from_config(config)
    assert settings_of(loaded) == settings_of(constructed(description))
    if "inner_optimizer" in config:
        # Keras on PyTorch exports the address of a private class of its own.
        config["inner_optimizer"] |= {"module": "keras.optimizers", "registered_name": None}
    assert loaded.get_config() == config


@on_every_backend
@each_optimizer
def test_a_config_that_is_exported_here_gives_equal_settings_in_keras(backend: str, name: str) -> None:
    answers = answers_of_keras(backend)
    loaded = answers["imports"][name]
    assert set(loaded) == {"from_config", "deserialize", "deserialize with module", "get"}
    for way, config in loaded.items():
        assert config == answers["exports"][name], way


@on_every_backend
def test_nothing_about_a_config_is_left_out(backend: str) -> None:
    exports = answers_of_keras(backend)["exports"]
    assert set(exports["everything with clipnorm"]) == set(SGD().get_config())
    defaults, changed = exports["defaults"], exports["everything with clipnorm"]
    same = {key for key in defaults if defaults[key] == changed[key]}
    assert same == {"clipvalue", "global_clipnorm"}


@each_run
def test_keras_and_the_reference_agree_all_the_way(backend: str, name: str) -> None:
    run, answer = RUNS[name], answers_of_keras(backend)["runs"][name]
    training = Training(run)
    for last, point in ((run.handover, "midway"), (run.calls, "end")):
        training.advance(training.calls, last)
        state = training.state()
        assert {key: answer[point][key] for key in state} == state, point
    assert answer["finalized"] == training.finalized()


@each_run
def test_a_training_that_began_in_keras_goes_on_here(backend: str, name: str) -> None:
    run, answer = RUNS[name], answers_of_keras(backend)["runs"][name]
    midway, end = answer["midway"], answer["end"]
    optimizer = CLASSES[run.optimizer["class_name"]].from_config(midway["config"])
    training = Training(run, optimizer)
    if "SGD/learning_rate" in midway["names"]:
        # A number is part of the state, too.
        optimizer.learning_rate = 0.75
    training.resume(midway)
    training.advance(run.handover, run.calls)
    state = training.state()
    assert state == {key: end[key] for key in state}
    assert training.finalized() == answer["finalized"]


@each_run
def test_a_training_that_began_here_goes_on_in_keras(backend: str, name: str) -> None:
    answer = answers_of_keras(backend)["runs"][name]
    assert answer["continued"] == answer["end"]


@each_run
def test_the_state_is_named_as_in_keras(backend: str, name: str) -> None:
    answer = answers_of_keras(backend)["runs"][name]
    assert Training(RUNS[name]).optimizer.variable_names == answer["end"]["names"]


@pytest.mark.parametrize("name", [name for name, run in RUNS.items() if run.exact])
def test_no_operation_of_an_exact_run_rounds(name: str) -> None:
    run = RUNS[name]
    wide = Training(replace(run, dtypes=("float64",) * 3))
    narrow = Training(run)
    for call in range(run.calls):
        for training in (wide, narrow):
            training.advance(call, call + 1)
        for variable, expected in zip(narrow.variables, wide.variables, strict=True):
            assert np.array_equal(variable, expected)
            # All settings are multiples of 1/4, so that intermediate results need few bits more.
            assert np.array_equal(np.ldexp(expected, 20), np.rint(np.ldexp(expected, 20)))
            assert np.abs(expected).max() < 2**4


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_handed_over_with_state_that_matters(name: str) -> None:
    run = RUNS[name]
    whole, without_state = Training(run), Training(run)
    whole.advance(0, run.handover)
    without_state.resume(
        {"variables": whole.state()["variables"], "weights": without_state.state()["weights"]}
    )
    for training in (whole, without_state):
        training.advance(run.handover, run.calls)
    if name != "plain":
        assert whole.state()["variables"] != without_state.state()["variables"]
    if run.scaled:
        assert whole.optimizer.calls == run.calls - 1
