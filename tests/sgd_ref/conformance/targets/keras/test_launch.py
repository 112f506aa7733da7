"""Real Keras on every backend, against expressions of NumPy that are short enough to be believed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.base.installing import how_to_install
from sgd_ref.conformance.catalogue.case import Case, LossScaling, State, Unsupported
from sgd_ref.conformance.protocol.worker import ImplementationError
from sgd_ref.conformance.targets.keras import launch as keras
from sgd_ref.conformance.targets.keras.launch import BACKENDS, Keras, available
from sgd_ref.gradients import SparseRows

FLOAT32 = np.dtype(np.float32)
DTYPES = [np.dtype(np.float16), BFLOAT16, FLOAT32, np.dtype(np.float64)]
# Uncompiled operations take long; that the two agree with the definition is tested in another file.
JAX_EAGER, TENSORFLOW_EAGER = (
    pytest.param(name, marks=pytest.mark.sweep) for name in ("jax eager", "tensorflow eager")
)
RUNS = [JAX_EAGER, "jax compiled", TENSORFLOW_EAGER, "tensorflow compiled", "torch eager"]
# One rounding for each operation: the other backends fuse multiplications with additions.
LITERAL = [JAX_EAGER, TENSORFLOW_EAGER, "tensorflow compiled"]

Start = Callable[[str], Keras]
on = pytest.mark.parametrize


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Start Keras for "backend mode", once for all tests."""
    runs: dict[str, Keras] = {}

    def started(name: str) -> Keras:
        backend, mode = name.split()
        if not available(backend):
            missing = f"Keras on {backend} is not installed"
            pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
        return runs.setdefault(name, Keras(backend, mode))

    yield started
    for run in runs.values():
        run.close()


def case(**changes: Any) -> Case:
    parts: dict[str, Any] = {"id": "one", "config": {}, "finalize": False, **changes}
    parts.setdefault("names", tuple(f"variable_{index}" for index in range(len(parts["variables"]))))
    return Case(**parts)


def single(values: Any) -> Array:
    return np.array(values, np.float32)


def normal(seed: int, shape: tuple[int, ...] = (20,), dtype: Any = FLOAT32) -> Array:
    """Return random numbers that are far from subnormal, which JAX and TensorFlow flush to zero."""
    numbers = np.random.default_rng(seed).standard_normal(shape)
    return (numbers + np.copysign(0.01, numbers)).astype(dtype)


def assert_bits(expected: Any, found: Array) -> None:
    """Assert that two arrays have the same dtype, shape and bits."""
    expected = np.asarray(expected)
    assert (expected.dtype, expected.shape) == (found.dtype, found.shape)
    assert expected.tobytes() == found.tobytes(), f"expected {expected}, got {found}"


@on("name", RUNS)
def test_the_handshake_names_what_runs(start: Start, name: str) -> None:
    handshake = start(name).handshake
    assert handshake.name == f"keras {name}"
    assert int(handshake.version.split(".")[0]) >= 3
    assert name.split(maxsplit=1)[0] in handshake.versions


@on("name", LITERAL)
@on("dtype", DTYPES, ids=str)
def test_plain(start: Start, name: str, dtype: np.dtype[Any]) -> None:
    weights, first, second = (normal(seed, (20,), dtype) for seed in range(3))
    rate = np.float32(0.1).astype(dtype)
    config = {"learning_rate": 0.1, "momentum": 0.0}
    found = start(name)(case(config=config, variables=(weights,), gradients=((first,), (second,))))
    after = weights - first * rate
    assert_bits(after, found[0]["variables"][0])
    assert_bits(after - second * rate, found[1]["variables"][0])
    assert [record["calls"] for record in found] == [1, 2]
    assert [record["iterations"] for record in found] == [1, 2]
    assert_bits(np.float32(0.1), found[1]["learning_rate"])
    assert not found[0]["velocities"] + found[0]["averages"] + found[0]["accumulators"]


