"""Real PyTorch in every variant, against the definition and numbers that are short enough to be believed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.conformance.catalogue.case import Case, LossScaling, Record, State, Unsupported
from sgd_ref.conformance.protocol.worker import ImplementationError
from sgd_ref.conformance.targets.torch.launch import VARIANTS, Torch, obstacle
from sgd_ref.conformance.trajectories import reference
from sgd_ref.gradients import SparseRows
from sgd_ref.optimizer import SGD

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
DTYPES = [np.dtype(np.float16), BFLOAT16, FLOAT32, FLOAT64]
# A graph takes seconds to compile; what is not compiled is the same for all variants.
NOT_COMPILED = ("loop", "foreach", "fused")
COMPILED_IN_SWEEPS = [*NOT_COMPILED, pytest.param("compiled", marks=pytest.mark.sweep)]
LOOP_AND_FOREACH = ("loop", "foreach")
Start = Callable[[str], Torch]
on = pytest.mark.parametrize


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Start a variant, once for all tests."""
    runs: dict[str, Torch] = {}

    def started(variant: str) -> Torch:
        missing = obstacle(variant)
        if missing is not None:
            pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
        if variant not in runs:
            runs[variant] = Torch(variant)
        return runs[variant]

    yield started
    for run in runs.values():
        run.close()


def case(gradients: Any, dtype: Any = FLOAT32, changes: dict[str, Any] | None = None, **config: Any) -> Case:
    """Return a case of these gradients; the variables are zeros if the changes have no others."""
    calls = tuple(call if isinstance(call, tuple) else (_array(call, dtype),) for call in gradients)
    parts: dict[str, Any] = {"id": "one", "config": {**SGD(0.5).get_config(), **config}, "gradients": calls}
    parts |= changes or {}
    if "variables" not in parts:
        parts["variables"] = tuple(np.zeros(gradient.shape, gradient.dtype) for gradient in calls[0])
    parts.setdefault("names", tuple(f"variable_{index}" for index in range(len(parts["variables"]))))
    return Case(**parts)


def single(values: Any) -> Array:
    return np.array(values, np.float32)


def _array(values: Any, dtype: Any) -> Any:
    if values is None or isinstance(values, SparseRows):
        return values
    return np.array(values, np.float64).astype(dtype)


def assert_bits(expected: Any, found: Array) -> None:
    """Assert that two arrays have the same dtype, shape and bits."""
    expected = np.asarray(expected)
    assert (expected.dtype, expected.shape) == (found.dtype, found.shape)
    assert expected.tobytes() == found.tobytes(), f"expected {expected}, got {found}"


def first(trajectory: list[Record]) -> list[Any]:
    """Return the values of the first variable, call by call."""
    return [record["variables"][0].tolist() for record in trajectory]


@on("variant", VARIANTS)
def test_the_handshake_names_what_runs(start: Start, variant: str) -> None:
    handshake = start(variant).handshake
    assert handshake.name == f"torch {variant}"
    assert int(handshake.version.split(".")[0]) >= 2
    assert "numpy" in handshake.versions


UPDATES = [(0.0, False), (0.5, False), (0.5, True)]


@on(
    ("variant", "momentum", "nesterov"),
    [
        *((variant, *update) for variant in NOT_COMPILED for update in UPDATES),
        pytest.param("compiled", 0.5, True, marks=pytest.mark.sweep),
    ],
)
def test_small_integers_are_exact(start: Start, variant: str, momentum: float, nesterov: bool) -> None:
    # None fills a vector register, since the fused step of half types never updates one that is full.
    shapes: list[tuple[int, ...]] = [(1,), (2, 3), (0, 3), (3, 1, 2), (5,), ()]
    zeros = [np.zeros(shape, dtype) for dtype in DTYPES for shape in shapes]
    if variant == "compiled":
        # Each takes seconds to compile, and gradients of a scalar of float64 are lost.
        zeros = zeros[1::3]
    variables = tuple(z + np.arange(z.size).reshape(z.shape).astype(z.dtype) for z in zeros)
    calls = [tuple(z + z.dtype.type(value) for z in zeros) for value in (2, -4, 8)]
    exact = case(calls, changes={"variables": variables}, momentum=momentum, nesterov=nesterov)
    found = start(variant)(exact)
    for wanted, given in zip(reference.run(exact), found, strict=True):
        for want, got in zip(wanted["variables"], given["variables"], strict=True):
            assert_bits(want, got)
        assert (given["calls"], given["iterations"]) == (wanted["calls"], wanted["iterations"])
        assert given["learning_rate"] == 0.5
        assert "velocities" not in given


