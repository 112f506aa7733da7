"""A second user of an optimizer on the device is refused while it is at work, as on the host."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels import cuda
from numba_kernels.cuda.host.buffers import Buffer
from numba_kernels.cuda.host.device_state import DeviceState
from sgd_ref.base.exclusive import alone
from sgd_ref.schedules import ExponentialDecay

pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))

REFUSED = "this optimizer is at work in another call"
METHODS = {
    "apply": lambda optimizer, w, weights: optimizer.apply([pairs.to_device(np.ones(3, np.float32))]),
    "build": lambda optimizer, w, weights: optimizer.build([w]),
    "get_weights": lambda optimizer, w, weights: optimizer.get_weights(),
    "set_weights": lambda optimizer, w, weights: optimizer.set_weights(weights),
    "finalize": lambda optimizer, w, weights: optimizer.finalize_variable_values([w]),
    "exclude": lambda optimizer, w, weights: optimizer.exclude_from_weight_decay(),
    "prepare": lambda optimizer, w, weights: getattr(optimizer, "inner_optimizer", optimizer).prepare_replays(
        1
    ),
}


def made(rate: Any, is_scaled: bool) -> tuple[Any, Any, Any]:
    inner = cuda.SGD(rate, momentum=0.5, use_ema=True)
    return (
        inner,
        cuda.LossScaleOptimizer(inner, 4.0) if is_scaled else inner,
        pairs.to_device(np.ones(3, "f4")),
    )


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_all_that_changes_or_copies_the_state_is_refused(method: Any, is_scaled: bool) -> None:
    inner, optimizer, w = made(ExponentialDecay(0.5, 3, 0.7), is_scaled)
    optimizer.apply([pairs.to_device(np.ones(3, np.float32))], [w])
    weights, before = optimizer.get_weights(), w.copy_to_host()
    weights[0 if not is_scaled else 4] = np.array(9)
    with alone(inner._running), pytest.raises(RuntimeError, match=REFUSED):
        method(optimizer, w, weights)
    assert (optimizer.calls, w.copy_to_host().tolist()) == (1, before.tolist())
    optimizer.apply([pairs.to_device(np.ones(3, np.float32))])
    assert optimizer.calls == 2


@pytest.mark.parametrize("is_scaled", [False, True])
def test_a_build_under_way_is_not_made_twice(is_scaled: bool) -> None:
    inner, optimizer, w = made(0.5, is_scaled)
    with alone(inner._running), pytest.raises(RuntimeError, match=REFUSED):
        optimizer.build([w])
    assert not optimizer.built


def test_scale_and_counter_are_set_while_nobody_else_can_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    _, optimizer, w = made(0.5, is_scaled=True)
    optimizer.apply([pairs.to_device(np.ones(3, np.float32))], [w])
    weights = optimizer.get_weights()
    weights[2], weights[3] = np.array(7), np.array(16, np.float32)
    asked: list[DeviceState] = []

    def set_growth(state: DeviceState, *growth: Any) -> None:
        original(state, *growth)
        with pytest.raises(RuntimeError, match=REFUSED):
            optimizer.get_weights()
        asked.append(state)

    original = DeviceState.set_growth
    monkeypatch.setattr(DeviceState, "set_growth", set_growth)
    optimizer.set_weights(weights)
    assert len(asked) == 1
    assert (optimizer.growth_counter, optimizer.loss_scale) == (7, 16)


def test_all_weights_are_set_where_a_warning_is_an_error() -> None:
    optimizer = cuda.LossScaleOptimizer(cuda.SGD(0.5), 4.0)
    optimizer.build([pairs.to_device(np.ones(3, np.float16))])
    weights = optimizer.get_weights()
    weights[2], weights[3], weights[5] = np.array(7), np.array(16, np.float32), np.array(1e-8, np.float32)
    with pytest.raises(UserWarning, match="becomes 0 in float16"):
        optimizer.set_weights(weights)
    assert [array.tolist() for array in optimizer.get_weights()] == [array.tolist() for array in weights]


def test_a_rate_that_is_set_during_a_call_leaves_the_device_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the call has still to copy and to launch must not be mixed with it; the next call has the rate."""
    inner, optimizer, w = made(0.5, is_scaled=False)
    optimizer.build([w])
    with monkeypatch.context() as patch:
        patch.setattr(Buffer, "upload", lambda *arguments: pytest.fail("the device is at work"))
        with alone(inner._running):
            optimizer.learning_rate = 0.25
    optimizer.apply([pairs.to_device(np.ones(3, np.float32))])
    assert w.copy_to_host().tolist() == [0.75] * 3
