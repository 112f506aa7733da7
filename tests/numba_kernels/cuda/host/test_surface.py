"""What callers meet besides results: errors that change nothing, warnings, weights, arrays that move."""

from __future__ import annotations

import copy
import os
import pickle
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

import sgd_ref
from numba_kernels import cuda
from numba_kernels.cuda.arrays.allocation import to_host
from numba_kernels.cuda.host import device_state
from numba_kernels.cuda.toolkit import IS_SIMULATED
from sgd_ref import schedules

HERE = Path(__file__).parent
SGD_REF = HERE.parents[2] / "sgd_ref"


pairs = SimpleNamespace(**runpy.run_path(str(HERE.parent / "pairs.py")))
rejected = SimpleNamespace(**runpy.run_path(str(SGD_REF / "test_rejections.py")))
EVERYTHING, Pair, numbers, to_device = pairs.EVERYTHING, pairs.Pair, pairs.numbers, pairs.to_device
simulated_only = pytest.mark.skipif(not IS_SIMULATED, reason="replaces the memory of arrays of the simulator")

# Of the tests of the reference, what is not asked of the device.
NOT_OF_THE_DEVICE = (
    # What is no array is refused in other words, since other arrays are accepted.
    "arguments_of_another_type",
    "arguments_that_make_no_optimizer",
    # No array on a device becomes read-only, and there is one frame more between the caller and the warning.
    "read_only",
    "all_variables_or_none",
    "warned_of_where",
    # A schedule is read for more calls than the one that comes.
    "skipped_call_touches_nothing",
)

PLUGIN = '''
import numpy as np
import sgd_ref
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numba_kernels import cuda
from numba_kernels.cuda.host import device_state

# Patched by a test.
device_state.flushes_subnormals = lambda: sgd_ref.arithmetic.rounded.flushes_subnormals()

known = {}

def moved(arrays):
    """Return an array on the simulated device in front of the memory of each array of the host."""
    if not isinstance(arrays, (list, tuple)):
        return arrays
    arrays = [np.asarray(a) if isinstance(a, np.generic) else a for a in arrays]
    for a in arrays:
        if isinstance(a, np.ndarray):
            known.setdefault(id(a), (a, FakeCUDAArray(a)))
    return [known[id(a)][1] if isinstance(a, np.ndarray) else a for a in arrays]

def hosts(arrays):
    return [a._ary if isinstance(a, FakeCUDAArray) else a for a in arrays]

class SGD(cuda.SGD):
    def build(self, variables, names=None):
        super().build(moved(variables), names)
    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        super().exclude_from_weight_decay(moved(var_list), var_names)
    def apply(self, gradients, variables=None):
        super().apply(moved(gradients), moved(variables))
    def finalize_variable_values(self, variables):
        super().finalize_variable_values(moved(variables))
    variables = property(lambda self: hosts(super(SGD, self).variables))
    velocities = property(lambda self: hosts(super(SGD, self).velocities))
    averages = property(lambda self: hosts(super(SGD, self).averages))
    accumulators = property(lambda self: hosts(super(SGD, self).accumulators))

class LossScaleOptimizer(cuda.LossScaleOptimizer):
    def apply(self, gradients, variables=None):
        super().apply(moved(gradients), moved(variables))

sgd_ref.SGD, sgd_ref.LossScaleOptimizer = SGD, LossScaleOptimizer
'''


@simulated_only
@pytest.mark.share(5)
@pytest.mark.parametrize(
    "name",
    [
        "test_loss_scale",
        "base/test_exclusion",
        "base/test_weights",
        "base/test_finalization",
        "base/test_learning_rate",
    ],
)
def test_the_tests_of_the_reference_pass_on_the_device(name: str, tmp_path: Path) -> None:
    """Warnings, exclusions, weights, rates and loss scales: the tests of the reference, on the device."""
    (tmp_path / "on_the_device.py").write_text(PLUGIN)
    (tmp_path / "turns_of_threads.py").write_text((HERE.parent / "conftest.py").read_text())
    plugins = ("-p", "on_the_device", "-p", "turns_of_threads", "-p", "no:cacheprovider")
    chosen = " and ".join(f"not {name}" for name in NOT_OF_THE_DEVICE)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, "-k", chosen, str(SGD_REF / f"{name}.py")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=HERE.parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:]