@on("variant", COMPILED_IN_SWEEPS)
@on("dtype", [FLOAT32, FLOAT64], ids=str)
@on("nesterov", [False, True])
def test_momentum_is_that_of_the_definition_at_a_constant_rate(
    start: Start, variant: str, dtype: np.dtype[Any], nesterov: bool
) -> None:
    numbers = np.random.default_rng(1)
    calls = [(numbers.standard_normal(100).astype(dtype),) for _ in range(6)]
    ordinary = case(calls, learning_rate=0.15625, momentum=0.875, nesterov=nesterov)
    wanted = np.array([record["variables"][0] for record in reference.run(ordinary)])
    found = np.array([record["variables"][0] for record in start(variant)(ordinary)])
    assert (np.abs(wanted - found) <= 6 * np.spacing(np.abs(wanted).max(axis=0))).all()
    assert (wanted != found).any()


@on("variant", NOT_COMPILED)
def test_records_are_copies(start: Start, variant: str) -> None:
    given = case([[-2.0], [-2.0]], momentum=0.5)
    assert first(start(variant)(given)) == first(start(variant)(given)) == [[1.0], [2.5]]


@on("variant", NOT_COMPILED)
def test_weight_decay_enters_the_velocity_and_leaves_out_what_is_excluded(start: Start, variant: str) -> None:
    calls = [(single([0.0]), single([0.0]))] * 2
    changes = {
        "names": ("kernel", "bias"),
        "variables": (single([4.0]), single([4.0])),
        "excluded_from_weight_decay": ("bi",),
    }
    found = start(variant)(case(calls, changes=changes, momentum=0.5, weight_decay=0.5))
    # 4 - 0.5 * 2, then a buffer of 0.5 * 2 + 1.5; the definition has 4 * 0.75 * 0.75.
    assert first(found) == [[3.0], [1.75]]
    assert [record["variables"][1].tolist() for record in found] == [[4.0], [4.0]]


@on("variant", NOT_COMPILED)
def test_clipping_by_value(start: Start, variant: str) -> None:
    found = start(variant)(case([[2.0, -3.0, 0.5, -0.0]], clipvalue=1.0))
    assert_bits(single([-0.5, 0.5, -0.25, 0.0]), found[0]["variables"][0])


@on("variant", NOT_COMPILED)
@on("name", ["clipnorm", "global_clipnorm"])
def test_clipping_by_norms_adds_an_epsilon(start: Start, variant: str, name: str) -> None:
    calls = [(np.array([3.0, 4.0]), np.array([0.0, 12.0]))]
    found = start(variant)(case(calls, FLOAT64, learning_rate=1.0, changes=None, **{name: 2.5}))
    norms = [5.0, 12.0] if name == "clipnorm" else [13.0, 13.0]
    for gradient, norm, variable in zip(calls[0], norms, found[0]["variables"], strict=True):
        np.testing.assert_allclose(variable, -gradient * 2.5 / (norm + 1e-6), rtol=1e-15)
        assert (np.abs(variable[1] + gradient[1] * 2.5 / norm) > 1e-8).all()


