"""What an optimizer does around its arithmetic: building, reading the rate, counting, copying."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import numba_kernels
import numba_kernels.cuda
from sgd_ref import SGD
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.optimizer import Values
from sgd_ref.schedules import LearningRateSchedule

Array = np.ndarray[Any, np.dtype[Any]]
PUBLIC = (
    *("apply", "build", "rebind", "exclude_from_weight_decay", "finalize_variable_values"),
    *("calls", "learning_rate", "velocities", "averages", "accumulators", "variables"),
    *("get_weights", "set_weights"),
)

DTYPES: list[Any] = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)

EVERYTHING: dict[str, Any] = {
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.01,
    "clipnorm": 2.0,
    "use_ema": True,
    "ema_momentum": 0.9,
    "ema_overwrite_frequency": 2,
    "loss_scale_factor": 7.0,
    "gradient_accumulation_steps": 3,
}


def state(optimizer: Any, variables: list[Array]) -> list[Any]:
    """All that an optimizer is, as bytes and counts."""
    arrays = [*variables, *optimizer.velocities, *optimizer.averages, *optimizer.accumulators]
    return [optimizer.calls, optimizer.iterations, *(array.tobytes() for array in arrays)]


class Recorder(LearningRateSchedule):
    """A schedule that remembers at which steps it was read."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def __call__(self, step: int) -> np.float32:
        self.steps.append(step)
        return np.float32(10**step)


def test_the_rate_is_read_once_in_each_call_at_the_number_of_calls_before() -> None:
    schedule = Recorder()
    w = np.zeros(1)
    optimizer = SGD(schedule, weight_decay=0.0, gradient_accumulation_steps=2)
    for _ in range(4):
        optimizer.apply([np.ones(1)], [w])
    assert schedule.steps == [0, 1, 2, 3]
    assert w[0] == -(10 + 1000), "not the rates of the first call of each window, nor of the updates"


def test_a_callable_rate_is_called_once_also_in_calls_that_accumulate() -> None:
    values = iter([10.0, 1.0, 20.0, 2.0])
    a, b = np.zeros(1), np.zeros(1)
    optimizer = SGD(lambda: next(values), momentum=0.5, weight_decay=0.0, gradient_accumulation_steps=2)
    for _ in range(4):
        optimizer.apply([np.ones(1), np.ones(1)], [a, b])
    assert next(values, None) is None
    assert [a[0], b[0]] == [-1 - 2.5, -1 - 2.5]


def test_the_rate_can_be_set_at_any_time() -> None:
    w = np.zeros(1)
    optimizer = SGD(1.0)
    for rate in (1.0, 10, np.float16(100), ml_dtypes.bfloat16(1024), np.array(8.0), lambda: 16.0, Recorder()):
        optimizer.learning_rate = rate
        before = w[0]
        optimizer.apply([np.ones(1)], [w])
        expected = rate() if callable(rate) and not isinstance(rate, LearningRateSchedule) else rate
        expected = 10.0**6 if isinstance(rate, Recorder) else float(expected)  # type: ignore[arg-type]
        assert before - w[0] == expected
    assert optimizer.learning_rate == 10**7
    assert type(optimizer.learning_rate) is np.float32


def test_calls_and_updates_are_counted() -> None:
    for steps, updates in ((None, [1, 2, 3, 4]), (3, [0, 0, 1, 1])):
        optimizer = SGD(gradient_accumulation_steps=steps)
        assert (optimizer.calls, optimizer.iterations, optimizer.built) == (0, 0, False)
        counts = []
        w = np.zeros(1)
        for _ in range(4):
            optimizer.apply([np.ones(1)], [w])
            counts.append((optimizer.calls, optimizer.iterations))
        assert counts == list(zip([1, 2, 3, 4], updates, strict=True))
        assert optimizer.built


