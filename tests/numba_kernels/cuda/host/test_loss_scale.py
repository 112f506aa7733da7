"""Dynamic loss scaling on the device: skipped calls, of which the host learns only when it asks."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

import sgd_ref
from numba_kernels import cuda
from numba_kernels.cuda.host.buffers import Buffer
from numba_kernels.cuda.host.device_state import DeviceState

pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))
Pair, numbers = pairs.Pair, pairs.numbers
EVERYTHING = pairs.EVERYTHING | {"loss_scale_factor": None}
every_dtype = pytest.mark.parametrize("dtype", pairs.DTYPES, ids=lambda dtype: dtype.name)


@pytest.mark.share(3)
@every_dtype
@pytest.mark.parametrize("steps", [None, 2])
def test_skipped_calls_and_growth(dtype: Any, steps: int | None) -> None:
    generator = np.random.default_rng(1)
    shapes = [(4, 9), (45,)]
    settings = EVERYTHING | {"gradient_accumulation_steps": steps}
    pair = Pair([numbers(generator, shape, dtype) for shape in shapes], scaling=(4.0, 2), **settings)
    for call in range(8):
        gradients: list[Any] = [numbers(generator, shape, dtype) for shape in shapes]
        if call in (2, 3, 5):
            gradients[1][[0, 39, 40, 44][call % 4]] = [np.inf, np.nan, -np.inf][call % 3]
        pair.apply([None, gradients[1]] if call == 6 else gradients)


@every_dtype
def test_the_scale_stays_finite_and_normal(dtype: Any) -> None:
    for start, value in ((2.0**127, 1.0), (2.0**-126, np.inf), (2.0**-125, np.nan)):
        pair = Pair([np.ones(3).astype(dtype)], scaling=(start, 1))
        for _ in range(3):
            pair.apply([np.full(3, value).astype(dtype)])


def test_sparse_gradients_are_tested_as_their_dense_equivalent() -> None:
    pair = Pair([np.ones((4, 2), np.float32)], scaling=(4.0, 2))
    for values in ([[1.0, 2.0], [3e38, 3e38]], [[3e38, 1.0], [3e38, 1.0]], [[np.inf, 1.0], [-np.inf, 1.0]]):
        pair.apply([sgd_ref.SparseRows([1, 1], np.array(values, np.float32), (4, 2))])
    assert pair.inner[1].calls == 1


def test_one_inner_optimizer_with_and_without_a_wrapper() -> None:
    generator = np.random.default_rng(2)
    pair = Pair([numbers(generator, (4, 9), np.float32)], scaling=(4.0, 2), **EVERYTHING)
    wrapped = pair.optimizers
    for call in range(8):
        pair.optimizers = wrapped if call % 4 < 2 else pair.inner
        gradient = numbers(generator, (4, 9), np.float32)
        if call == 1:
            gradient[1, 1] = np.nan
        pair.apply([gradient])


def test_no_step_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    schedule = sgd_ref.schedules.ExponentialDecay(0.5, 3, 0.7)
    settings = EVERYTHING | {"learning_rate": schedule}
    pair = Pair([numbers(generator, 45, np.float32)], scaling=(4.0, 2), rates_ahead=32, **settings)
    with monkeypatch.context() as patch:
        for cls, name in ((Buffer, "download"), (DeviceState, "copies_to_host")):
            patch.setattr(cls, name, lambda self: pytest.fail("a step must not wait"))
        for call in range(12):
            gradient = numbers(generator, 45, np.float32)
            gradient[call] = np.inf if call % 3 == 1 else 0
            pair.apply([gradient], is_compared=False)
    pair.compare()


def test_where_the_host_has_lost_count_it_asks_in_time() -> None:
    schedule = sgd_ref.schedules.ExponentialDecay(0.5, 3, 0.7)
    pair = Pair([np.ones(3, np.float32)], scaling=(4.0, 2), rates_ahead=4, learning_rate=schedule)
    for call in range(12):
        pair.apply([np.full(3, np.nan if call < 7 else 1, np.float32)], is_compared=False)
    pair.compare()


def test_weights() -> None:
    generator = np.random.default_rng(4)
    pair = Pair([numbers(generator, 9, np.float32)], scaling=(4.0, 3), **EVERYTHING)
    for _ in range(4):
        pair.apply([numbers(generator, 9, np.float32)])
    reference, device = pair.optimizers
    assert device.variable_names == reference.variable_names
    saved = device.get_weights()
    pairs.assert_equal_bits("weights", reference.get_weights(), saved)
    for _ in range(2):
        pair.apply([np.full(9, np.nan, np.float32)])
    for optimizer in pair.optimizers:
        optimizer.set_weights(saved)
    assert (device.loss_scale, device.growth_counter) == (8.0, 1)
    for _ in range(3):
        pair.apply([numbers(generator, 9, np.float32)])


def test_a_wrapper_around_an_optimizer_that_is_built() -> None:
    generator = np.random.default_rng(5)
    pair = Pair([numbers(generator, 9, np.float32)], momentum=0.5)
    pair.apply([numbers(generator, 9, np.float32)])
    wrappers = sgd_ref.LossScaleOptimizer, cuda.LossScaleOptimizer
    pair.optimizers = [wrap(one, 4.0, 2) for wrap, one in zip(wrappers, pair.inner, strict=True)]
    for value in (1.0, np.inf, 1.0, 1.0, 1.0):
        pair.apply([np.full(9, value, np.float32)])


def test_losses_are_scaled_by_the_present_scale() -> None:
    pair = Pair([np.ones(3, np.float32)], scaling=(4.0, 1))
    for _ in range(2):
        for loss in (0.5, np.float16(3), np.array([1.0, 2.0], np.float32)):
            wanted, given = (optimizer.scale_loss(loss) for optimizer in pair.optimizers)
            assert np.array_equal(wanted, given)
            assert type(wanted) is type(given)
        pair.apply([np.ones(3, np.float32)])


def test_from_a_config() -> None:
    for rate in (0.1, sgd_ref.schedules.ExponentialDecay(0.5, 3, 0.7)):
        made = cuda.LossScaleOptimizer(cuda.SGD(rate, momentum=0.5, name="inner"), 8.0, 3, "outer")
        again = cuda.LossScaleOptimizer.from_config(made.get_config())
        assert type(again) is cuda.LossScaleOptimizer
        assert type(again.inner_optimizer) is cuda.SGD
        assert again.get_config() == made.get_config()
    rated = cuda.LossScaleOptimizer.from_config(made.get_config(), learning_rate=0.25)
    assert rated.learning_rate == 0.25
    with pytest.raises(TypeError, match=r"^config"):
        cuda.LossScaleOptimizer.from_config({"inner_optimizer": {"class_name": "Adam", "config": {}}})


@pytest.mark.parametrize(
    "inner", [None, sgd_ref.SGD(), cuda.SGD, 3], ids=["None", "reference", "class", "number"]
)
def test_other_inner_optimizers_are_refused(inner: Any) -> None:
    with pytest.raises(TypeError, match=r"^inner_optimizer must be a numba_kernels.cuda.SGD, got "):
        cuda.LossScaleOptimizer(inner)


def test_two_loss_scales_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^inner_optimizer must have no loss_scale_factor"):
        cuda.LossScaleOptimizer(cuda.SGD(loss_scale_factor=2.0))