@on("variant", NOT_COMPILED)
def test_accumulation(start: Start, variant: str) -> None:
    calls = [(single([2.0]), single([8.0])), (single([4.0]), None), (None, single([4.0])), (None, None)]
    found = start(variant)(
        case(calls, gradient_accumulation_steps=2, changes={"variables": (single([0.0]),) * 2})
    )
    assert first(found) == [[0.0], [-1.5], [-1.5], [-1.5]]
    # What is there at the update is used, though the last call had no gradient.
    assert [record["variables"][1].tolist() for record in found] == [[0.0], [-2.0], [-2.0], [-3.0]]
    assert [record["iterations"] for record in found] == [0, 1, 1, 2]
    assert [record["calls"] for record in found] == [1, 2, 3, 4]
    assert "accumulators" not in found[0]


@on("variant", NOT_COMPILED)
def test_averages_overwrite_and_finalize(start: Start, variant: str) -> None:
    averaged = case(
        [[-2.0]] * 3, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2, changes={"finalize": True}
    )
    found = start(variant)(averaged)
    assert [record["averages"][0].tolist() for record in found] == [[1.0], [1.5], [2.0], [2.0]]
    assert first(found) == [[1.0], [1.5], [2.5], [2.0]]
    accumulated = case([[-2.0]] * 2, use_ema=True, gradient_accumulation_steps=2)
    assert ["averages" in record for record in start(variant)(accumulated)] == [False, True]


@on("variant", NOT_COMPILED)
def test_fixed_loss_scale(start: Start, variant: str) -> None:
    assert first(start(variant)(case([[12.0], [6.0]], loss_scale_factor=3.0))) == [[-2.0], [-3.0]]


SCALED = {"loss_scaling": LossScaling(initial_scale=4.0, dynamic_growth_steps=2)}


@on(
    ("variant", "clipvalue"),
    [
        *((variant, clip) for variant in NOT_COMPILED for clip in (None, 8.0)),
        pytest.param("compiled", None, marks=pytest.mark.sweep),
    ],
)
def test_dynamic_loss_scale(start: Start, variant: str, clipvalue: float | None) -> None:
    calls = [[-4.0], [-4.0], [np.inf], [-4.0]]
    scaled = case(calls, learning_rate=1.0, changes=SCALED, clipvalue=clipvalue)
    found = start(variant)(scaled)
    assert first(found) == [[1.0], [2.0], [2.0], [3.0]]
    assert [record["loss_scale"] for record in found] == [4, 8, 4, 4]
    assert [record["growth_counter"] for record in found] == [1, 0, 0, 1]
    assert [record["calls"] for record in found] == [1, 2, 2, 3]
    assert_bits(np.float32(4), found[-1]["loss_scale"])
    state = State(calls=7, loss_scale=2.0, growth_counter=1)
    resumed = start(variant)(case(calls, learning_rate=1.0, changes={**SCALED, "state": state}))
    assert [record["loss_scale"] for record in resumed] == [4, 4, 2, 2]
    assert [record["calls"] for record in resumed] == [8, 9, 9, 10]


PIECEWISE = {
    "class_name": "PiecewiseConstantDecay",
    "config": {"boundaries": [1, 2], "values": [4.0, 2.0, 1.0]},
}
POLYNOMIAL = {
    "class_name": "PolynomialDecay",
    "config": {"initial_learning_rate": 4.0, "decay_steps": 4, "end_learning_rate": 0.0},
}


@on("variant", COMPILED_IN_SWEEPS)
@on(
    ("schedule", "calls", "rates"),
    [
        (PIECEWISE, None, [4, 4, 2, 1]),
        (POLYNOMIAL, None, [4, 3, 2, 1]),
        (None, (0.1, 1.0, 2.0, 5.0), [0.1, 1, 2, 5]),
    ],
)
def test_learning_rates_of_the_call(
    start: Start, variant: str, schedule: Any, calls: Any, rates: list[float]
) -> None:
    gradients = [(single(np.eye(4)[call]), single([-1.0])) for call in range(4)]
    # The second variable is in a group of its own.
    changes = {"learning_rate_calls": calls, "excluded_from_weight_decay": ("1",)}
    found = start(variant)(case(gradients, changes=changes, learning_rate=schedule))
    # Rates that change are tensors in a compiled step, of float32.
    used = np.array(rates, np.float32 if variant == "compiled" else np.float64)
    assert_bits(used.astype(np.float64), np.array([record["learning_rate"] for record in found]))
    assert_bits(-single(rates), found[-1]["variables"][0])
    assert_bits(single([sum(rates)]), found[-1]["variables"][1])


