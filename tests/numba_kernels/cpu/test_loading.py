"""Optimizers with kernels from files and copies: training goes on as if nothing had happened."""

from __future__ import annotations

import copy
import pickle
import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import numba_kernels
import sgd_ref

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
numbers, with_gaps, assert_equal_bits = (
    agreement["numbers"],
    agreement["with_gaps"],
    agreement["assert_equal_bits"],
)

PACKAGES = {"sgd_ref": sgd_ref, "numba_kernels": numba_kernels}
SHAPES = [(3, 5), (700,), (), (0, 4)]
TYPES = [np.float32, np.float16, np.float64, ml_dtypes.bfloat16]

FEATURES: dict[str, dict[str, Any]] = {
    "nothing": {"learning_rate": 0.25},
    "momentum": {"learning_rate": 0.25, "momentum": 0.9, "nesterov": True},
    "everything": {
        "learning_rate": sgd_ref.schedules.ExponentialDecay(0.25, 3, 0.5),
        "momentum": 0.9,
        "weight_decay": 0.01,
        "clipnorm": 1.0,
        "use_ema": True,
        "ema_momentum": 0.9,
        "ema_overwrite_frequency": 2,
        "gradient_accumulation_steps": 2,
    },
}


class Training:
    """An optimizer, its variables, and the same gradients for everybody."""

    def __init__(self, optimizer: Any, variables: list[Any]) -> None:
        self.optimizer = optimizer
        self.variables = variables

    @classmethod
    def begun(cls, package: Any, features: Any, wrapped: bool, **arguments: Any) -> Training:
        generator = np.random.default_rng(1)
        variables = [
            numbers(generator, shape, dtype, 0.1) for shape, dtype in zip(SHAPES, TYPES, strict=True)
        ]
        optimizer = package.SGD(**features, **arguments)
        if wrapped:
            optimizer = sgd_ref.LossScaleOptimizer(optimizer, 4.0, 2, "scaler")
        optimizer.exclude_from_weight_decay(var_names=["bias"])
        optimizer.build(variables, ["kernel", "bias", "scalar", "empty"])
        return cls(optimizer, variables)

    @property
    def inner(self) -> Any:
        return getattr(self.optimizer, "inner_optimizer", self.optimizer)

    def go_on(self, first: int, last: int) -> Training:
        for call in range(first, last):
            generator = np.random.default_rng(100 + call)
            self.optimizer.apply(
                [numbers(generator, shape, dtype) for shape, dtype in zip(SHAPES, TYPES, strict=True)]
            )
        return self


def assert_same(expected: Training, found: Training) -> None:
    assert found.optimizer.get_config() == expected.optimizer.get_config()
    assert found.optimizer.variable_names == expected.optimizer.variable_names
    assert found.inner._state.names == expected.inner._state.names
    assert found.inner._state.decayed == expected.inner._state.decayed
    assert (found.optimizer.calls, found.optimizer.iterations) == (
        expected.optimizer.calls,
        expected.optimizer.iterations,
    )
    assert_equal_bits("state", expected.optimizer.variables, found.optimizer.variables)
    assert_equal_bits("variables", expected.variables, found.variables)


def blank() -> list[Any]:
    return [np.full(shape, 7, dtype) for shape, dtype in zip(SHAPES, TYPES, strict=True)]


every_kind = pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
wrapped_or_not = pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "wrapped"])


@pytest.mark.share(3)
@every_kind
@wrapped_or_not
@pytest.mark.parametrize("saved_by", PACKAGES)
@pytest.mark.parametrize("calls", [0, 3])
def test_what_either_package_saved_goes_on_with_kernels(
    features: Any, wrapped: bool, saved_by: str, calls: int, tmp_path: Path
) -> None:
    path = tmp_path / "training.npz"
    saved = Training.begun(PACKAGES[saved_by], features, wrapped).go_on(0, calls)
    sgd_ref.save(path, saved.optimizer, saved.variables)
    variables = blank()
    loaded = Training(numba_kernels.load(path, variables, threads=2), variables)
    assert type(loaded.optimizer) is (sgd_ref.LossScaleOptimizer if wrapped else numba_kernels.SGD)
    assert type(loaded.inner) is numba_kernels.SGD
    assert loaded.inner.threads == 2
    assert_same(saved, loaded)
    reference = Training.begun(sgd_ref, features, wrapped).go_on(0, calls + 4)
    assert_same(reference, loaded.go_on(calls, calls + 4))