class Training:
    """An optimizer in mid-training and in mid-window, with everything on."""

    def __init__(self, scaled: bool) -> None:
        settings = EVERYTHING | {"global_clipnorm": None, "clipnorm": 1.0, "loss_scale_factor": None}
        inner = cuda.SGD(**settings)
        self.optimizer: Any = cuda.LossScaleOptimizer(inner, 8.0, 3) if scaled else inner
        hosts = rejected.Training.started(scaled=False)
        self.variables = [in_front_of(array) for array in hosts.variables]
        self.gradients = [in_front_of(array) for array in hosts.gradients]
        self.optimizer.build(self.variables, rejected.NAMES)
        for _ in range(3):
            self.optimizer.apply(self.gradients)

    def given(self, arguments: Callable[[Any, Any], Any]) -> list[Any]:
        """Return arguments of apply, chosen or made from the memory of the gradients and variables."""
        own = {id(array._ary): array for array in (*self.variables, *self.gradients)}
        memories = [array._ary for array in self.gradients], [array._ary for array in self.variables]
        return [
            [own.get(id(one), in_front_of(one)) for one in each] if isinstance(each, list) else each
            for each in arguments(*memories)
        ]

    def everything(self) -> list[Any]:
        optimizer = self.optimizer
        arrays = [*self.variables, *optimizer.velocities, *optimizer.averages, *optimizer.accumulators]
        state: Any = getattr(optimizer, "inner_optimizer", optimizer)._state
        return [
            [to_host(array).tobytes() for array in arrays],
            [optimizer.built, optimizer.calls, optimizer.iterations, optimizer.learning_rate],
            [state.counts.download().tolist(), state.numbers.download().tolist()],
            [optimizer.variable_names, optimizer.get_config()],
        ]


def in_front_of(array: Any) -> Any:
    """Return an array on the simulated device in the memory of one of the host."""
    if not isinstance(array, (np.ndarray, np.generic)):
        return array
    made = to_device(np.zeros(0))
    made._ary = np.asarray(array)
    return made


both = pytest.mark.parametrize("scaled", [False, True], ids=["SGD", "scaled"])


def replaced(index: int, gradient: Any) -> Callable[[Any, Any], Any]:
    return lambda g, w: ([*g[:index], gradient, *g[index + 1 :]],)


@simulated_only
@both
def test_calls_that_are_refused_change_nothing(scaled: bool) -> None:
    """All that the reference refuses, in the same words, but for what is no array at all."""
    training = Training(scaled)
    before = training.everything()
    refused = 0
    calls: list[tuple[Any, type[Exception], str]] = [
        (replaced(index, gradient), error, message)
        for index, gradient, error, message in rejected.GRADIENTS
        if "must be an ndarray, " not in message and not message.endswith("got object")
    ]
    for arguments, error, message in (*calls, *rejected.CALLS):
        given = training.given(arguments)
        # What is no array is refused in other words, since other arrays are accepted.
        words = message.replace("of type ndarray", "of type ...")
        if "must be an ndarray, got" in message:
            words = "variables[0] must be an array on the device..."
        with pytest.raises(error) as caught:
            training.optimizer.apply(*given)
        assert rejected.matches(caught.value, words), str(caught.value)
        refused += 1
        assert training.everything() == before
    assert refused > 40
    training.optimizer.apply(training.gradients)
    assert training.everything() != before


@simulated_only
@both
def test_memory_that_is_updated_is_no_gradient(scaled: bool) -> None:
    training = Training(scaled)
    before = training.everything()
    w, optimizer, g = training.variables, training.optimizer, training.gradients
    for index, alias, owner in (
        (0, w[0], "dense/kernel"),
        (0, w[0][::-1], "dense/kernel"),
        (4, in_front_of(w[4]._ary.base[2:5]), "table"),
        (0, optimizer.velocities[0], "the velocity of dense/kernel"),
        (1, optimizer.averages[1], "the average of bias"),
        (4, optimizer.accumulators[4], "the accumulator of table"),
    ):
        with pytest.raises(ValueError, match=rf"^gradients\[{index}\] must not share .* overlaps {owner}$"):
            optimizer.apply([*g[:index], alias, *g[index + 1 :]])
        assert training.everything() == before
    # What lies between the elements of a variable is its caller's.
    between = in_front_of(w[4]._ary.base[1::2])
    optimizer.apply([*g[:4], between])


