"""The optimizer of Keras on the backend of this process, without a model."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np
import pytest

import sgd_ref
from numba_kernels.keras import SGD
from sgd_ref.arithmetic.formats import BFLOAT16
from tests.numba_kernels.agreement import EVERYTHING, numbers

# Keras 3.15.1 with NumPy 2.4.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BACKEND = keras.backend.backend()
SCHEDULES = keras.optimizers.schedules
DTYPES = ["float16", "bfloat16", "float32"] + ["float64"] * (BACKEND != "jax")
on_torch = pytest.mark.skipif(BACKEND != "torch", reason="for tensors of PyTorch")


def variable(values: Any, **options: Any) -> Any:
    return keras.Variable(np.asarray(values), **{"dtype": "float32", **options})


def tensor(array: Any) -> Any:
    if array.dtype == BFLOAT16:
        return keras.ops.cast(keras.ops.convert_to_tensor(array.astype("float32")), "bfloat16")
    return keras.ops.convert_to_tensor(array)


def array(found: Any) -> Any:
    value = np.array(keras.ops.convert_to_numpy(found.value))
    return value.astype(BFLOAT16) if found.dtype == "bfloat16" else value


def one() -> Any:
    return keras.ops.ones(1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_have_the_bits_of_the_reference(dtype: str) -> None:
    generator = np.random.default_rng(0)
    numpy_dtype = BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype)
    arrays = [numbers(generator, shape, numpy_dtype) for shape in [(3, 5), (), (0, 2), (7,)]]
    names = ["kernel", "scale", "nothing", "bias"]
    known = [variable(w.astype("float64"), dtype=dtype, name=n) for w, n in zip(arrays, names, strict=True)]
    settings = {**EVERYTHING, "loss_scale_factor": 3.0, "gradient_accumulation_steps": 2}
    optimizer, reference = SGD(**settings), sgd_ref.SGD(**settings)
    for each in (optimizer, reference):
        each.exclude_from_weight_decay(var_names=["bias"])
    reference.build(arrays, names)
    for _ in range(8):
        gradients = [numbers(generator, w.shape, numpy_dtype) for w in arrays]
        reference.apply(gradients)
        optimizer.apply(list(map(tensor, gradients)), known)
    pairs = [
        *zip(known, arrays, strict=True),
        *zip(optimizer.momentums, reference.velocities, strict=True),
        *zip(optimizer._model_variables_moving_average, reference.averages, strict=True),
        *zip(optimizer._accumulated_gradients, reference.accumulators, strict=True),
    ]
    for found, expected in pairs:
        assert array(found).tobytes() == expected.tobytes(), found.path
    assert int(optimizer._iterations.value) == 8
    assert int(keras.ops.convert_to_numpy(optimizer.iterations)) == 4


@on_torch
def test_tensors_are_updated_in_their_memory() -> None:
    w = variable([1.0, 2.0])
    w.value.sum().backward()
    before = w.value.data_ptr(), w.value._version
    optimizer = SGD(0.5, momentum=0.5, use_ema=True)
    optimizer.apply([w.value.grad], [w])
    addresses = [v.value.data_ptr() for v in optimizer.variables]
    optimizer.apply([w.value.grad])
    assert array(w).tolist() == [-0.25, 0.75]
    assert w.value.data_ptr() == before[0]
    assert w.value._version > before[1]
    assert addresses == [v.value.data_ptr() for v in optimizer.variables]
    # A variable may get other memory, as by `module.to`.
    w._value = w._value.detach().clone()
    optimizer.apply([keras.ops.ones(2)])
    assert array(w).tolist() == [-1.125, -0.125]


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow has no stateless_apply")
def test_a_stateless_call_changes_nothing() -> None:
    w = variable([1.0])
    optimizer = SGD(0.5, momentum=0.5)
    optimizer.build([w])
    given = [v.value for v in optimizer.variables], [one()], [w.value]
    for _ in range(2):
        variables, state = optimizer.stateless_apply(*given)
        found = [float(np.sum(keras.ops.convert_to_numpy(each))) for each in (*variables, state[0], state[2])]
        assert found == [0.5, 1.0, -0.5]
    assert [float(array(v).sum()) for v in (w, *optimizer.variables)] == [1.0, 0.0, 0.5, 0.0]


def test_settings_that_are_assigned_hold_from_the_next_step_on() -> None:
    w = variable([8.0])
    optimizer = SGD(0.5)
    optimizer.apply([one()], [w])
    optimizer.weight_decay = 0.5
    optimizer.learning_rate = 1.0
    optimizer.apply([one()])
    assert array(w).tolist() == [2.75]
    for name, value in (("momentum", 0.5), ("use_ema", True), ("gradient_accumulation_steps", 2)):
        before = getattr(optimizer, name)
        setattr(optimizer, name, value)
        with pytest.raises(ValueError, match=f"{name} must stay {before}"):
            optimizer.apply([one()])
        setattr(optimizer, name, before)
    assert array(w).tolist() == [2.75]
    assert int(optimizer._iterations.value) == 2


def test_what_is_excluded_from_decay() -> None:
    known = [variable([1.0], name=name) for name in ("kernel", "bias", "w.x", "wyx")]
    optimizer = SGD(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[known[0]], var_names=["bia", "w.x"])
    optimizer.apply([keras.ops.zeros(1)] * 4, known)
    assert [float(array(w)[0]) for w in known] == [1.0, 1.0, 1.0, 0.5]
    with pytest.raises(RuntimeError, match="before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["bias"])
    other = SGD(1.0, weight_decay=0.5)
    with pytest.raises(TypeError, match="var_names must be a list of strings, got 'bias'"):
        other.exclude_from_weight_decay(var_names="bias")
    with pytest.raises(TypeError, match=r"var_list must be a list of keras\.Variable"):
        other.exclude_from_weight_decay(var_list=[1])
    other.exclude_from_weight_decay(var_names=["dense_1"])
    with pytest.warns(UserWarning, match="'dense_1' of var_names is in no variable's name"):
        other.build(known)


def test_only_some_variables() -> None:
    v, w = variable([1.0], name="v"), variable([2.0], name="w")
    optimizer = SGD(0.5)
    optimizer.build([v, w])
    with pytest.warns(UserWarning, match="no gradient"):
        optimizer.apply([one()], [w])
    with pytest.warns(UserWarning, match="no gradient"):
        optimizer.apply([None, one()], [w, v])
    assert (array(v).tolist(), array(w).tolist()) == ([0.5], [1.5])


def test_what_is_refused() -> None:
    w = variable([1.0])
    optimizer = SGD(0.5)
    with pytest.raises(ValueError, match="trainable_variables must be given"):
        optimizer.apply([one()])
    with pytest.raises(ValueError, match="must be given once"):
        optimizer.apply([one()] * 2, [w, w])
    with pytest.raises(TypeError, match=r"must have one of the dtypes .*, got int32"):
        optimizer.build([variable([1], dtype="int32", trainable=False)])
    with pytest.raises(TypeError, match=r"variables\[0\] must be a keras\.Variable, got a ndarray"):
        optimizer.build([np.ones(1)])
    assert not optimizer.built
    optimizer.build([w])
    with pytest.raises(ValueError, match="one gradient for each of 1 variables, got 2"):
        optimizer.apply([one()] * 2)
    with pytest.raises(ValueError, match="at least one variable, got None for each"):
        optimizer.apply([None])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply([one()], [variable([1.0])])
    optimizer.apply([])
    assert (array(w).tolist(), int(optimizer._iterations.value)) == ([1.0], 0)
    with pytest.raises(ValueError, match="clipnorm must be"):
        SGD(clipnorm=-1.0)
    with pytest.raises(TypeError, match="learning_rate must be"):
        SGD("0.1")
    with pytest.raises(ValueError, match="clipnorm must be finite and normal in float16"):
        SGD(clipnorm=1e-9).build([variable([1.0], dtype="float16")])


def test_another_backend_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(RuntimeError, match="PyTorch, JAX or TensorFlow, got the backend 'numpy'"):
        SGD()


def test_without_keras_one_line_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    for name in [name for name in sys.modules if name.startswith("numba_kernels.keras")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match=r"^numba_kernels\.keras needs Keras .*: pip install .*$"):
        import numba_kernels.keras  # noqa: F401, PLC0415


def test_rates() -> None:
    # On PyTorch Keras gives 0 at this restart.
    restarts = SCHEDULES.CosineDecayRestarts(1.0, 64, t_mul=1.5)
    optimizer = SGD(restarts)
    optimizer.iterations.assign(160)
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == 1.0
    own = sgd_ref.schedules.CosineDecay(0.3, 7)
    optimizer = SGD(own)
    optimizer.iterations.assign(3)
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == own(3)
    assert optimizer.get_config()["learning_rate"]["module"] == "keras.optimizers.schedules"
    with pytest.raises(TypeError, match="learning_rate must be a schedule or a callable"):
        optimizer.learning_rate = 0.5
    w, asked = variable([8.0]), iter([1.0, 2.0])
    optimizer = SGD(0.5)
    optimizer.learning_rate = lambda: next(asked)
    for expected in (7.0, 5.0):
        optimizer.apply([one()], [w])
        assert array(w).tolist() == [expected]
    assert len(optimizer.variables) == 1


class Halving(SCHEDULES.LearningRateSchedule):  # type: ignore[misc]
    def __call__(self, step: Any) -> Any:
        return 1.0 / (keras.ops.cast(step, "float32") + 1.0)


def test_a_schedule_of_the_users_own() -> None:
    w, optimizer = variable([8.0]), SGD(Halving())
    for expected in (7.0, 6.5):
        optimizer.apply([one()], [w])
        assert array(w).tolist() == [expected]


def test_the_default_dtype_of_keras_does_not_round_the_rate(monkeypatch: Any) -> None:
    default = keras.config.floatx()
    keras.config.set_floatx("float16")
    try:
        optimizer = SGD(0.1)
    finally:
        keras.config.set_floatx(default)
    assert optimizer.get_config()["learning_rate"] == float(np.float32(0.1))


def test_configs_and_state_are_those_of_keras() -> None:
    settings = {**EVERYTHING, "gradient_accumulation_steps": 2}
    optimizer = SGD(**settings)
    of_keras = keras.optimizers.SGD(**settings)
    assert optimizer.get_config().keys() == of_keras.get_config().keys()
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(restored) is SGD
    assert restored.get_config() == optimizer.get_config()
    w, of_other = variable([1.0]), variable([1.0])
    optimizer.build([w])
    of_keras.build([of_other])
    suffixes = [[v.name.rpartition("_")[2] for v in each.variables] for each in (optimizer, of_keras)]
    assert suffixes[0] == suffixes[1]
    for _ in range(3):
        optimizer.apply([one()])
    of_keras.set_weights([array(v) for v in optimizer.variables])
    restored.build([of_other])
    restored.set_weights([array(v) for v in of_keras.variables])
    of_other.assign(w)
    for each in (optimizer, restored):
        each.apply([one()])
    assert array(w).tobytes() == array(of_other).tobytes()


def test_averages_become_the_variables() -> None:
    w = variable([8.0])
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=2)
    optimizer.build([w])
    optimizer.apply([one()])
    with pytest.warns(UserWarning, match="no update was made yet"):
        optimizer.finalize_variable_values([w])
    for _ in range(3):
        optimizer.apply([one()])
    assert array(w).tolist() == [6.0]
    optimizer.finalize_variable_values([w])
    assert array(w).tolist() == [6.5]


def test_constraints_are_applied() -> None:
    w = variable([1.0])
    w.constraint = keras.constraints.NonNeg()
    SGD(2.0).apply([one()], [w])
    assert array(w).tolist() == [0.0]


def test_a_wider_gradient_is_rounded_once() -> None:
    # As from a LossScaleOptimizer, whose quotients are float32.
    w, expected = variable([1.0], dtype="float16"), np.ones(1, "float16")
    gradient = np.array([1 / 3], "float32")
    SGD(0.1, clipnorm=0.25).apply([tensor(gradient)], [w])
    sgd_ref.SGD(0.1, clipnorm=0.25).apply([gradient.astype("float16")], [expected])
    assert array(w).tobytes() == expected.tobytes()


@on_torch
def test_rows_of_a_sparse_gradient_are_added() -> None:
    import torch  # noqa: PLC0415

    w = variable(np.ones((3, 2)))
    rows = torch.sparse_coo_tensor([[2, 0, 2]], torch.ones(3, 2), (3, 2), check_invariants=True)
    SGD(0.5).apply([rows], [w])
    assert array(w).tolist() == [[0.5, 0.5], [1.0, 1.0], [0.0, 0.0]]
