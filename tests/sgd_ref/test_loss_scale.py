"""Dynamic loss scaling, transition by transition."""

from __future__ import annotations

import math
import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse

from sgd_ref import SGD, LossScaleOptimizer, SparseRows
from sgd_ref.schedules import LearningRateSchedule

DTYPES: list[Any] = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)

SMALLEST = 2.0**-126
LARGEST = float(np.finfo(np.float32).max)


def trace(
    gradients: list[float], initial_scale: float, dynamic_growth_steps: int, **settings: Any
) -> list[list[float]]:
    """Run a float32 variable of 0 at a rate of 1; its values, scales, growth counters and calls."""
    w = np.zeros(1, np.float32)
    optimizer = LossScaleOptimizer(SGD(1.0, **settings), initial_scale, dynamic_growth_steps)
    columns: list[list[float]] = [[], [], [], []]
    for gradient in gradients:
        optimizer.apply([np.array([gradient], np.float32)], [w])
        state = (w[0], optimizer.loss_scale, optimizer.growth_counter, optimizer.calls)
        for column, value in zip(columns, state, strict=True):
            column.append(float(value))
        assert type(optimizer.loss_scale) is np.float32
    return columns


def test_growth_after_so_many_finite_calls() -> None:
    """The gradient shrinks with the scale that divides it; measured with Keras too."""
    assert trace([-4.0] * 6, 4.0, 2) == [
        [1, 2, 2.5, 3, 3.25, 3.5],
        [4, 8, 8, 16, 16, 32],
        [1, 0, 1, 0, 1, 0],
        [1, 2, 3, 4, 5, 6],
    ]


def test_a_skipped_call_halves_the_scale_and_starts_the_count_anew() -> None:
    """Measured with Keras too."""
    assert trace([-4.0, -4.0, math.inf, -4.0, math.nan, -4.0, -4.0, -4.0], 4.0, 3) == [
        [1, 2, 2, 4, 4, 8, 12, 16],
        [4, 4, 2, 2, 1, 1, 1, 2],
        [1, 2, 0, 1, 0, 1, 2, 0],
        [1, 2, 2, 3, 3, 4, 5, 6],
    ]


def test_growth_in_every_call() -> None:
    assert trace([-4.0] * 3, 4.0, 1) == [[1, 1.5, 1.75], [8, 16, 32], [0, 0, 0], [1, 2, 3]]


def test_the_scale_never_becomes_infinite() -> None:
    _, scales, counters, calls = trace([0.0] * 5, 2.0**126, 2)
    assert scales == [2.0**126, 2.0**127, 2.0**127, 2.0**127, 2.0**127]
    assert counters == [1, 0, 1, 0, 1], "the count starts anew also where the scale stays"
    assert calls == [1, 2, 3, 4, 5]
    assert trace([0.0], LARGEST, 1)[1] == [LARGEST]
    assert trace([0.0], LARGEST / 2, 1)[1] == [LARGEST]


def test_the_scale_never_becomes_subnormal() -> None:
    _, scales, counters, calls = trace([0.0, math.inf, -math.inf, 0.0, math.nan], 2 * SMALLEST, 9)
    assert scales == [2 * SMALLEST, SMALLEST, SMALLEST, SMALLEST, SMALLEST]
    assert counters == [1, 0, 0, 1, 0]
    assert calls == [1, 1, 1, 2, 2]
    unit = 2.0**-149
    assert trace([math.inf], 2 * SMALLEST - unit, 9)[1] == [SMALLEST], "to which the half is rounded"
    assert trace([math.inf], 2 * SMALLEST - 2 * unit, 9)[1] == [2 * SMALLEST - 2 * unit]


def test_no_floating_point_exception_comes_out() -> None:
    with np.errstate(all="raise"):
        trace([math.inf, 0.0, math.nan], SMALLEST + 2.0**-149, 1)
        trace([1e38, math.inf, 1e-38], LARGEST, 1)