@on("name", RUNS)
@on("dtype", DTYPES, ids=str)
def test_exact_numbers_and_shapes(start: Start, name: str, dtype: np.dtype[Any]) -> None:
    shapes: list[tuple[int, ...]] = [(), (1,), (2, 3), (0, 3), (2, 0), (3, 1, 2)]
    variables = tuple(np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype) for shape in shapes)
    gradients = tuple(np.full(shape, 2, dtype) for shape in shapes)
    config = {"learning_rate": 0.25, "momentum": 0.5}
    found = start(name)(case(config=config, variables=variables, gradients=(gradients, gradients)))
    for index, variable in enumerate(variables):
        half = np.full(variable.shape, 0.5, dtype)
        assert_bits(variable - half, found[0]["variables"][index])
        assert_bits(-half, found[0]["velocities"][index])
        assert_bits(variable - half - half * dtype.type(1.5), found[1]["variables"][index])
        assert_bits(-half * dtype.type(1.5), found[1]["velocities"][index])


@pytest.mark.share(2)
@on("name", LITERAL)
@on("dtype", DTYPES, ids=str)
@on("nesterov", [False, True])
def test_momentum(start: Start, name: str, dtype: np.dtype[Any], nesterov: bool) -> None:
    weights, *gradients = (normal(seed, (3, 5), dtype) for seed in range(4))
    config = {"learning_rate": 0.1, "momentum": 0.875, "nesterov": nesterov}
    calls = tuple((gradient,) for gradient in gradients)
    found = start(name)(case(config=config, variables=(weights,), gradients=calls))
    rate, momentum, velocity = np.float32(0.1).astype(dtype), dtype.type(0.875), np.zeros_like(weights)
    for gradient, record in zip(gradients, found, strict=True):
        velocity = velocity * momentum - gradient * rate
        weights = weights + (velocity * momentum - gradient * rate if nesterov else velocity)
        assert_bits(velocity, record["velocities"][0])
        assert_bits(weights, record["variables"][0])


@on("name", [JAX_EAGER, TENSORFLOW_EAGER])
def test_weight_decay_and_what_is_excluded(start: Start, name: str) -> None:
    weights, gradient = normal(0), normal(1)
    found = start(name)(
        case(
            config={"learning_rate": 0.3, "weight_decay": 0.7},
            names=("layer/kernel", "layer/bias"),
            variables=(weights, weights),
            gradients=((gradient, gradient),),
            excluded_from_weight_decay=("bias",),
        )
    )
    rate = np.float32(0.3)
    decayed = weights - weights * np.float32(0.7) * rate
    assert_bits(decayed - gradient * rate, found[0]["variables"][0])
    assert_bits(weights - gradient * rate, found[0]["variables"][1])


def test_compiled_jax_rounds_once_or_twice(start: Start) -> None:
    weights, gradient = normal(0, (1000,)), normal(1, (1000,))
    plain = case(config={"learning_rate": 0.1}, variables=(weights,), gradients=((gradient,),))
    found = start("jax compiled")(plain)
    # In float64, the product of two numbers of float32 is exact.
    wide = weights.astype(np.float64) - gradient.astype(np.float64) * np.float64(np.float32(0.1))
    fused, separate = wide.astype(np.float32), weights - gradient * np.float32(0.1)
    assert (fused != separate).any()
    assert found[0]["variables"][0].tobytes() in (fused.tobytes(), separate.tobytes())


def test_torch_is_not_literal(start: Start) -> None:
    config = {"learning_rate": 1.0, "momentum": 0.5, "nesterov": True}
    nesterov = case(config=config, variables=(single([2**24]),), gradients=((single([-1]),),))
    # (2**24 + 1) + 0.5 is rounded twice, 2**24 + 1.5 once.
    assert_bits(single([2**24]), start("torch eager")(nesterov)[0]["variables"][0])


