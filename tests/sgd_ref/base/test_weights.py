"""The state as a list of arrays, as Keras orders it."""

from __future__ import annotations

import math
import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sgd_ref import SGD, LossScaleOptimizer
from sgd_ref.schedules import ExponentialDecay

SETTINGS: dict[str, Any] = {"momentum": 0.5, "use_ema": True, "gradient_accumulation_steps": 2}


def built(optimizer: Any) -> tuple[Any, list[Any]]:
    variables = [np.ones((2, 3), np.float32), np.ones((), np.float16), np.ones(4, ml_dtypes.bfloat16)]
    optimizer.build(variables, ["dense/kernel", "scale", "bias"])
    return optimizer, variables


def call(optimizer: Any) -> None:
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    optimizer.apply([kernel, np.float16(2.5), np.full(4, -1.5, ml_dtypes.bfloat16)])


def trained(optimizer: Any, calls: int = 5) -> tuple[Any, list[Any]]:
    optimizer, variables = built(optimizer)
    for _ in range(calls):
        call(optimizer)
    return optimizer, variables


def as_bytes(arrays: list[Any]) -> list[tuple[str, tuple[int, ...], bytes]]:
    return [(array.dtype.name, array.shape, array.tobytes()) for array in arrays]


VARIABLES = ["dense_kernel", "scale", "bias"]


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({}, []),
        ({"momentum": 0.5}, ["momentum"]),
        ({"use_ema": True}, ["average"]),
        ({"gradient_accumulation_steps": 2}, ["gradient_accumulator"]),
        ({**SETTINGS, "name": "sgd"}, ["average", "gradient_accumulator", "momentum"]),
    ],
)
def test_names_and_order(settings: dict[str, Any], kinds: list[str]) -> None:
    name = settings.get("name", "SGD")
    slots = [f"{name}/{variable}_{kind}" for kind in kinds for variable in VARIABLES]
    optimizer, _ = built(SGD(**settings))
    assert optimizer.variable_names == [f"{name}/iteration", f"{name}/learning_rate", *slots]
    optimizer, _ = built(LossScaleOptimizer(SGD(**settings), name="scaling"))
    own = ["iteration", "learning_rate", "step_counter", "dynamic_scale"]
    assert optimizer.variable_names == [
        *(f"scaling/{variable}" for variable in own),
        f"{name}/iteration",
        f"{name}/learning_rate",
        *slots,
    ]
    assert len(optimizer.variables) == len(optimizer.variable_names)


@pytest.mark.parametrize("rate", [ExponentialDecay(0.1, 10, 0.5), lambda: 0.1])
def test_a_rate_that_is_no_number_is_not_among_the_weights(rate: Any) -> None:
    optimizer, _ = built(SGD(rate))
    assert optimizer.variable_names == ["SGD/iteration"]
    assert as_bytes(optimizer.variables) == [("int64", (), bytes(8))]


def test_the_arrays_behind_the_names() -> None:
    optimizer, _ = trained(SGD(0.1, **SETTINGS))
    variables = optimizer.variables
    assert as_bytes(variables[:2]) == as_bytes([np.array(5, np.int64), np.array(0.1, np.float32)])
    slots = [*optimizer.averages, *optimizer.accumulators, *optimizer.velocities]
    assert len(slots) == 9
    assert all(array is slot for array, slot in zip(variables[2:], slots, strict=True))
    copies = optimizer.get_weights()
    assert as_bytes(copies) == as_bytes(variables)
    assert not any(np.shares_memory(array, copied) for array, copied in zip(variables, copies, strict=True))


def test_the_arrays_of_loss_scaling() -> None:
    optimizer, _ = trained(LossScaleOptimizer(SGD(0.1), initial_scale=8.0, dynamic_growth_steps=3))
    expected = [np.int64(0), np.float32(0), np.int64(2), np.float32(16), np.int64(5), np.float32(0.1)]
    assert as_bytes(optimizer.variables) == as_bytes(expected)


@pytest.mark.parametrize(
    "wrap", [lambda optimizer: optimizer, lambda inner: LossScaleOptimizer(inner, 8.0, 3)]
)
def test_training_goes_on_in_another_optimizer(wrap: Any) -> None:
    optimizer, variables = trained(wrap(SGD(0.25, **SETTINGS)))
    other, others = built(wrap(SGD(0.5, **SETTINGS)))
    other.set_weights(optimizer.get_weights())
    for variable, source in zip(others, variables, strict=True):
        variable[...] = source
    for _ in range(4):
        assert as_bytes(other.variables) == as_bytes(optimizer.variables)
        assert as_bytes(others) == as_bytes(variables)
        assert (other.iterations, other.learning_rate) == (optimizer.iterations, 0.25)
        call(optimizer)
        call(other)