@wrapped_or_not
def test_what_was_saved_with_kernels_goes_on_in_the_reference(wrapped: bool, tmp_path: Path) -> None:
    features = FEATURES["everything"]
    saved = Training.begun(numba_kernels, features, wrapped, threads=2).go_on(0, 3)
    sgd_ref.save(tmp_path / "training.npz", saved.optimizer, saved.variables)
    variables = blank()
    loaded = Training(sgd_ref.load(tmp_path / "training.npz", variables), variables)
    assert type(loaded.inner) is sgd_ref.SGD
    assert_same(saved.go_on(3, 7), loaded.go_on(3, 7))


def test_into_variables_with_gaps(tmp_path: Path) -> None:
    saved = Training.begun(sgd_ref, FEATURES["everything"], False).go_on(0, 3)
    sgd_ref.save(tmp_path / "training.npz", saved.optimizer, saved.variables)
    variables = [with_gaps(array) if array.ndim else array for array in blank()]
    assert not variables[0].flags.c_contiguous
    loaded = Training(numba_kernels.load(tmp_path / "training.npz", variables), variables)
    assert loaded.inner.threads == 1
    assert_same(saved.go_on(3, 7), loaded.go_on(3, 7))


def test_a_callable_rate_is_given_again(tmp_path: Path) -> None:
    def features() -> dict[str, Any]:
        return {"learning_rate": lambda: 0.125, "momentum": 0.5}

    saved = Training.begun(numba_kernels, features(), False).go_on(0, 2)
    path = tmp_path / "training.npz"
    sgd_ref.save(path, saved.optimizer, saved.variables)
    variables = blank()
    with pytest.raises(ValueError, match="learning_rate"):
        numba_kernels.load(path, variables)
    assert_equal_bits("variables", blank(), variables)
    loaded = Training(numba_kernels.load(path, variables, lambda: 0.125), variables)
    assert_same(saved.go_on(2, 4), loaded.go_on(2, 4))


def test_the_scale_of_the_loss_is_loaded_after_it_changed(tmp_path: Path) -> None:
    saved = Training.begun(numba_kernels, FEATURES["momentum"], True).go_on(0, 3)
    overflown = [np.full(shape, np.inf, dtype) for shape, dtype in zip(SHAPES, TYPES, strict=True)]
    for _ in range(2):
        saved.optimizer.apply(overflown)
    saved.go_on(3, 4)
    sgd_ref.save(tmp_path / "training.npz", saved.optimizer, saved.variables)
    loaded = numba_kernels.load(tmp_path / "training.npz", blank())
    assert isinstance(loaded, sgd_ref.LossScaleOptimizer)
    assert (loaded.loss_scale, loaded.growth_counter) == (
        saved.optimizer.loss_scale,
        saved.optimizer.growth_counter,
    )
    assert (loaded.loss_scale, loaded.growth_counter) == (2.0, 1)


def a_list_too_short(path: Path, variables: list[Any]) -> Any:
    return numba_kernels.load(path, variables[:-1])


def another_shape(path: Path, variables: list[Any]) -> Any:
    return numba_kernels.load(path, [np.full((5, 3), 7, np.float32), *variables[1:]])


def another_dtype(path: Path, variables: list[Any]) -> Any:
    return numba_kernels.load(path, [np.full((3, 5), 7, np.float64), *variables[1:]])


def a_damaged_file(path: Path, variables: list[Any]) -> Any:
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)
    return numba_kernels.load(path, variables)


def no_file(path: Path, variables: list[Any]) -> Any:
    return numba_kernels.load(path.with_name("another"), variables)


def no_rate(path: Path, variables: list[Any]) -> Any:
    return numba_kernels.load(path, variables, "fast")  # type: ignore[arg-type]


def no_threads(path: Path, variables: list[Any]) -> Any:
    return numba_kernels.load(path, variables, threads=0)