@on("name", RUNS)
def test_state_is_resumed_and_recorded(start: Start, name: str) -> None:
    state = State(
        calls=5,
        velocities=(single([1, 2]), single(4)),
        averages=(single([8, 16]), single(32)),
        accumulators=(single([64, -64]), single(-6)),
    )
    config: dict[str, Any] = {"learning_rate": 0.5, "momentum": 0.5, "gradient_accumulation_steps": 2}
    config |= {"use_ema": True, "ema_momentum": 0.5}
    variables, gradients = (single([1, 2]), single(3)), (single([0, 64]), single(2))
    found = start(name)(
        case(config=config, variables=variables, gradients=(gradients,), state=state, finalize=True)
    )
    # The means of the gradients are [32, 0] and -2.
    assert_bits(single([-15.5, 1]), found[0]["velocities"][0])
    assert_bits(single(3), found[0]["velocities"][1])
    assert_bits(single([-14.5, 3]), found[0]["variables"][0])
    assert_bits(single(6), found[0]["variables"][1])
    assert_bits(single([-3.25, 9.5]), found[0]["averages"][0])
    assert_bits(single(19), found[0]["averages"][1])
    assert [array.tolist() for array in found[0]["accumulators"]] == [[0, 0], 0]
    assert (found[0]["calls"], found[0]["iterations"]) == (6, 3)
    assert_bits(single([-3.25, 9.5]), found[1]["variables"][0])
    assert_bits(single(19), found[1]["variables"][1])


@on("name", RUNS)
def test_records_are_copies(start: Start, name: str) -> None:
    # Keras itself wants floats here.
    config = {"learning_rate": 1, "momentum": 1}
    one = ((single([-1]),),)
    found = start(name)(case(config=config, variables=(single([0]),), gradients=one * 3))
    assert [record["variables"][0].tolist() for record in found] == [[1], [3], [6]]
    assert [record["velocities"][0].tolist() for record in found] == [[1], [2], [3]]


@on("name", RUNS)
def test_missing_gradients(start: Start, name: str) -> None:
    zeros, one = (single([0]), single([0])), single([-1])
    calls = ((one, one), (None, one), (one, None), (one, one))
    config = {"learning_rate": 1.0, "momentum": 0.5}
    found = start(name)(case(config=config, variables=zeros, gradients=calls))
    assert [record["variables"][0].tolist() for record in found] == [[1], [1], [2.5], [4.25]]
    assert [record["variables"][1].tolist() for record in found] == [[1], [2.5], [2.5], [4.25]]


SCHEDULES: list[dict[str, Any]] = [
    {"class_name": "PiecewiseConstantDecay", "config": {"boundaries": [1, 2], "values": [4.0, 2.0, 1.0]}},
    {
        "module": "keras.optimizers.schedules",
        "class_name": "PolynomialDecay",
        "config": {"initial_learning_rate": 4.0, "decay_steps": 4, "end_learning_rate": 0.0},
        "registered_name": None,
    },
]


@on("name", RUNS)
@on(("schedule", "rates"), [(SCHEDULES[0], [4, 4, 2, 1]), (SCHEDULES[1], [4, 3, 2, 1])])
def test_schedules(start: Start, name: str, schedule: dict[str, Any], rates: list[float]) -> None:
    calls = tuple((-np.eye(4, dtype=np.float32)[call],) for call in range(4))
    config = {"learning_rate": schedule}
    found = start(name)(case(config=config, variables=(np.zeros(4, np.float32),), gradients=calls))
    assert found[-1]["variables"][0].tolist() == rates
    if name.endswith("eager"):
        for rate, record in zip(rates, found, strict=True):
            assert_bits(np.float32(rate), record["learning_rate"])
    else:
        assert all("learning_rate" not in record for record in found)