def test_setting_weights_copies_them() -> None:
    optimizer, _ = trained(SGD(0.1, **SETTINGS))
    values = optimizer.get_weights()
    slots = optimizer.velocities
    optimizer.set_weights(values)
    assert all(slot is velocity for slot, velocity in zip(slots, optimizer.velocities, strict=True))
    values[2][...] = 7
    assert (optimizer.averages[0] != 7).all()
    optimizer.set_weights(optimizer.variables)
    optimizer.set_weights(tuple(optimizer.variables))


def test_special_values_survive() -> None:
    optimizer, _ = built(SGD(-0.0, momentum=0.5))
    values = optimizer.get_weights()
    values[2][...] = [[-0.0, math.nan, math.inf], [-math.inf, 2.0**-149, -(2.0**-149)]]
    optimizer.set_weights(values)
    assert as_bytes(optimizer.variables) == as_bytes(values)


def test_values_of_other_types_are_accepted_where_nothing_is_lost() -> None:
    optimizer, _ = built(SGD(0.1, momentum=0.5))
    kernel = np.full((2, 3), 1.5, np.float16)
    scale, bias = np.array(2.5, np.float16), np.full(4, 3.5, ml_dtypes.bfloat16)
    for calls, rate in ((7, 0.5), (np.uint8(7), np.float64(0.5)), (np.array(7, np.int32), np.array(0.5))):
        optimizer.set_weights([calls, rate, np.asfortranarray(kernel), scale, bias])
        assert (optimizer.calls, optimizer.learning_rate) == (7, 0.5)
        assert as_bytes(optimizer.velocities) == as_bytes([kernel.astype(np.float32), scale, bias])
    optimizer.set_weights([2**63 - 1, 0.5, kernel, scale, bias])
    assert optimizer.variables[0] == 2**63 - 1


COUNT, RATE = "values[0], the number of calls,", "values[1], the learning rate,"
INTEGER, REAL = "an integer of at least 0", "a real number that is finite in float32"
SCALE = "a real number that is positive, finite and normal in float32"
HOLDS = "values[2] must have a dtype that float32 holds exactly"


