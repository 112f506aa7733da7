"""Real Optax in both modes: its mapping against the definition."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgd_ref import schedules
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.base.installing import how_to_install
from sgd_ref.conformance.catalogue.case import Case, LossScaling, Record, State, Unsupported
from sgd_ref.conformance.protocol.worker import ImplementationError
from sgd_ref.conformance.targets.optax.launch import MODES, Optax, available
from sgd_ref.conformance.trajectories import reference
from sgd_ref.gradients import SparseRows

DTYPES = [FLOAT16, BFLOAT16, FLOAT32, FLOAT64]

Start = Callable[[str], Optax]
on = pytest.mark.parametrize
in_both_modes = on("mode", MODES)

PLAIN: dict[str, Any] = {
    "learning_rate": 0.5,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.5,
    "ema_overwrite_frequency": None,
    "name": "SGD",
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}

# One setting or a few that belong together, so that what is wrong has a name.
FEATURES: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.5},
    "nesterov": {"momentum": 0.5, "nesterov": True},
    "decay": {"weight_decay": 1.0},
    "decay under nesterov": {"weight_decay": 1.0, "momentum": 0.5, "nesterov": True},
    "clipvalue": {"clipvalue": 2.0},
    "clipnorm": {"clipnorm": 2.0},
    "clipnorm not reached": {"clipnorm": 1024.0},
    "global_clipnorm": {"global_clipnorm": 6.0},
    "averages": {"use_ema": True, "momentum": 0.5},
    "overwriting": {"use_ema": True, "ema_overwrite_frequency": 2},
    "accumulation": {
        "gradient_accumulation_steps": 2,
        "momentum": 0.5,
        "clipvalue": 2.0,
        "weight_decay": 1.0,
    },
    "averages while accumulating": {
        "gradient_accumulation_steps": 2,
        "use_ema": True,
        "ema_overwrite_frequency": 2,
    },
    "fixed scale": {"loss_scale_factor": 8.0},
}

IN_EVERY_DTYPE = ("plain", "decay under nesterov", "clipnorm", "accumulation", "overwriting", "fixed scale")


def case(variables: tuple[Array, ...], *calls: tuple[Any, ...], **changes: Any) -> Case:
    settings = {name: value for name, value in changes.items() if name in PLAIN}
    others = {name: value for name, value in changes.items() if name not in PLAIN}
    names = tuple(f"variable_{index}" for index in range(len(variables)))
    parts: dict[str, Any] = {"id": "one", "config": PLAIN | settings, "names": names, **others}
    return Case(variables=variables, gradients=calls, **parts)


def single(*values: float) -> Array:
    return np.array(values, np.float32)


def values_of(found: list[Record], quantity: str = "variables") -> list[list[float]]:
    """Return the first variable of each record."""
    return [record[quantity][0].tolist() for record in found]


def assert_same(case: Case, found: list[Record]) -> None:
    """Assert that variables, averages and counts, where reported, have the bits of the definition."""
    wanted = reference.run(case)
    assert len(found) == len(wanted)
    for want, got in zip(wanted, found, strict=True):
        assert got.keys() >= {"variables"}
        for quantity in ("variables", "averages"):
            for one, other in zip(want[quantity], got.get(quantity, want[quantity]), strict=True):
                assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
        for quantity in {"calls", "iterations", "learning_rate"} & got.keys():
            assert np.float32(want[quantity]) == np.float32(got[quantity])


@in_both_modes
def test_the_handshake_names_what_runs(start_optax: Start, mode: str) -> None:
    handshake = start_optax(mode).handshake
    assert handshake.name == f"optax {mode}"
    assert handshake.version == "0.2.8"
    assert handshake.versions.keys() == {"numpy", "jax", "jaxlib"}


@pytest.mark.share(4)
@in_both_modes
@on("dtype", DTYPES, ids=str)
def test_exact_numbers(start_optax: Start, mode: str, dtype: np.dtype[Any]) -> None:
    features = FEATURES if dtype == FLOAT32 else {name: FEATURES[name] for name in IN_EVERY_DTYPE}
    # Every norm is 4 or 0, all together 8, three times that in the second call: quotients are exact.
    shapes = ((2, 2), (2, 2), (2, 2), (0, 2), ())
    gradients = tuple(np.resize(np.array([2, -2] if shape else [4], dtype), shape) for shape in shapes)
    variables = tuple(np.resize(np.array([1, -2, 3], dtype), shape) for shape in shapes)
    for name, settings in features.items():
        one = case(
            variables,
            *[gradients, tuple(g * dtype.type(3) for g in gradients)]
            * (settings.get("gradient_accumulation_steps") or 1),
            *[gradients] * (name == "overwriting"),
            finalize="use_ema" in settings,
            excluded_from_weight_decay=("_1",),
            **settings,
        )
        found = start_optax(mode)(one)
        try:
            assert_same(one, found)
        except AssertionError as error:
            raise AssertionError(name) from error
        assert ("averages" in found[-1]) == ("use_ema" in settings)
        assert ("calls" in found[-1]) == ("gradient_accumulation_steps" in settings)
        assert "velocities" not in found[-1]


@in_both_modes
@on("dtype", [FLOAT32, FLOAT64], ids=str)
def test_ordinary_numbers(start_optax: Start, mode: str, dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(20261122)
    print("seed 20261122")
    arrays = [rng.standard_normal((2, 9)).astype(dtype) for _ in range(7)]
    changes: dict[str, Any] = {"momentum": 0.875, "nesterov": True, "weight_decay": 0.0625, "clipnorm": 1.5}
    changes |= {"use_ema": True, "ema_momentum": 0.75, "loss_scale_factor": 3.0}
    # With float64, accumulation is not what it should be.
    changes |= {} if dtype == FLOAT64 else {"gradient_accumulation_steps": 3}
    one = case((arrays[0],), *[(array,) for array in arrays[1:]], finalize=True, **changes)
    for want, got in zip(reference.run(one), start_optax(mode)(one), strict=True):
        for quantity in ("variables", "averages"):
            if quantity in got:
                # Numbers on the way are below 4.
                unit = 2 * np.finfo(dtype).eps
                assert np.abs(want[quantity][0] - got[quantity][0]).max() <= 8 * unit


@in_both_modes
def test_mixed_dtypes(start_optax: Start, mode: str) -> None:
    variables = tuple(np.array([1, -2], dtype) for dtype in (FLOAT32, FLOAT16, BFLOAT16))
    gradients = tuple(np.array([2, 6], variable.dtype) for variable in variables)
    changes = {"momentum": 0.5, "weight_decay": 1.0, "global_clipnorm": 1024.0, "use_ema": True}
    one = case(variables, gradients, gradients, learning_rate=None, learning_rate_calls=(0.5, 0.5), **changes)
    assert_same(one, start_optax(mode)(one))


@in_both_modes
def test_only_what_is_jitted_is_fused(start_optax: Start, mode: str, xla_fuses: bool) -> None:
    weights, gradient = single(*np.linspace(1, 2, 1000)), single(*np.linspace(3, 1, 1000))
    found = start_optax(mode)(case((weights,), (gradient,), learning_rate=0.1))[0]["variables"][0]
    separate = weights - gradient * np.float32(0.1)
    # In float64, the product of two numbers of float32 is exact.
    wide = weights.astype(np.float64) - gradient.astype(np.float64) * np.float64(np.float32(0.1))
    wanted = wide.astype(np.float32) if mode == "jitted" and xla_fuses else separate
    assert (wide.astype(np.float32) != separate).any()
    assert wanted.tobytes() == found.tobytes()


@in_both_modes
def test_a_narrower_gradient_is_widened(start_optax: Start, mode: str) -> None:
    narrow = np.array([3], BFLOAT16), np.array([5], FLOAT16)
    one = case((single(0), single(0)), narrow, learning_rate=0.3)
    assert_same(one, start_optax(mode)(one))


@in_both_modes
def test_special_values_pass(start_optax: Start, mode: str) -> None:
    special = single(0.0, -0.0, np.inf, -np.inf, np.nan, 1.0)
    one = case((special,), (np.zeros(6, np.float32),), (special,), (np.ones(6, np.float32),))
    found = start_optax(mode)(one)
    for want, got in zip(reference.run(one), found, strict=True):
        assert str(want["variables"][0]) == str(got["variables"][0])


SCHEDULES: dict[str, dict[str, Any]] = {
    "ExponentialDecay": {"initial_learning_rate": 0.5, "decay_steps": 3, "decay_rate": 0.25},
    "ExponentialDecay in stairs": {
        "initial_learning_rate": 0.5,
        "decay_steps": 3,
        "decay_rate": 0.25,
        "staircase": True,
    },
    "InverseTimeDecay": {"initial_learning_rate": 0.5, "decay_steps": 3, "decay_rate": 0.5},
    "InverseTimeDecay in stairs": {
        "initial_learning_rate": 0.5,
        "decay_steps": 3,
        "decay_rate": 0.5,
        "staircase": True,
    },
    "PolynomialDecay": {"initial_learning_rate": 0.5, "decay_steps": 6, "power": 2.0},
    "CosineDecay": {"initial_learning_rate": 0.5, "decay_steps": 6, "alpha": 0.125},
    "CosineDecay after warmup": {
        "initial_learning_rate": 0.125,
        "decay_steps": 5,
        "alpha": 0.25,
        "warmup_target": 0.5,
        "warmup_steps": 3,
    },
    "CosineDecayRestarts": {
        "initial_learning_rate": 0.5,
        "first_decay_steps": 2,
        "t_mul": 1.5,
        "m_mul": 0.5,
        "alpha": 0.125,
    },
}


def scheduled(name: str, config: dict[str, Any], **changes: Any) -> Case:
    """Return a case in which the k-th element of the variable becomes the rate of the k-th call."""
    calls = [(-np.eye(9, dtype=np.float32)[call],) for call in range(9)]
    rate = {"class_name": name.partition(" ")[0], "config": config}
    return case((np.zeros(9, np.float32),), *calls, learning_rate=rate, **changes)


@in_both_modes
def test_schedules(start_optax: Start, mode: str) -> None:
    for name, config in SCHEDULES.items():
        found = start_optax(mode)(scheduled(name, config))
        schedule = getattr(schedules, name.partition(" ")[0])(**config)
        rates = np.array([schedule(call) for call in range(9)])
        np.testing.assert_allclose(found[-1]["variables"][0], rates, rtol=2e-6, err_msg=name)
        assert [record["calls"] for record in found] == list(range(1, 10))
        assert all(("learning_rate" in record) == (mode == "eager") for record in found)
        if mode == "eager":
            used = np.diagonal(np.array([record["variables"][0] for record in found]))
            assert used.tolist() == [record["learning_rate"] for record in found]


@in_both_modes
def test_callable_learning_rates(start_optax: Start, mode: str) -> None:
    # A hyper-parameter of the state, so that no compiler keeps the first one.
    rates = (4.0, 1.0, 2.0)
    calls = [(-np.eye(3, dtype=np.float32)[call],) for call in range(3)]
    one = case((np.zeros(3, np.float32),), *calls, learning_rate=None, learning_rate_calls=rates)
    assert_same(one, start_optax(mode)(one))
    one = case(
        (np.zeros(3, np.float32),),
        *calls,
        calls[0],
        learning_rate=None,
        learning_rate_calls=(*rates, 8.0),
        gradient_accumulation_steps=2,
    )
    assert values_of(start_optax(mode)(one)) == [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0], [4.5, 0.5, 4]]


@in_both_modes
def test_state_is_resumed(start_optax: Start, mode: str) -> None:
    state = State(
        calls=5,
        velocities=(single(1, 2),),
        averages=(single(8, 16),),
        accumulators=(single(64, -64),),
    )
    changes = {"momentum": 0.5, "gradient_accumulation_steps": 2, "use_ema": True, "finalize": True}
    one = case((single(1, 2),), (single(0, 64),), (single(2, 6),), (single(4, 8),), state=state, **changes)
    assert_same(one, start_optax(mode)(one))
    # All running means are integers.
    two_of_four = {**changes, "gradient_accumulation_steps": 4, "state": replace(state, calls=6)}
    one = case((single(1, 2),), (single(35, -32),), (single(37, -28),), **two_of_four)
    assert_same(one, start_optax(mode)(one))
    decay = {"initial_learning_rate": 0.5, "decay_steps": 2, "decay_rate": 0.25}
    later = replace(
        scheduled("ExponentialDecay in stairs", decay | {"staircase": True}), state=State(calls=3)
    )
    assert_same(later, start_optax(mode)(later))
    # The third update comes after two that were made before, and halves the mean.
    halves = decay | {"decay_rate": 0.5, "staircase": True}
    later = scheduled("ExponentialDecay", halves, gradient_accumulation_steps=2, state=State(calls=4))
    assert values_of(start_optax(mode)(later))[1][:3] == [0.125, 0.125, 0.0]


ONE = single(1)
VELOCITY = State(calls=2, velocities=(ONE,))
UNSUPPORTED: dict[str, Case] = {
    "cases of kind schedule": replace(case(()), kind="schedule"),
    "Optax has no loss scaling": case((ONE,), (ONE,), loss_scaling=LossScaling(8.0, 2)),
    "the gradient of an embedding is dense": case((ONE,), (SparseRows([0], ONE, (1,)),)),
    "None has no place": case((ONE,), (None,)),
    "has no cycles": scheduled("PolynomialDecay", SCHEDULES["PolynomialDecay"] | {"cycle": True}),
    "a decay_rate of 0 means": scheduled(
        "ExponentialDecay", SCHEDULES["ExponentialDecay"] | {"decay_rate": 0.0}
    ),
    "a list of all cycles": replace(
        scheduled("CosineDecayRestarts", SCHEDULES["CosineDecayRestarts"] | {"t_mul": 1.0}),
        state=State(calls=10**6),
    ),
    "the schedule Mine": scheduled("Mine", {}),
    "if the rate is 2\\*\\*n": case((ONE,), (ONE,), momentum=0.5, learning_rate=0.3, state=VELOCITY),
    "velocities under changing rates": case(
        (ONE,), (ONE,), momentum=0.5, learning_rate=None, learning_rate_calls=(0.5,), state=VELOCITY
    ),
    "out of the range": case((ONE,), (ONE,), momentum=0.5, learning_rate=2.0**-130, state=VELOCITY),
    "keeps the mean in float32": case(
        (ONE,), (ONE,), gradient_accumulation_steps=4, state=State(calls=7, accumulators=(ONE,))
    ),
}


@on("reason", UNSUPPORTED)
def test_what_is_unsupported(start_optax: Start, reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        start_optax("eager")(UNSUPPORTED[reason])


@in_both_modes
def test_errors_name_the_call_and_harm_no_other_case(start_optax: Start, mode: str) -> None:
    one = case((single(1, 2),), (single(4, -8),), (single(2, 2),), momentum=0.5)
    before = start_optax(mode)(one)
    with pytest.raises(ImplementationError, match="call 1: ") as caught:
        start_optax(mode)(replace(one, gradients=(one.gradients[0], (single(1, 2, 3),))))
    assert (caught.value.kind, caught.value.call) == ("TypeError", 1)
    with pytest.raises(ImplementationError) as caught:
        start_optax(mode)(replace(one, config=one.config | {"momentum": "high"}))
    assert caught.value.call == 0
    for first, second in zip(before, start_optax(mode)(one), strict=True):
        assert first["variables"][0].tobytes() == second["variables"][0].tobytes()


def test_nothing_is_imported_and_nothing_misleads(tmp_path: Path) -> None:
    if not available():
        pytest.skip("Optax is not installed")
    program = """
import sys
import numpy as np
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.targets.optax import known as optax_known
from sgd_ref.conformance.targets.optax.launch import Optax
case = Case("one", {"learning_rate": 0.1}, ("v",), (np.zeros(1, "f4"),), ((-np.ones(1, "f4"),),))
with Optax("jitted") as run:
    assert run(case)[0]["variables"][0].tolist() == [float(np.float32(0.1))]
frameworks = {"optax", "jax", "jaxlib"}
assert not frameworks & set(sys.modules), frameworks & set(sys.modules)
"""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    misleading = {"PYTHONPATH": path, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "nonesuch"}
    misleading |= {"JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_DISABLE_JIT": "1"}
    command = [sys.executable, "-c", program]
    subprocess.run(command, env={**os.environ, **misleading}, cwd=tmp_path, check=True, timeout=300)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "optax" else object())
    assert not available()
    with pytest.raises(ModuleNotFoundError, match=re.escape(how_to_install("optax"))):
        Optax("eager")


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="mode must be one of eager, jitted, got 'jit'"):
        Optax("jit")