@on("name", RUNS)
def test_callable_learning_rates(start: Start, name: str) -> None:
    rates = (4.0, 1.0, 2.0)
    calls = tuple((-np.eye(3, dtype=np.float32)[call],) for call in range(3))
    found = start(name)(
        case(
            config={"learning_rate": None},
            variables=(np.zeros(3, np.float32),),
            gradients=calls,
            learning_rate_calls=rates,
        )
    )
    # What is compiled keeps the rate of the call in which it was compiled.
    used = [4, 1, 2] if name.endswith("eager") else [4, 4, 4]
    assert found[-1]["variables"][0].tolist() == used
    assert [record["learning_rate"] for record in found] == list(rates)


SCALED = {
    "config": {"learning_rate": 1.0},
    "variables": (single([0]),),
    "gradients": tuple((single([g]),) for g in (-4, -4, np.inf, -4)),
    "loss_scaling": LossScaling(initial_scale=4.0, dynamic_growth_steps=2),
}


@on("name", RUNS[1:])
def test_loss_scaling(start: Start, name: str) -> None:
    found = start(name)(case(**SCALED))
    assert [record["variables"][0].tolist() for record in found] == [[1], [2], [2], [3]]
    assert [record["loss_scale"] for record in found] == [4, 8, 4, 4]
    assert [record["growth_counter"] for record in found] == [1, 0, 0, 1]
    assert [record["calls"] for record in found] == [1, 2, 2, 3]
    resumed = start(name)(case(**SCALED, state=State(calls=7, loss_scale=2.0, growth_counter=1)))
    assert [record["loss_scale"] for record in resumed] == [4, 4, 2, 2]
    assert [record["calls"] for record in resumed] == [8, 9, 9, 10]
    assert_bits(np.float32(2), resumed[-1]["loss_scale"])


@pytest.mark.sweep
def test_an_error_is_reported_and_harms_no_other_case(start: Start) -> None:
    config = {"learning_rate": 0.1, "momentum": 0.9, "gradient_accumulation_steps": 2}
    plain = case(config=config, variables=(normal(0),), gradients=((normal(1),), (normal(2),)))
    before = start("jax eager")(plain)
    # LossScaleOptimizer.apply on JAX assigns inside of a condition that JAX traces.
    with pytest.raises(ImplementationError, match="UnexpectedTracerError") as caught:
        start("jax eager")(case(**SCALED))
    assert caught.value.call == 0
    after = start("jax eager")(plain)
    for one, other in zip(before, after, strict=True):
        assert_bits(one["variables"][0], other["variables"][0])
        assert_bits(one["velocities"][0], other["velocities"][0])
        assert_bits(one["accumulators"][0], other["accumulators"][0])


@on("name", RUNS)
def test_errors_name_the_call(start: Start, name: str) -> None:
    one = single([1])
    config = {"learning_rate": 0.1}
    with pytest.raises(ImplementationError, match="No gradients provided") as caught:
        start(name)(case(config=config, variables=(one,), gradients=((one,), (None,), (one,))))
    assert (caught.value.kind, caught.value.call) == ("ValueError", 1)
    with pytest.raises(ImplementationError, match="momentum") as caught:
        start(name)(case(config={**config, "momentum": 2.0}, variables=(one,), gradients=((one,),)))
    assert (caught.value.kind, caught.value.call) == ("ValueError", None)


@on("name", [TENSORFLOW_EAGER, "tensorflow compiled"])
def test_sparse_gradients(start: Start, name: str) -> None:
    weights = normal(0, (4, 3))
    calls = []
    for indices in ([2, 0, 2], [1, 1], [3, 0, 3, 3]):
        values = np.arange(len(indices) * 3, dtype=np.float32).reshape(-1, 3)
        calls.append((SparseRows(indices, values, (4, 3)),))
    config = {"learning_rate": 0.5}
    found = start(name)(case(config=config, variables=(weights,), gradients=tuple(calls)))
    for (rows,), record in zip(calls, found, strict=True):
        for index, row in zip(rows.indices, rows.values, strict=True):
            weights[index] -= row * np.float32(0.5)
        assert_bits(weights, record["variables"][0])