@pytest.mark.parametrize(
    ("index", "value", "error", "message"),
    [
        (0, -1, ValueError, f"{COUNT} must be {INTEGER}, got -1"),
        (0, 2**63, ValueError, f"{COUNT} must be at most {2**63 - 1}, the largest int64, got {2**63}"),
        (0, 3.0, TypeError, f"{COUNT} must be {INTEGER}, got 3.0 of type float"),
        (0, True, TypeError, f"{COUNT} must be {INTEGER}, got True of type bool"),
        (0, np.array([3]), TypeError, f"{COUNT} must be {INTEGER}, got array([3]) of type ndarray"),
        (1, math.nan, ValueError, f"{RATE} must be {REAL}, got nan"),
        (1, 1e39, ValueError, f"{RATE} must be {REAL}, got 1e+39"),
        (1, np.array([0.1]), TypeError, f"{RATE} must be {REAL}, got array([0.1]) of type ndarray"),
        (1, None, TypeError, f"{RATE} must be {REAL}, got None of type NoneType"),
        (2, np.ones((3, 2), np.float32), ValueError, "values[2] must have the shape (2, 3), got (3, 2)"),
        (2, np.float32(1), ValueError, "values[2] must have the shape (2, 3), got ()"),
        (2, [[1.0], [1, 2]], TypeError, "values[2] must be an ndarray, got [[1.0], [1, 2]] of type list"),
        (3, 1.0, TypeError, "values[3] must be an ndarray, got 1.0 of type float"),
        (2, np.ones((2, 3)), TypeError, f"{HOLDS}, got float64"),
        (2, np.ones((2, 3), np.int32), TypeError, f"{HOLDS}, got int32"),
        (2, np.ones((2, 3), ">f4"), TypeError, f"{HOLDS}, got >f4"),
        (2, np.ones((2, 3), object), TypeError, f"{HOLDS}, got object"),
        (3, np.array(1, ml_dtypes.bfloat16), TypeError,
         "values[3] must have a dtype that float16 holds exactly, got bfloat16"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_are_rejected_and_change_nothing(
    index: int, value: Any, error: type[Exception], message: str
) -> None:
    optimizer, _ = trained(SGD(0.1, **SETTINGS))
    before = as_bytes(optimizer.variables)
    values = [array * 0 for array in optimizer.get_weights()]
    with pytest.raises(error) as caught:
        optimizer.set_weights([*values[:index], value, *values[index + 1 :]])
    assert str(caught.value) == message
    assert as_bytes(optimizer.variables) == before


@pytest.mark.parametrize(
    ("index", "value", "error", "message"),
    [
        (0, -1, ValueError, f"values[0], the unused number of calls, must be {INTEGER}, got -1"),
        (1, "x", TypeError, f"values[1], the unused learning rate, must be {REAL}, got 'x' of type str"),
        (2, -1, ValueError, f"values[2], the growth counter, must be {INTEGER}, got -1"),
        (2, 1.0, TypeError, f"values[2], the growth counter, must be {INTEGER}, got 1.0 of type float"),
        (3, 0.0, ValueError, f"values[3], the loss scale, must be {SCALE}, got 0.0"),
        (3, -2.0, ValueError, f"values[3], the loss scale, must be {SCALE}, got -2.0"),
        (3, math.nan, ValueError, f"values[3], the loss scale, must be {SCALE}, got nan"),
        (3, np.array(math.inf), ValueError, f"values[3], the loss scale, must be {SCALE}, got inf"),
        (3, 2.0**-127, ValueError, f"values[3], the loss scale, must be {SCALE}, got {2.0**-127}"),
        (3, 2.0**128, ValueError, f"values[3], the loss scale, must be {SCALE}, got {2.0**128}"),
        (3, [2.0], TypeError, f"values[3], the loss scale, must be {SCALE}, got [2.0] of type list"),
        (4, -1, ValueError, f"values[0], the number of calls, must be {INTEGER}, got -1"),
    ],
)
def test_values_that_do_not_fit_loss_scaling_are_rejected_and_change_nothing(
    index: int, value: Any, error: type[Exception], message: str
) -> None:
    optimizer, _ = trained(LossScaleOptimizer(SGD(0.1, **SETTINGS), 8.0, 3))
    before = as_bytes(optimizer.variables)
    values = [*optimizer.get_weights()[:2], np.array(1), np.array(2.0), *optimizer.get_weights()[4:]]
    with pytest.raises(error) as caught:
        optimizer.set_weights([*values[:index], value, *values[index + 1 :]])
    assert str(caught.value) == message
    assert as_bytes(optimizer.variables) == before


@pytest.mark.parametrize(("wrap", "count"), [(lambda optimizer: optimizer, 11), (LossScaleOptimizer, 15)])
def test_the_number_of_values_must_be_right(wrap: Any, count: int) -> None:
    optimizer, _ = trained(wrap(SGD(0.1, **SETTINGS)))
    before = as_bytes(optimizer.variables)
    values = [array * 0 for array in optimizer.get_weights()]
    for wrong in ([], values[:-1], [*values, values[-1]]):
        with pytest.raises(ValueError, match=f"^values must hold {count} arrays, got {len(wrong)}$"):
            optimizer.set_weights(wrong)
    for wrong in (None, iter(values), dict(enumerate(values)), np.zeros(count)):
        with pytest.raises(
            TypeError, match=rf"^values must be a list of arrays, got {re.escape(repr(wrong)[:40])}"
        ):
            optimizer.set_weights(wrong)  # type: ignore[arg-type]
    assert as_bytes(optimizer.variables) == before


def test_state_that_was_made_read_only_is_noticed_before_any_of_it_is_set() -> None:
    optimizer, _ = trained(SGD(0.1, **SETTINGS))
    before = as_bytes(optimizer.variables)
    optimizer.velocities[2].flags.writeable = False
    with pytest.raises(
        ValueError, match=r"^the velocity of bias must be writable, .*, got a read-only array$"
    ):
        optimizer.set_weights([array * 0 for array in optimizer.get_weights()])
    assert as_bytes(optimizer.variables) == before


@pytest.mark.parametrize("optimizer", [SGD(), LossScaleOptimizer(SGD())])
def test_there_are_no_weights_before_there_are_variables(optimizer: Any) -> None:
    for use in (
        lambda: optimizer.variables,
        lambda: optimizer.variable_names,
        optimizer.get_weights,
        lambda: optimizer.set_weights([0, 0.1]),
        lambda: optimizer.finalize_variable_values([np.ones(1)]),
        lambda: optimizer.apply([np.ones(1)]),
    ):
        with pytest.raises(
            RuntimeError, match=r"^the optimizer has no variables yet; they must first be given"
        ):
            use()