def test_variables_may_come_in_any_order_and_not_all_of_them() -> None:
    a, b, c = variables = [np.zeros(1), np.zeros(1), np.zeros(1)]
    optimizer = SGD(1.0, momentum=0.5)
    optimizer.build(variables)
    optimizer.apply([np.array([1.0]), np.array([2.0])], [c, a])
    assert [a[0], b[0], c[0]] == [-2, 0, -1]
    optimizer.apply([np.array([4.0])], (b,))
    optimizer.apply([np.array([0.0])] * 3, variables[::-1])
    assert [a[0], b[0], c[0]] == [-3, -6, -1.5]
    assert [array[0] for array in optimizer.velocities] == [-1, -2, -0.5]
    assert optimizer.calls == 3


def test_another_view_of_a_variable_is_that_variable() -> None:
    w = np.zeros((2, 3))
    optimizer = SGD(1.0)
    optimizer.build([w])
    optimizer.apply([np.ones((2, 3))], [w[:]])
    assert (w == -1).all()


def test_updates_are_made_in_place_and_gradients_are_left_alone() -> None:
    storage = np.zeros((4, 6), np.float32)
    variables = [storage[:, ::2], storage[:, 1::2].T, np.zeros((3, 2), np.float32, order="F")]
    dense = [np.arange(array.size, dtype=np.float32).reshape(array.shape) for array in variables]
    gradients = [dense[0][::-1][::-1], np.asfortranarray(dense[1]), np.repeat(dense[2], 2, axis=1)[:, ::2]]
    assert not any(gradient.flags.c_contiguous for gradient in gradients[1:])
    for gradient in gradients:
        gradient.flags.writeable = False
    optimizer = SGD(**{**EVERYTHING, "learning_rate": 1.0})
    contiguous = [np.zeros(array.shape, np.float32) for array in variables]
    twin = SGD(**{**EVERYTHING, "learning_rate": 1.0})
    for _ in range(6):
        optimizer.apply(gradients, variables)
        twin.apply(dense, contiguous)
    assert state(optimizer, variables) == state(twin, contiguous)
    assert (storage[:, ::2] == contiguous[0]).all()
    assert (contiguous[1] == storage[:, 1::2].T).all()
    assert storage.any()
    assert [gradient.tolist() for gradient in gradients] == [array.tolist() for array in dense]


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (np.float16, np.float32),
        (np.float16, np.float64),
        (ml_dtypes.bfloat16, np.float32),
        (ml_dtypes.bfloat16, np.float64),
        (np.float32, np.float64),
    ],
)
def test_narrower_gradients_are_widened_first(narrow: Any, wide: Any, sweep: Any) -> None:
    special = [math.nan, math.inf, -0.0, float(ml_dtypes.finfo(narrow).smallest_subnormal)]
    gradient = np.append(sweep.generator.standard_normal(50), special).astype(narrow)
    narrower, widened = np.ones(54, wide), np.ones(54, wide)
    SGD(0.1, loss_scale_factor=7.0).apply([gradient], [narrower])
    SGD(0.1, loss_scale_factor=7.0).apply([gradient.astype(wide)], [widened])
    assert narrower.tobytes() == widened.tobytes()


@every_dtype
def test_no_dimensions_and_no_elements(dtype: Any) -> None:
    single, scalar, nothing = np.zeros(1, dtype), np.zeros((), dtype), np.zeros((0, 3), dtype)
    optimizer = SGD(**EVERYTHING)
    for number in range(1, 7):
        gradients = [np.array([number], dtype), dtype(number), np.zeros((0, 3), dtype)]
        optimizer.apply(gradients, [single, scalar, nothing])
    assert single.tobytes() == scalar.tobytes() != bytes(single.nbytes)
    assert [array.shape for array in optimizer.averages] == [(1,), (), (0, 3)]