@on("variant", NOT_COMPILED)
def test_state_is_resumed(start: Start, variant: str) -> None:
    state = State(
        calls=5,
        velocities=(single([1.0, -2.0]),),
        averages=(single([8.0, 16.0]),),
        accumulators=(single([64.0, -64.0]),),
    )
    settings: dict[str, Any] = {"momentum": 0.5, "use_ema": True, "ema_momentum": 0.5}
    settings["gradient_accumulation_steps"] = 2
    resumed = case([[0.0, 64.0]], changes={"state": state, "finalize": True}, **settings)
    for wanted, given in zip(reference.run(resumed), start(variant)(resumed), strict=True):
        assert_bits(wanted["variables"][0], given["variables"][0])
        assert_bits(wanted["averages"][0], given["averages"][0])
        assert (given["calls"], given["iterations"]) == (6, 3)


@on("variant", NOT_COMPILED)
def test_a_schedule_is_resumed(start: Start, variant: str) -> None:
    changes = {"state": State(calls=2)}
    found = start(variant)(case([[-1.0], [-1.0]], changes=changes, learning_rate=PIECEWISE))
    assert first(found) == [[2.0], [3.0]]


@on("variant", NOT_COMPILED)
def test_missing_gradients(start: Start, variant: str) -> None:
    one = single([-2.0])
    found = start(variant)(case([(one, one), (None, one), (one, None), (one, one)], momentum=0.5))
    assert first(found) == [[1.0], [1.0], [2.5], [4.25]]
    assert [record["variables"][1].tolist() for record in found] == [[1.0], [2.5], [2.5], [4.25]]


def test_a_fused_buffer_cannot_start_late(start: Start) -> None:
    one = single([-2.0])
    with pytest.raises(ImplementationError, match="expected Tensor as element 1 in argument 2") as caught:
        start("fused")(case([(one, None), (one, one)], changes={"variables": (one, one)}, momentum=0.5))
    assert (caught.value.kind, caught.value.call) == ("TypeError", 1)


@on("dtype", DTYPES[:2], ids=str)
def test_fused_vectors_of_half_types_are_skipped(start: Start, dtype: np.dtype[Any]) -> None:
    updated = first(start("fused")(case([np.full(47, -2.0)], dtype)))[0]
    skipped = updated.count(0.0)
    # Registers hold 8 to 32 elements.
    assert skipped in (32, 40)
    assert updated == [0.0] * skipped + [1.0] * (47 - skipped)


@pytest.mark.sweep
def test_a_compiled_step_loses_gradients_of_a_scalar_of_float64(start: Start) -> None:
    calls = [(np.array(value), np.array([value])) for value in (-2.0, -4.0, -8.0)]
    found = start("compiled")(case(calls, FLOAT64, momentum=0.5))
    assert [record["variables"][1].tolist() for record in found] == [[1.0], [3.5], [8.75]]
    assert first(found) == [1.0, 1.5, 1.75]


def test_narrow_gradients_are_widened(start: Start) -> None:
    narrow = np.array([2.0], np.float16)
    found = start("loop")(case([(narrow,)], changes={"variables": (single([1.0]),)}))
    assert_bits(single([0.0]), found[0]["variables"][0])


@on("variant", LOOP_AND_FOREACH)
@on("dtype", DTYPES[1:], ids=str)
def test_sparse_gradients(start: Start, variant: str, dtype: np.dtype[Any]) -> None:
    calls = []
    for indices in ([2, 0, 2], [1, 1], [3, 0, 3, 3]):
        values = np.arange(len(indices) * 3).reshape(-1, 3).astype(dtype)
        calls.append((SparseRows(indices, values, (4, 3)),))
    zeros = np.zeros((4, 3), dtype)
    sparse = case(calls, changes={"variables": (zeros,)}, momentum=0.5)
    for wanted, given in zip(reference.run(sparse), start(variant)(sparse), strict=True):
        assert_bits(wanted["variables"][0], given["variables"][0])