@on("name", [JAX_EAGER, "jax compiled", "torch eager"])
def test_sparse_gradients_are_dense_elsewhere(start: Start, name: str) -> None:
    rows = SparseRows([0], single([[1]]), (2, 1))
    with pytest.raises(Unsupported, match="the gradient of an embedding is dense"):
        start(name)(case(variables=(np.zeros((2, 1), np.float32),), gradients=((rows,),)))


def test_what_is_unsupported(start: Start) -> None:
    with pytest.raises(Unsupported, match=r"fit\(\) does not compile on PyTorch"):
        start("torch compiled")(case(variables=(single([1]),), gradients=((single([1]),),)))
    with pytest.raises(Unsupported, match="cases of kind schedule"):
        start("torch eager")(case(variables=(), gradients=(), kind="schedule"))
    # Keras would look for the string in "kernel" alone.
    named = {"names": ("bias_net/kernel",), "excluded_from_weight_decay": ("bias",)}
    with pytest.raises(Unsupported, match="the name of a variable of Keras is the last part of its path"):
        start("torch eager")(case(variables=(single([1]),), gradients=((single([1]),),), **named))


@pytest.mark.share(2)
@on("name", RUNS)
@on("dtype", DTYPES, ids=str)
def test_special_values_pass(start: Start, name: str, dtype: np.dtype[Any]) -> None:
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], dtype)
    subnormal = np.array([1, 2], f"u{dtype.itemsize}").view(dtype)
    # The second variable has no gradient: nothing is computed, bits must come through unchanged.
    found = start(name)(
        case(
            config={"learning_rate": 1.0},
            variables=(special, np.concatenate([special, subnormal])),
            gradients=((np.zeros(6, dtype), None),),
        )
    )
    assert str(found[0]["variables"][0]) == str(special)
    assert str(found[0]["variables"][1]) == str(np.concatenate([special, subnormal]))


def test_nothing_is_imported_and_nothing_misleads(tmp_path: Path) -> None:
    backend = next((backend for backend in BACKENDS if available(backend)), None)
    if backend is None:
        pytest.skip("Keras is not installed")
    (tmp_path / "keras.json").write_text('{"floatx": "float64", "backend": "nonesuch"}')
    program = f"""
import sys
import numpy as np
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.targets.keras.launch import Keras
case = Case("one", {{"learning_rate": 0.1}}, ("v",), (np.zeros(1),), ((-np.ones(1),),))
with Keras({backend!r}, "eager") as run:
    assert run(case)[0]["variables"][0].tolist() == [float(np.float32(0.1))]
frameworks = {{"keras", "jax", "jaxlib", "tensorflow", "torch"}}
assert not frameworks & set(sys.modules), frameworks & set(sys.modules)
"""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    misleading = {"PYTHONPATH": path, "KERAS_HOME": str(tmp_path), "KERAS_NNX_ENABLED": "1"}
    command = [sys.executable, "-c", program]
    subprocess.run(command, env={**os.environ, **misleading}, cwd=tmp_path, check=True, timeout=300)


def test_the_process_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras, "CASES_PER_PROCESS", 2)
    monkeypatch.setattr(keras, "available", lambda backend: True)
    run = Keras("tensorflow", "eager")
    worker = run._worker = mock.MagicMock()
    for _ in range(5):
        run(case(variables=(), gradients=()))
    assert worker.method_calls == [mock.call.close()] * 2
    assert worker.call_count == 5


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not available("jax")
    with pytest.raises(ModuleNotFoundError, match=re.escape(how_to_install("keras"))):
        Keras("jax", "eager")


@on(("version", "enough"), [("2.15.0", False), ("3.0.1", True)])
def test_keras_2_is_not_enough(monkeypatch: pytest.MonkeyPatch, version: str, enough: bool) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    assert available("tensorflow") == enough


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="backend must be one of jax, tensorflow, torch, got 'numpy'"):
        Keras("numpy", "eager")
    with pytest.raises(ValueError, match="mode must be one of eager, compiled, got 'jit'"):
        Keras("jax", "jit")