def test_dtypes_side_by_side_do_not_meet(sweep: Any) -> None:
    together = [np.ones(20, dtype) for dtype in DTYPES]
    alone = [np.ones(20, dtype) for dtype in DTYPES]
    optimizer = SGD(**EVERYTHING)
    others = [SGD(**EVERYTHING) for _ in DTYPES]
    for _ in range(7):
        gradients = [sweep.generator.standard_normal(20).astype(dtype) for dtype in DTYPES]
        optimizer.apply(gradients, together)
        for other, gradient, variable in zip(others, gradients, alone, strict=True):
            other.apply([gradient], [variable])
    for index, other in enumerate(others):
        assert together[index].tobytes() == alone[index].tobytes()
        for kind in ("velocities", "averages", "accumulators"):
            assert getattr(optimizer, kind)[index].dtype == DTYPES[index]
            assert getattr(optimizer, kind)[index].tobytes() == getattr(other, kind)[0].tobytes()


def test_one_array_may_be_the_gradient_of_two_variables() -> None:
    a, b, gradient = np.zeros(2), np.zeros(2), np.ones(2)
    SGD(1.0).apply([gradient, gradient], [a, b])
    assert [*a, *b] == [-1, -1, -1, -1]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])  # noqa: S301
def test_a_copy_goes_its_own_way(copied: Any) -> None:
    optimizer, variables = SGD(**EVERYTHING), [np.ones(3, np.float32), np.ones((), np.float16)]
    optimizer.exclude_from_weight_decay(var_list=[variables[1]])
    gradients: list[Any] = [np.array([1.0, -2.0, 3.0], np.float32), np.float16(5)]
    for _ in range(4):
        optimizer.apply(gradients, variables)
    other, others = copied((optimizer, variables))
    before = state(optimizer, variables)
    assert state(other, others) == before
    other.apply(gradients, others)
    assert state(optimizer, variables) == before
    optimizer.apply(gradients)
    assert state(other, others) == state(optimizer, variables) != before
    for alias in (others[0], other.velocities[0]):
        with pytest.raises(ValueError, match="must not share memory"):
            other.apply([alias, None])
    for foreign in (variables[0], optimizer.velocities[0]):
        other.apply([foreign, gradients[1]])


def test_building_again_with_the_same_variables_changes_nothing() -> None:
    variables = [np.ones(2), np.ones(3)]
    optimizer = SGD(momentum=0.5)
    optimizer.build(variables, ["a", "b"])
    optimizer.apply([np.ones(2), np.ones(3)])
    before = state(optimizer, variables)
    optimizer.build(variables)
    optimizer.build(tuple(variables), ["a", "b"])
    assert state(optimizer, variables) == before


def test_a_missing_gradient_is_warned_of_where_apply_was_called() -> None:
    variables = [np.zeros(1), np.zeros(1), np.zeros(1)]
    optimizer = SGD(1.0)
    optimizer.build(variables, ["a", "b", "c"])
    with pytest.warns(UserWarning, match=r"^no gradient was given for the variables \['c', 'b'\]$") as caught:
        optimizer.apply([None, np.ones(1), None], [variables[2], variables[0], variables[1]])
    assert caught[0].filename == __file__
    assert [variable[0] for variable in variables] == [-1, 0, 0]


@pytest.mark.filterwarnings("ignore:no gradient was given")
def test_a_variable_without_a_gradient_neither_moves_nor_decays_nor_loses_its_velocity() -> None:
    a, b = np.ones(1), np.ones(1)
    optimizer = SGD(1.0, momentum=0.5, weight_decay=0.25)
    optimizer.apply([np.array([2.0]), np.array([2.0])], [a, b])
    for _ in range(2):
        optimizer.apply([np.array([0.0]), None])
    optimizer.apply([np.array([0.0])], [a])
    assert b[0] == 0.75 - 2
    assert [array[0] for array in optimizer.velocities] == [-0.25, -2]


def test_a_rejected_call_does_not_ask_for_a_rate() -> None:
    values = iter([1.0, 2.0])
    w = np.zeros(1)
    optimizer = SGD(lambda: next(values))
    for gradient in (np.ones(2), w):
        with pytest.raises(ValueError, match=r"^gradients\[0\] must"):
            optimizer.apply([gradient], [w])
    optimizer.apply([np.ones(1)], [w])
    assert w[0] == -1