def threads_of_another_type(path: Path, variables: list[Any]) -> Any:
    return numba_kernels.load(path, variables, threads=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        (a_list_too_short, ValueError),
        (another_shape, ValueError),
        (another_dtype, ValueError),
        (a_damaged_file, ValueError),
        (no_file, OSError),
        (no_rate, TypeError),
        (no_threads, ValueError),
        (threads_of_another_type, TypeError),
    ],
)
def test_after_an_error_the_variables_are_as_they_were(mistake: Any, error: Any, tmp_path: Path) -> None:
    path = tmp_path / "training.npz"
    saved = Training.begun(numba_kernels, FEATURES["momentum"], False).go_on(0, 2)
    sgd_ref.save(path, saved.optimizer, saved.variables)
    variables = blank()
    with pytest.raises(error):
        mistake(path, variables)
    assert_equal_bits("variables", blank(), variables)


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda both: pickle.loads(pickle.dumps(both)),  # noqa: S301
    "pickle of protocol 2": lambda both: pickle.loads(pickle.dumps(both, 2)),  # noqa: S301
}


@every_kind
@wrapped_or_not
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_in_mid_training_goes_on_alike(features: Any, wrapped: bool, copied: Any) -> None:
    original = Training.begun(numba_kernels, features, wrapped, threads=2).go_on(0, 3)
    twin = Training(*copied((original.optimizer, original.variables)))
    twin.optimizer.build(twin.variables)
    assert twin.inner.threads == 2
    assert_same(original, twin)
    before = [array.tobytes() for array in (*original.variables, *original.optimizer.variables)]
    twin.go_on(3, 7)
    assert [array.tobytes() for array in (*original.variables, *original.optimizer.variables)] == before
    assert_same(Training.begun(sgd_ref, features, wrapped).go_on(0, 7), twin)
    assert_same(original.go_on(3, 7), twin)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_the_optimizer_alone_goes_on_with_other_arrays(copied: Any) -> None:
    original = Training.begun(numba_kernels, FEATURES["momentum"], False).go_on(0, 3)
    before = [array.tobytes() for array in original.variables]
    twin = Training(copied(original.optimizer), [array.copy() for array in original.variables])
    # Addresses mean nothing in a copy, or in another process.
    assert original.optimizer._plan is not None
    assert twin.optimizer._plan is None
    twin.optimizer.rebind(twin.variables)
    twin.go_on(3, 5)
    assert [array.tobytes() for array in original.variables] == before
    assert original.optimizer.calls == 3
    assert_same(original.go_on(3, 5), twin)


@pytest.mark.parametrize("copied", [*COPIES.values(), copy.copy], ids=[*COPIES, "copy"])
def test_a_copy_of_one_that_is_not_built(copied: Any) -> None:
    twin = copied(numba_kernels.SGD(0.5, momentum=0.5, threads=3))
    assert not twin.built
    assert twin.threads == 3
    w = np.ones(3, np.float32)
    twin.apply([w.copy()], [w])
    assert w.tolist() == [0.5] * 3


def test_the_config_has_no_threads() -> None:
    optimizer = numba_kernels.SGD(0.5, momentum=0.5, threads=2)
    assert optimizer.get_config() == sgd_ref.SGD(0.5, momentum=0.5).get_config()
    assert "threads" not in optimizer.get_config()
    assert numba_kernels.SGD.from_config(optimizer.get_config()).threads == 1
    wrapper = sgd_ref.LossScaleOptimizer(optimizer)
    assert "threads" not in wrapper.get_config()["inner_optimizer"]["config"]


def test_nothing_is_said_while_loading(tmp_path: Path) -> None:
    """What there is to say about settings was said when the optimizer was built."""
    w = np.ones(3, np.float16)
    optimizer = numba_kernels.SGD(0.5, use_ema=True, ema_momentum=1 - 1e-9)
    with pytest.warns(UserWarning, match="ema_momentum"):
        optimizer.build([w])
    sgd_ref.save(tmp_path / "training.npz", optimizer, [w])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        numba_kernels.load(tmp_path / "training.npz", [w])
