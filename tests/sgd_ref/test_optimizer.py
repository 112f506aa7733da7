"""Each stage of a step, and their order, against the formulas written out with NumPy."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.norm import euclidean_norm

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES: list[Any] = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)

RATE = 0.1


@pytest.fixture(autouse=True)
def _special_numbers_are_no_accidents() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def bits(array: Any) -> tuple[str, tuple[int, ...], str]:
    """The dtype, the shape and the bytes; NaN is NaN whatever its payload."""
    array = np.array(array)
    array[np.isnan(array)] = math.nan
    return array.dtype.name, array.shape, array.tobytes().hex()


def special_numbers(dtype: Any) -> Array:
    information = ml_dtypes.finfo(dtype)
    tiny, normal, huge = information.smallest_subnormal, information.smallest_normal, information.max
    magnitudes = [0.0, float(tiny), float(normal), 0.7, 3.0, float(huge), math.inf]
    return np.array([*magnitudes, *(-magnitude for magnitude in magnitudes), math.nan], dtype)


def operands(dtype: Any, count: int, generator: np.random.Generator) -> list[Array]:
    """`count` arrays that combine all special numbers, then random ones."""
    combinations = np.array(list(itertools.product(special_numbers(dtype), repeat=count)), dtype).T
    numbers = generator.standard_normal((count, 500)) * 2.0 ** generator.integers(-6, 7, (count, 500))
    return [np.array(row) for row in np.concatenate([combinations, numbers.astype(dtype)], axis=1)]


def after_call(optimizer: SGD, w: Array, g: Array, calls: int = 0, **state: Array) -> Array:
    """The variable after one call; `state` has the velocity or the average before it."""
    variable = np.array(w)
    optimizer.build([variable])
    optimizer.set_weights([np.array(calls), *optimizer.get_weights()[1:]])
    for name, array in state.items():
        getattr(optimizer, name)[0][...] = array
    optimizer.apply([g])
    return variable


def used(g: Array, **settings: Any) -> Array:
    """The gradient as it enters the update, recovered to the last bit: ``-(-0.0 - 1.0 * g)`` is g."""
    return -after_call(SGD(1.0, **settings), np.full_like(g, -0.0), g)


@every_dtype
@pytest.mark.parametrize("nesterov", [False, True])
def test_update_without_momentum(dtype: Any, nesterov: bool, sweep: Any) -> None:
    w, g = operands(dtype, 2, sweep.generator)
    rate = dtype(np.float32(RATE))
    assert bits(after_call(SGD(RATE, nesterov=nesterov), w, g)) == bits(w - rate * g)


@every_dtype
def test_update_with_momentum(dtype: Any, sweep: Any) -> None:
    w, g, v = operands(dtype, 3, sweep.generator)
    optimizer = SGD(RATE, momentum=0.9)
    updated = after_call(optimizer, w, g, velocities=v)
    velocity = dtype(0.9) * v - dtype(np.float32(RATE)) * g
    assert bits(optimizer.velocities[0]) == bits(velocity)
    assert bits(updated) == bits(w + velocity)


@every_dtype
def test_nesterov_looks_ahead_with_the_new_velocity(dtype: Any, sweep: Any) -> None:
    w, g, v = operands(dtype, 3, sweep.generator)
    optimizer = SGD(RATE, momentum=0.9, nesterov=True)
    updated = after_call(optimizer, w, g, velocities=v)
    descent = dtype(np.float32(RATE)) * g
    velocity = dtype(0.9) * v - descent
    assert bits(optimizer.velocities[0]) == bits(velocity)
    assert bits(updated) == bits(w + (dtype(0.9) * velocity - descent))


@every_dtype
@pytest.mark.parametrize("momentum", [0.9, 1.0])
def test_the_first_velocity_is_zero(dtype: Any, momentum: float) -> None:
    optimizer = SGD(0.5, momentum=momentum)
    w = after_call(optimizer, np.array([-0.0, -0.0, 1.0], dtype), np.array([0.0, -0.0, 4.0], dtype))
    assert bits(optimizer.velocities[0]) == bits(np.array([0.0, 0.0, -2.0], dtype))
    assert bits(w) == bits(np.array([0.0, 0.0, -1.0], dtype))


@pytest.mark.parametrize("momentum", [0.0, -0.0, 0])
def test_no_momentum_is_no_velocity(momentum: float) -> None:
    optimizer = SGD(RATE, momentum=momentum)
    assert bits(after_call(optimizer, np.array([-0.0]), np.array([0.0]))) == bits(np.array([-0.0]))
    assert optimizer.velocities == []


def test_momentum_that_rounds_to_zero_is_momentum() -> None:
    with pytest.warns(UserWarning, match="^momentum=1e-09 becomes 0 in float16$"):
        w = after_call(SGD(RATE, momentum=1e-9), np.array([-0.0], np.float16), np.array([0.0], np.float16))
    assert bits(w) == bits(np.array([0.0], np.float16))


@every_dtype
@pytest.mark.parametrize("weight_decay", [0.0, 0.3, -0.3, 5.0])
def test_decay_comes_before_the_update(dtype: Any, weight_decay: float, sweep: Any) -> None:
    w, g, v = operands(dtype, 3, sweep.generator)
    rate = dtype(np.float32(RATE))
    decayed = w - (w * dtype(weight_decay)) * rate
    assert bits(after_call(SGD(RATE, weight_decay=weight_decay), w, g)) == bits(decayed - rate * g)
    optimizer = SGD(RATE, momentum=0.9, weight_decay=weight_decay)
    updated = after_call(optimizer, w, g, velocities=v)
    velocity = dtype(0.9) * v - rate * g
    assert bits(optimizer.velocities[0]) == bits(velocity), "decay has entered the velocity"
    assert bits(updated) == bits(decayed + velocity)


@every_dtype
def test_decay_by_zero_is_not_no_decay(dtype: Any) -> None:
    w, g = np.array([math.inf, -math.inf, 1.0], dtype), np.zeros(3, dtype)
    without = after_call(SGD(RATE), w, g)
    assert bits(without) == bits(w)
    by_zero = after_call(SGD(RATE, weight_decay=0.0), w, g)
    assert bits(by_zero) == bits(np.array([math.nan, math.nan, 1.0], dtype))


@every_dtype
@pytest.mark.parametrize("factor", [3.0, 49.0, 2.0**-20, 1e6, 0.1])
def test_unscaling_divides_in_float32_at_least(dtype: Any, factor: float, sweep: Any) -> None:
    (g,) = operands(dtype, 1, sweep.generator)
    wide = np.float64 if dtype == np.float64 else np.float32
    assert bits(used(g, loss_scale_factor=factor)) == bits((g.astype(wide) / wide(factor)).astype(dtype))


@every_dtype
def test_accumulation_updates_in_every_third_call_by_the_mean(dtype: Any, sweep: Any) -> None:
    first, second, third = (
        np.append(special_numbers(dtype), row) for row in operands(dtype, 3, sweep.generator)
    )
    variable = np.full_like(first, -0.0)
    optimizer = SGD(1.0, gradient_accumulation_steps=3)
    for gradient, total in ((first, 0 + first), (second, second + (0 + first))):
        optimizer.apply([gradient], [variable])
        assert bits(optimizer.accumulators[0]) == bits(total)
        assert bits(variable) == bits(np.full_like(first, -0.0))
    optimizer.apply([third])
    assert bits(-variable) == bits((third + (second + (0 + first))) / dtype(3))
    assert bits(optimizer.accumulators[0]) == bits(np.zeros_like(first))


@every_dtype
def test_a_window_leaves_nothing_to_the_next(dtype: Any) -> None:
    variable = np.zeros(4, dtype)
    optimizer = SGD(1.0, gradient_accumulation_steps=2)
    optimizer.apply([np.array([math.nan, math.inf, -math.inf, -1.0], dtype)], [variable])
    optimizer.apply([np.ones(4, dtype)])
    variable[...] = 0
    for _ in range(2):
        optimizer.apply([np.full(4, 3.0, dtype)])
    assert bits(variable) == bits(np.full(4, -3.0, dtype))


@pytest.mark.filterwarnings("ignore:no gradient was given")
@pytest.mark.parametrize(
    ("second", "third", "expected"),
    [
        pytest.param(None, 6.0, -3.0, id="in an accumulating call it adds nothing, and counts in the mean"),
        pytest.param(6.0, None, 0.0, id="in the call that updates it means no update"),
    ],
)
def test_missing_gradients_in_a_window(second: Any, third: Any, expected: float) -> None:
    a, b = np.zeros(1), np.zeros(1)
    optimizer = SGD(1.0, momentum=0.5, gradient_accumulation_steps=3, use_ema=True)
    optimizer.build([a, b])
    for gradient in (3.0, second, third):
        optimizer.apply([np.array([3.0]), None if gradient is None else np.array([gradient])])
    assert [a[0], b[0]] == [-3.0, expected]
    assert [array[0] for array in optimizer.velocities] == [-3.0, expected]
    assert [array[0] for array in optimizer.averages] == [-3.0, expected]
    assert [array[0] for array in optimizer.accumulators] == [0.0, 0.0]


@every_dtype
def test_the_first_average_is_a_copy_and_later_ones_are_means(dtype: Any, sweep: Any) -> None:
    w, average = operands(dtype, 2, sweep.generator)
    g = np.where(np.signbit(w), dtype(0.0), dtype(-0.0))
    optimizer = SGD(RATE, use_ema=True, ema_momentum=0.9)
    assert bits(after_call(optimizer, w, g)) == bits(w)
    assert bits(optimizer.averages[0]) == bits(w)
    optimizer = SGD(RATE, use_ema=True, ema_momentum=0.9)
    assert bits(after_call(optimizer, w, g, calls=1, averages=average)) == bits(w)
    expected = dtype(0.9) * average + (dtype(1) - dtype(0.9)) * w
    assert bits(optimizer.averages[0]) == bits(expected)


@every_dtype
def test_the_average_is_of_the_updated_variable(dtype: Any) -> None:
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.75)
    optimizer.apply([np.array([-1.0], dtype)], [np.array([3.0], dtype)])
    assert bits(optimizer.averages[0]) == bits(np.array([4.0], dtype))
    optimizer.apply([np.array([-4.0], dtype)])
    assert bits(optimizer.averages[0]) == bits(np.array([5.0], dtype))


@pytest.mark.filterwarnings("ignore:no gradient was given")
def test_averages_are_taken_on_updates_only_and_of_all_variables() -> None:
    a, b = np.zeros(1), np.zeros(1)
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=2)
    optimizer.build([a, b])
    b[...] = 8.0
    averages = []
    for _ in range(4):
        optimizer.apply([np.array([-4.0]), None])
        averages.append([array[0] for array in optimizer.averages])
        b[...] = 4.0
    assert averages == [[0.0, 0.0], [4.0, 4.0], [4.0, 4.0], [6.0, 4.0]]
    b[...] = 0.0
    for _ in range(2):
        optimizer.apply([None, np.array([0.0])])
    assert [array[0] for array in optimizer.averages] == [7.0, 2.0]


@pytest.mark.filterwarnings("ignore:no gradient was given")
@pytest.mark.parametrize("steps", [None, 2])
def test_overwriting_at_multiples_of_the_frequency(steps: int | None) -> None:
    a, b = np.zeros(1), np.full(1, 8.0)
    optimizer = SGD(
        1.0, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3, gradient_accumulation_steps=steps
    )
    optimizer.build([a, b])
    after_updates = []
    while optimizer.iterations < 7:
        before = a[0], b[0]
        optimizer.apply([np.array([-8.0]), None])
        if optimizer.calls % (steps or 1):
            assert (a[0], b[0]) == before
            continue
        after_updates.append((a[0], b[0]))
        if optimizer.iterations == 1:
            b[...] = 16.0
    assert after_updates == [(8, 8), (16, 16), (18, 14), (26, 14), (34, 14), (35, 14), (43, 14)]


def test_without_averages_there_is_nothing_to_overwrite_with() -> None:
    optimizer, w = SGD(1.0, ema_overwrite_frequency=1), np.ones(1)
    optimizer.apply([np.ones(1)], [w])
    assert (w[0], optimizer.averages) == (0, [])


@every_dtype
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("clipping", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_all_stages_in_order(dtype: Any, nesterov: bool, clipping: str, sweep: Any) -> None:
    shapes: list[tuple[int, ...]] = [(3, 2), (4,), ()]
    rates = [0.1, 0.3, 0.2, 0.7, 0.5, 0.05, 0.6, 0.25, 0.15, 0.35, 0.45, 0.55]
    remaining = iter(rates)
    optimizer = SGD(
        lambda: next(remaining),
        momentum=0.9,
        nesterov=nesterov,
        weight_decay=0.3,
        use_ema=True,
        ema_momentum=0.8,
        ema_overwrite_frequency=2,
        loss_scale_factor=7.0,
        gradient_accumulation_steps=3,
        **{clipping: 0.9},  # type: ignore[arg-type]
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    w = [sweep.generator.standard_normal(shape).astype(dtype) for shape in shapes]
    variables = [np.array(array) for array in w]
    optimizer.build(variables, ["kernel", "bias", "scale"])
    v, average, accumulator = ([np.zeros_like(array) for array in w] for _ in range(3))
    wide = np.float64 if dtype == np.float64 else np.float32
    c, momentum, m = dtype(0.9), dtype(0.9), dtype(0.8)
    for call, number in enumerate(rates):
        scaled = [(5 * sweep.generator.standard_normal(shape)).astype(dtype) for shape in shapes]
        optimizer.apply(scaled)
        g = [(array.astype(wide) / wide(7)).astype(dtype) for array in scaled]
        total = [gradient + array for gradient, array in zip(g, accumulator, strict=True)]
        accumulator = total
        if call % 3 == 2:
            accumulator = [np.zeros_like(array) for array in w]
            g = [array / dtype(3) for array in total]
            if clipping == "clipnorm":
                g = [gradient * c / max(euclidean_norm([gradient], dtype), c) for gradient in g]
            elif clipping == "clipvalue":
                g = [np.minimum(np.maximum(gradient, -c), c) for gradient in g]
            else:
                factor = c * min(dtype(1) / euclidean_norm(g, dtype), dtype(1 / 0.9))
                g = [gradient * factor for gradient in g]
            rate = dtype(np.float32(number))
            for i in range(3):
                if i != 1:
                    w[i] = w[i] - w[i] * dtype(0.3) * rate
                v[i] = momentum * v[i] - rate * g[i]
                w[i] = w[i] + ((momentum * v[i] - rate * g[i]) if nesterov else v[i])
                average[i] = w[i] if call == 2 else m * average[i] + (dtype(1) - m) * w[i]
            if call in (5, 11):
                w = list(average)
        for actual, expected in (
            (variables, w),
            (optimizer.velocities, v),
            (optimizer.averages, average),
            (optimizer.accumulators, accumulator),
        ):
            assert [bits(array) for array in actual] == [bits(array) for array in expected], call


@pytest.mark.parametrize(("dtype", "precision"), [(ml_dtypes.bfloat16, 8), (np.float16, 11)])
def test_settings_are_rounded_once_and_the_rate_through_float32(dtype: Any, precision: int) -> None:
    """The setting is just above a midpoint; in float32 it is on it, and goes on to the even number."""
    setting, above, even = 0.5 + 2.0 ** (-1 - precision) + 2.0**-40, 0.5 + 2.0**-precision, 0.5
    one, zero = np.ones(1, dtype), np.zeros(1, dtype)

    def result(optimizer: SGD, w: Array, g: Array, **state: Array) -> float:
        return float(after_call(optimizer, w, g, calls=1, **state)[0])

    assert result(SGD(momentum=setting), zero, zero, velocities=one) == above
    assert result(SGD(1.0, weight_decay=setting), one, zero) == 1 - above
    assert result(SGD(1.0, clipvalue=setting), zero, -one) == above
    assert result(SGD(1.0, clipnorm=setting), zero, -one) == above
    assert result(SGD(1.0, global_clipnorm=setting), zero, -one) == above
    # The factor is D(c) * D(1 / c), which the other rounding of 1 / c would make less than 1.
    assert result(SGD(1.0, global_clipnorm=1 / setting), zero, -one / dtype(4)) == 0.25
    optimizer = SGD(use_ema=True, ema_momentum=setting, ema_overwrite_frequency=1)
    assert result(optimizer, zero, zero, averages=one) == above
    assert result(SGD(setting), zero, -one) == even
    assert result(SGD(lambda: setting), zero, -one) == even
    assert result(SGD(1.0, weight_decay=1.0), one, zero) == 0
    assert result(SGD(setting, weight_decay=1.0), one, zero) == even


def test_the_rate_is_a_float32_for_float64_too() -> None:
    assert after_call(SGD(0.1), np.zeros(1), np.ones(1))[0] == -float(np.float32(0.1)) != -0.1
    assert after_call(SGD(0.1, weight_decay=1.0), np.ones(1), np.zeros(1))[0] == 1 - float(np.float32(0.1))


def test_what_a_deviation_can_override_is_documented() -> None:
    description = inspect.getdoc(SGD) or ""
    extending = description[description.index("Extending") : description.index("Examples")]
    overridable = {name for name in vars(SGD) if not name.startswith("_")} - {"perform"}
    assert {name for name in overridable if f"``{name}``" not in extending} == set()