def test_no_floating_point_exception_comes_out() -> None:
    information = np.finfo(np.float16)
    special = [math.nan, math.inf, -math.inf, information.max, information.smallest_subnormal, -0.0]
    w, g = (np.array(array.ravel(), np.float16) for array in np.meshgrid(special, special))
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for clipping in ("clipnorm", "clipvalue", "global_clipnorm"):
            settings = {key: value for key, value in EVERYTHING.items() if key != "clipnorm"}
            optimizer = SGD(**settings, **{clipping: 0.7})
            optimizer.build([np.array(w)])
            for _ in range(7):
                optimizer.apply([g])


def test_an_exception_leaves_no_step_half_made() -> None:
    class Failing(SGD):
        def overwrite(self, values: Values, call: Any) -> Values:
            raise MemoryError

    optimizer, w = Failing(1.0, momentum=0.5, use_ema=True), np.ones(3)
    optimizer.build([w])
    before = state(optimizer, [w])
    with pytest.raises(MemoryError):
        optimizer.apply([np.ones(3)])
    assert state(optimizer, [w]) == before


def test_the_arrays_of_state_are_the_optimizers_own() -> None:
    optimizer = SGD(momentum=0.5, use_ema=True, gradient_accumulation_steps=2)
    optimizer.build([np.ones(1)])
    for kind in ("velocities", "averages", "accumulators"):
        getattr(optimizer, kind)[0][...] = 7.0
        assert [array[0] for array in getattr(optimizer, kind)] == [7.0]


def test_features_that_are_off_take_no_memory() -> None:
    optimizer = SGD()
    optimizer.build([np.ones(1)])
    assert [optimizer.velocities, optimizer.averages, optimizer.accumulators] == [[], [], []]


def test_settings_can_be_read() -> None:
    optimizer = SGD(**EVERYTHING)
    assert {key: getattr(optimizer, key) for key in EVERYTHING if key != "learning_rate"} == {
        key: value for key, value in EVERYTHING.items() if key != "learning_rate"
    }
    assert (optimizer.name, optimizer.clipvalue, optimizer.global_clipnorm) == ("SGD", None, None)
    assert SGD.momentum is inspect.getattr_static(SGD, "momentum")


def test_a_loss_is_scaled_in_float32_at_least() -> None:
    loss = object()
    assert SGD().scale_loss(loss) is loss
    optimizer = SGD(loss_scale_factor=1e6)
    assert optimizer.scale_loss(3.0) == 3e6
    for dtype, wide in zip(DTYPES, (np.float32, np.float32, np.float32, np.float64), strict=True):
        for shape in ((), (2,)):
            scaled = optimizer.scale_loss(np.full(shape, 0.7, dtype))
            expected = np.full(shape, 0.7, dtype).astype(wide) * wide(1e6)
            assert scaled.dtype == wide
            assert scaled.tobytes() == expected.tobytes()


def test_all_that_crosses_packages_is_documented() -> None:
    description = inspect.getdoc(BaseSGD) or ""
    extending = description[description.index("Extending") :]
    for kernels in (numba_kernels.SGD, numba_kernels.cuda.SGD, SGD):
        overridden = {name for name in vars(kernels) if hasattr(BaseSGD, name) and not name.startswith("__")}
        protected = {name for name in overridden if name not in PUBLIC}
        assert "perform" in protected
        assert all(f"``{name}" in extending for name in protected - {"_abc_impl"})


def test_only_the_state_is_protected() -> None:
    assert [name for name in dir(BaseSGD) if name.startswith("_") and not name.startswith("__")] == [
        "_abc_impl",
        "_state",
    ]
    assert set(vars(SGD())) == {"settings", "rate_source", "_running", "_losses"}