@simulated_only
def test_a_thread_that_flushes_subnormal_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(scaled=False)
    before = training.everything()
    for module in (device_state, sgd_ref.arithmetic.rounded):
        monkeypatch.setattr(module, "flushes_subnormals", lambda: True)
    with pytest.raises(RuntimeError, match=r"^this thread flushes subnormal numbers to zero"):
        training.optimizer.apply(training.gradients)
    assert training.everything() == before


@simulated_only
@both
def test_building_again(scaled: bool) -> None:
    training = Training(scaled)
    before, w = training.everything(), training.variables
    training.optimizer.build(w)
    training.optimizer.build(w, rejected.NAMES)
    for given, message in (
        ((w[::-1],), "variables must be the 5 arrays that the optimizer was built with, in that order"),
        ((w[:4],), "variables must be the 5 arrays that the optimizer was built with, in that order"),
        ((w, rejected.NAMES[:4]), "names must have one entry for each of the 5 variables, got 4"),
        ((w, list("abcde")), "names must be those"),
    ):
        with pytest.raises(ValueError, match=rf"^{message}"):
            training.optimizer.build(*given)
        assert training.everything() == before


ON_THE_DEVICE = (
    "must be an array on the device: of Numba, CuPy or PyTorch, got an ndarray, in the host's memory$"
)


def test_arrays_of_the_host_are_refused() -> None:
    host = np.ones(3, np.float32)
    w, g = to_device(host), to_device(host)
    optimizer = cuda.SGD(0.5)
    with pytest.raises(TypeError, match=rf"^variables\[1\] {ON_THE_DEVICE}"):
        optimizer.build([w, host])
    with pytest.raises(TypeError, match=rf"^variables\[0\] {ON_THE_DEVICE}"):
        optimizer.apply([g], [host])
    with pytest.raises(TypeError, match=rf"^gradients\[0\] {ON_THE_DEVICE}"):
        optimizer.apply([host], [w])
    assert not optimizer.built
    optimizer.apply([g], [w])
    with pytest.raises(TypeError, match=rf"^gradients\[0\] {ON_THE_DEVICE}"):
        optimizer.apply([host])
    with pytest.raises(TypeError, match=rf"^variables\[0\] {ON_THE_DEVICE}"):
        optimizer.apply([g], [host])
    with pytest.raises(TypeError, match=rf"^variables\[0\] {ON_THE_DEVICE}"):
        optimizer.finalize_variable_values([host])
    with pytest.raises(TypeError, match=rf"^var_list\[0\] {ON_THE_DEVICE}"):
        cuda.SGD(weight_decay=0.1).exclude_from_weight_decay([host])
    assert w.copy_to_host().tolist() == [0.5] * 3


def test_what_is_excluded_from_weight_decay_is_known_by_its_memory() -> None:
    shapes = [(3,), (0,), (2, 2), ()]
    pair = Pair([np.ones(shape, np.float32) for shape in shapes], learning_rate=0.5, weight_decay=0.5)
    fresh: list[Any] = [sgd_ref.SGD(0.5, weight_decay=0.5), cuda.SGD(0.5, weight_decay=0.5)]
    for optimizer, variables in zip(fresh, (pair.hosts, pair.devices), strict=True):
        optimizer.exclude_from_weight_decay(variables[1:3])
        optimizer.build(variables)
    pair.inner = pair.optimizers = fresh
    pair.apply([np.ones(shape, np.float32) for shape in shapes])
    assert pair.hosts[0].tolist() != pair.hosts[2].ravel()[:3].tolist()


def test_a_wrapper_of_the_host_is_refused_with_the_remedy() -> None:
    w, g = to_device(np.ones(3, np.float32)), to_device(np.ones(3, np.float32))
    remedy = "must be wrapped by numba_kernels.cuda.LossScaleOptimizer, got sgd_ref.LossScaleOptimizer$"
    optimizer: Any = sgd_ref.LossScaleOptimizer(cuda.SGD(0.5))
    optimizer.build([w])
    rows = sgd_ref.SparseRows([0], np.ones(1, np.float32), (3,))
    for gradient in (g, rows):
        with pytest.raises(TypeError, match=remedy):
            optimizer.apply([gradient])
    assert (optimizer.calls, w.copy_to_host().tolist()) == (0, [1.0] * 3)