ROWS = SparseRows([0], single([[1]]), (2, 1))
EMBEDDING = {"variables": (np.zeros((2, 1), np.float32),)}
HALF = {"variables": (np.zeros(1, np.float16),), **SCALED}


AFTER_A_STEP = {"state": State(1, (single([1.0]),))}


@on(
    ("unsupported", "message"),
    [
        (case([(ROWS,)], changes=EMBEDDING, clipvalue=1.0), "'aten::clamp_' .* 'SparseCPU' backend$"),
        (case([(ROWS,)], changes=EMBEDDING, clipnorm=1.0), "vector_norm' .* 'SparseCPU' backend$"),
        (case([(ROWS,)], changes=EMBEDDING, weight_decay=1.0), r"add\(sparse, dense\) is not supported$"),
        (case([[1.0]], np.float16, HALF), "ValueError: Attempting to unscale FP16 gradients$"),
        (case([[1.0]], changes=SCALED, gradient_accumulation_steps=2), "GradScaler keeps one scale"),
        (case([[1.0]], nesterov=True), "Nesterov momentum requires a momentum"),
        (case([[1.0]], changes={"kind": "schedule"}), "cases of kind schedule"),
        (case([[1.0]], learning_rate={"class_name": "Mine", "config": {}}), "the schedule Mine$"),
        (case([[1.0]], changes=AFTER_A_STEP, learning_rate=0.3, momentum=0.5), "no exact counterpart"),
        (
            case([[1.0]], changes=AFTER_A_STEP, learning_rate=PIECEWISE, momentum=0.5),
            "at a constant learning",
        ),
    ],
)
def test_what_is_unsupported(start: Start, unsupported: Case, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        start("loop")(unsupported)
    assert first(start("loop")(case([[2.0]]))) == [[-1.0]]


def test_sparse_gradients_are_unsupported_when_fused(start: Start) -> None:
    with pytest.raises(Unsupported, match=r"`_fused_sgd` does not support sparse gradients$"):
        start("fused")(case([(ROWS,)], changes=EMBEDDING))


@on("variant", NOT_COMPILED)
def test_errors_name_the_call(start: Start, variant: str) -> None:
    with pytest.raises(ImplementationError, match=r"Invalid momentum value: -1\.0") as caught:
        start(variant)(case([[1.0]], momentum=-1.0))
    assert (caught.value.kind, caught.value.call) == ("ValueError", None)
    with pytest.raises(
        ImplementationError, match="RuntimeError: attempting to assign a gradient of size"
    ) as caught:
        start(variant)(case([[1.0], [1.0, 2.0, 3.0]], changes={"variables": (single([0.0]),)}))
    assert caught.value.call == 1
    assert first(start(variant)(case([[2.0]]))) == [[-1.0]]


def test_a_process_that_died_is_started_again(start: Start) -> None:
    run = start("loop")
    assert first(run(case([[2.0]]))) == [[-1.0]]
    program = run._worker._program
    assert program is not None
    program._popen.kill()
    program._popen.wait()
    assert first(run(case([[2.0]]))) == [[-1.0]]


@on("variant", NOT_COMPILED)
@on("dtype", DTYPES, ids=str)
def test_special_values_pass(start: Start, variant: str, dtype: np.dtype[Any]) -> None:
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0], dtype)
    subnormal = np.array([1, 2], f"u{dtype.itemsize}").view(dtype)
    untouched = np.concatenate([special, subnormal])
    # The second variable has no gradient: bits must come through unchanged.
    found = start(variant)(
        case([(np.zeros(6, dtype), None)], changes={"variables": (special, untouched)}, learning_rate=1.0)
    )
    assert str(found[0]["variables"][0]) == str(special)
    assert_bits(untouched, found[0]["variables"][1])