@pytest.mark.parametrize("poison", [math.inf, -math.inf, math.nan])
@every_dtype
def test_one_element_skips_the_call_of_all_variables(dtype: Any, poison: float) -> None:
    variables = [np.ones(3, dtype), np.ones((), dtype), np.ones((0, 2), dtype)]
    optimizer = LossScaleOptimizer(SGD(1.0), 4.0)
    healthy = [np.ones(3, dtype), np.ones((), dtype), np.ones((0, 2), dtype)]
    for index, gradient in ((0, np.array([0, 0, poison], dtype)), (1, np.array(poison, dtype))):
        optimizer.apply([*healthy[:index], gradient, *healthy[index + 1 :]], variables)
        assert all((variable == 1).all() for variable in variables)
        assert (optimizer.calls, optimizer.loss_scale) == (0, 2.0 ** (1 - index))
        assert optimizer.built
    optimizer.apply([np.full(array.shape, ml_dtypes.finfo(dtype).max, dtype) for array in healthy], variables)
    assert optimizer.calls == 1


class Recorder(LearningRateSchedule):
    """A schedule that remembers at which steps it was read."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def __call__(self, step: int) -> np.float32:
        self.steps.append(step)
        return np.float32(1 / (step + 1))


@pytest.mark.parametrize("steps", [None, 3])
def test_a_skipped_call_touches_nothing(steps: int | None) -> None:
    """The scale is the smallest one, so that it is the same with and without skipped calls."""

    def run(gradients: list[float]) -> tuple[list[Any], list[int]]:
        schedule = Recorder()
        inner = SGD(
            schedule,
            momentum=0.9,
            weight_decay=0.1,
            use_ema=True,
            ema_overwrite_frequency=2,
            gradient_accumulation_steps=steps,
        )
        optimizer = LossScaleOptimizer(inner, SMALLEST, 100)
        w = np.ones(2, np.float32)
        for gradient in gradients:
            optimizer.apply([np.array([SMALLEST, SMALLEST * gradient], np.float32)], [w])
        arrays = [w, *inner.velocities, *inner.averages, *inner.accumulators]
        return [inner.calls, inner.iterations, *(array.tobytes() for array in arrays)], schedule.steps

    finite = [3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, 6.0]
    expected, read = run(finite)
    assert read == [0, 1, 2, 3, 4, 5, 6, 7]
    for count in range(1, len(finite) + 1):
        interrupted = [value for number in finite[:count] for value in (math.inf, number, math.nan)]
        state, read = run(interrupted)
        assert state == run(finite[:count])[0]
        assert read == [step + skipped for step in range(count) for skipped in (0, 0, 1)]
    assert state == expected


def test_a_callable_rate_is_called_once_in_a_skipped_call_too() -> None:
    values = iter([1.0, 2.0, 4.0])
    w = np.zeros(1)
    optimizer = LossScaleOptimizer(SGD(lambda: next(values)), 1.0)
    for gradient in (1.0, math.inf, 1.0):
        optimizer.apply([np.array([gradient])], [w])
    assert next(values, None) is None
    assert w[0] == -(1 + 4 / 0.5)


def test_a_skipped_call_is_no_call_of_a_window() -> None:
    w, _, _, calls = trace([-3.0, math.inf, -6.0, -1.0, -1.0], 1.0, 100, gradient_accumulation_steps=2)
    assert calls == [1, 1, 2, 3, 4]
    assert w == [0, 0, (3 + 6 / 0.5) / 2, 7.5, 9.5]


def test_growth_is_of_calls_not_of_updates() -> None:
    assert trace([0.0] * 5, 1.0, 2, gradient_accumulation_steps=3)[1] == [1, 2, 2, 4, 4]


@every_dtype
def test_gradients_are_divided_in_float32_at_least(dtype: Any, sweep: Any) -> None:
    g = np.append(sweep.generator.standard_normal(500), [0.0, -0.0]).astype(dtype)
    wide = np.float64 if dtype == np.float64 else np.float32
    for scale in (3.0, 2.0**20, 1e-6, 0.1):
        w = np.full_like(g, -0.0)
        LossScaleOptimizer(SGD(1.0), scale).apply([g], [w])
        with np.errstate(over="ignore"):
            expected = (g.astype(wide) / wide(np.float32(scale))).astype(dtype)
        assert (-w).tobytes() == expected.tobytes()


def test_finiteness_is_tested_before_the_division() -> None:
    w, scales, _, calls = trace([1e38, 1e38], 2.0**-10, 100)
    assert w == [-math.inf, -math.inf], "finite as it came, so it is applied"
    assert (scales, calls) == ([2.0**-10] * 2, [1, 2])
    assert trace([math.inf], 2.0**100, 100)[3] == [0]


@pytest.mark.parametrize(
    "gradient",
    [
        SparseRows([1, 1], np.array([[0.0, 1.0], [math.inf, 0.0]], np.float32), (3, 2)),
        SparseRows([0], np.array([[math.nan, 0.0]], np.float32), (3, 2)),
        SparseRows([2, 2], np.array([[3e38, 0.0], [3e38, 0.0]], np.float32), (3, 2)),
        scipy.sparse.coo_array((np.array([math.inf], np.float32), ([2], [1])), (3, 2)),
    ],
)
def test_sparse_gradients_are_tested_as_their_dense_equivalent(gradient: Any) -> None:
    w = np.ones((3, 2), np.float32)
    optimizer = LossScaleOptimizer(SGD(1.0), 4.0)
    optimizer.apply([gradient], [w])
    assert (w == 1).all()
    assert (optimizer.calls, optimizer.loss_scale) == (0, 2.0)


def test_opposite_infinities_of_one_row_are_not_finite_and_rows_may_cancel() -> None:
    w = np.zeros(2, np.float32)
    optimizer = LossScaleOptimizer(SGD(1.0), 4.0)
    optimizer.apply([SparseRows([0, 0], np.array([math.inf, -math.inf], np.float32), (2,))], [w])
    assert optimizer.calls == 0
    optimizer.apply([SparseRows([0, 0], np.array([3e38, -3e38], np.float32), (2,))], [w])
    assert optimizer.calls == 1


@pytest.mark.filterwarnings("ignore:no gradient was given")
def test_missing_gradients_are_finite() -> None:
    a, b = np.zeros(1), np.zeros(1)
    optimizer = LossScaleOptimizer(SGD(1.0), 2.0)
    optimizer.apply([None, np.array([4.0])], [a, b])
    assert [a[0], b[0], optimizer.calls] == [0, -2, 1]
    optimizer.apply([None, np.array([math.inf])], [a, b])
    assert [a[0], b[0], optimizer.calls] == [0, -2, 1]


def test_a_missing_gradient_is_warned_of_where_apply_was_called() -> None:
    optimizer = LossScaleOptimizer(SGD(1.0))
    with pytest.warns(
        UserWarning, match=r"^no gradient was given for the variables \['variable_0'\]$"
    ) as caught:
        optimizer.apply([None, np.ones(1)], [np.zeros(1), np.zeros(1)])
    assert caught[0].filename == __file__


@every_dtype
def test_a_loss_is_multiplied_by_the_present_scale_in_float32_at_least(dtype: Any) -> None:
    optimizer = LossScaleOptimizer(SGD(), 2.0**17 * 1.1, 1)
    wide = np.float64 if dtype == np.float64 else np.float32
    for factor in (1, 2):
        for loss in (dtype(0.7), np.full((2,), 0.7, dtype), np.array(0.7, dtype)):
            scaled = optimizer.scale_loss(loss)
            expected = np.asarray(loss).astype(wide) * wide(np.float32(2.0**17 * 1.1)) * wide(factor)
            assert (scaled.dtype, scaled.tobytes()) == (np.dtype(wide), expected.tobytes())
        assert optimizer.scale_loss(3.0) == 3 * factor * float(np.float32(2.0**17 * 1.1))
        optimizer.apply([np.zeros(1)], [np.zeros(1)] if factor == 1 else None)


def test_what_it_shows_is_of_the_inner_optimizer() -> None:
    inner = SGD(0.1, momentum=0.5, use_ema=True, gradient_accumulation_steps=2)
    optimizer = LossScaleOptimizer(inner)
    assert not optimizer.built
    optimizer.build([np.ones(1)], ["kernel"])
    optimizer.apply([np.ones(1)])
    optimizer.apply([np.ones(1)])
    assert optimizer.inner_optimizer is inner
    assert optimizer.built
    assert (optimizer.calls, optimizer.iterations) == (inner.calls, inner.iterations) == (2, 1)
    for kind in ("velocities", "averages", "accumulators"):
        assert getattr(optimizer, kind)[0] is getattr(inner, kind)[0]
    optimizer.learning_rate = 0.25
    assert inner.learning_rate == optimizer.learning_rate == 0.25
    assert (optimizer.name, optimizer.initial_scale, optimizer.dynamic_growth_steps) == (
        "LossScaleOptimizer",
        2.0**15,
        2000,
    )


SCALE = "initial_scale must be a real number that is positive, finite and normal in float32"
STEPS = "dynamic_growth_steps must be an integer of at least 1"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None,), TypeError, "inner_optimizer must be an SGD optimizer, got None of type NoneType"),
        ((SGD,), TypeError, "inner_optimizer must be an SGD optimizer, got <class ...> of type ABCMeta"),
        ((LossScaleOptimizer(SGD()),), TypeError, "inner_optimizer must be an SGD optimizer, got ..."),
        ((SGD(loss_scale_factor=2.0),), ValueError,
         "inner_optimizer must have no loss_scale_factor, since gradients would be unscaled twice, got 2.0"),
        ((SGD(), None), TypeError, f"{SCALE}, got None of type NoneType"),
        ((SGD(), True), TypeError, f"{SCALE}, got True of type bool"),
        ((SGD(), "1"), TypeError, f"{SCALE}, got '1' of type str"),
        ((SGD(), 0.0), ValueError, f"{SCALE}, got 0.0"),
        ((SGD(), -1.0), ValueError, f"{SCALE}, got -1.0"),
        ((SGD(), math.nan), ValueError, f"{SCALE}, got nan"),
        ((SGD(), math.inf), ValueError, f"{SCALE}, got inf"),
        ((SGD(), 2.0**128), ValueError, f"{SCALE}, got {2.0**128}"),
        ((SGD(), 2.0**-127), ValueError, f"{SCALE}, got {2.0**-127}"),
        ((SGD(), 1.0, 0), ValueError, f"{STEPS}, got 0"),
        ((SGD(), 1.0, 2.0), TypeError, f"{STEPS}, got 2.0 of type float"),
        ((SGD(), 1.0, True), TypeError, f"{STEPS}, got True of type bool"),
        ((SGD(), 1.0, None), TypeError, f"{STEPS}, got None of type NoneType"),
        ((SGD(), 1.0, 1, None), TypeError, "name must be a string, got None of type NoneType"),
        ((SGD(), 1.0, 1, ""), ValueError, "name must be a string that is not empty, got ''"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_optimizer_are_rejected(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        LossScaleOptimizer(*arguments)
    pattern = ".*".join(re.escape(part) for part in message.split("..."))
    assert re.fullmatch(pattern, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("scale", [SMALLEST, LARGEST, 3, np.float16(0.5), 0.1])
def test_the_scale_is_a_float32(scale: Any) -> None:
    optimizer = LossScaleOptimizer(SGD(), scale)
    assert type(optimizer.loss_scale) is np.float32
    assert optimizer.loss_scale == np.float32(scale)
    assert type(optimizer.initial_scale) is float


@pytest.mark.parametrize("name", ["inner_optimizer", "initial_scale", "dynamic_growth_steps", "name"])
def test_settings_are_fixed(name: str) -> None:
    optimizer = LossScaleOptimizer(SGD())
    message = f"^{name} is fixed when the optimizer is constructed, got 3; only learning_rate can be set$"
    with pytest.raises(AttributeError, match=message):
        setattr(optimizer, name, 3)


@pytest.mark.parametrize("name", ["loss_scale", "growth_counter", "calls", "velocities"])
def test_what_is_counted_or_kept_cannot_be_set(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        setattr(LossScaleOptimizer(SGD()), name, 3)