def test_an_optimizer_is_not_copied() -> None:
    optimizer = cuda.SGD(0.5)
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"^an optimizer on the device cannot be copied or pickled"):
            copied(optimizer)


def test_weights_and_names_are_those_of_the_reference() -> None:
    generator = np.random.default_rng(1)
    for chosen in (
        EVERYTHING,
        {},
        {"learning_rate": schedules.ExponentialDecay(0.5, 3, 0.5), "momentum": 0.5},
    ):
        pair = Pair([numbers(generator, (2, 3), np.float32), numbers(generator, 4, np.float16)], **chosen)
        for _ in range(3):
            pair.apply([numbers(generator, (2, 3), np.float32), numbers(generator, 4, np.float16)])
        reference, device = pair.inner
        assert device.variable_names == reference.variable_names
        saved = device.get_weights()
        pairs.assert_equal_bits("weights", reference.get_weights(), saved)
        given = [array if isinstance(array, np.ndarray) else to_host(array) for array in device.variables]
        pairs.assert_equal_bits("variables", saved, given)
        for _ in range(2):
            pair.apply([numbers(generator, (2, 3), np.float32), numbers(generator, 4, np.float16)])
        for optimizer in pair.inner:
            optimizer.set_weights(saved)
        pair.compare()
        # What is returned is a copy.
        for array in saved:
            array[...] = 0
        pair.apply([numbers(generator, (2, 3), np.float32), numbers(generator, 4, np.float16)])


def warned(act: Callable[[], Any]) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        act()
    assert len(caught) == 1, [str(each.message) for each in caught]
    return caught[0].filename


def test_warnings_name_the_file_of_the_caller() -> None:
    w, g = (to_device(np.ones(2, np.float16)) for _ in range(2))
    assert warned(lambda: cuda.SGD(momentum=1e-9).build([w])) == __file__
    assert warned(lambda: named("nothing")) == __file__
    averaged = cuda.SGD(use_ema=True)
    averaged.build([w, g])
    assert warned(lambda: averaged.finalize_variable_values([w, g])) == __file__
    assert warned(lambda: averaged.apply([to_device(np.ones(2, np.float16)), None])) == __file__
    scaled = cuda.LossScaleOptimizer(cuda.SGD(0.5))
    scaled.build([w, g])
    assert warned(lambda: scaled.apply([to_device(np.ones(2, np.float16)), None])) == __file__


def named(part: str) -> None:
    optimizer = cuda.SGD(weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=[part])
    optimizer.build([to_device(np.ones(2, np.float32))])


def move(array: Any, memory: Any) -> None:
    """Give an array of the simulator other memory with the same values, as PyTorch where `data` is set."""
    memory[...] = array._ary
    array._ary = memory


@simulated_only
@pytest.mark.parametrize("index", [0, 1])
def test_variables_that_move_in_memory_are_followed(index: int) -> None:
    generator = np.random.default_rng(2)
    shapes = [(9, 5), (3,)]
    pair = Pair([numbers(generator, shape, np.float32) for shape in shapes], **EVERYTHING)
    shape = shapes[index]
    for memory in (None, np.empty(shape, np.float32), np.empty((*shape, 2), np.float32)[..., 0]):
        if memory is not None:
            old = pair.devices[index]._ary
            move(pair.devices[index], memory)
            old[...] = 7
        for _ in range(2):
            pair.apply([numbers(generator, shape, np.float32) for shape in shapes])
    move(pair.devices[index], np.empty(shape, np.float32))
    pair.inner[0].finalize_variable_values(pair.hosts)
    pair.inner[1].finalize_variable_values(pair.devices)
    pair.compare()


@simulated_only
def test_variables_that_become_something_else_are_refused() -> None:
    w, g = to_device(np.ones(4, np.float32)), to_device(np.ones(4, np.float32))
    optimizer = cuda.SGD(0.5, momentum=0.5)
    optimizer.apply([g], [w])
    original = w._ary
    for other in (np.ones(5, np.float32), np.ones((2, 2), np.float32), np.ones(4, np.float16)):
        w._ary = other
        with pytest.raises(
            ValueError, match=r"^variable_0 must be float32 of shape .* on device 0, as it was when"
        ):
            optimizer.apply([g])
        assert (other == 1).all()
    w._ary = original
    assert optimizer.calls == 1
    optimizer.apply([g])
    assert w.copy_to_host().tolist() == [-0.25] * 4
