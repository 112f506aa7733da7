"""A second user of an optimizer that is at work is refused at once, and disturbs nothing."""

from __future__ import annotations

import copy
import pickle
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import numba_kernels
import sgd_ref
from sgd_ref.base.exclusive import CALL, Running, alone

MAKERS: dict[str, Callable[[Any], Any]] = {
    "reference": lambda rate: sgd_ref.SGD(rate, momentum=0.5, use_ema=True),
    "kernels": lambda rate: numba_kernels.SGD(rate, momentum=0.5, use_ema=True),
    "loss scale": lambda rate: sgd_ref.LossScaleOptimizer(sgd_ref.SGD(rate, momentum=0.5, use_ema=True), 1.0),
    "loss scale around kernels": lambda rate: sgd_ref.LossScaleOptimizer(
        numba_kernels.SGD(rate, momentum=0.5, use_ema=True), 1.0
    ),
}
every_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)

REFUSED = "this optimizer is at work in another call"


class Gate:
    """A learning rate whose reading holds a call of ``apply`` until it is let go."""

    def __init__(self) -> None:
        self.reached, self.free = threading.Event(), threading.Event()
        self.holds = False

    def __call__(self) -> float:
        if self.holds:
            self.reached.set()
            assert self.free.wait(30)
        return 0.5


@every_maker
@pytest.mark.parametrize(
    "method",
    [
        "apply",
        "get_weights",
        "set_weights",
        "finalize_variable_values",
        "build",
        "rebind",
        "exclude_from_weight_decay",
    ],
)
def test_a_second_thread_is_refused_while_one_is_in_apply(make: Any, method: str) -> None:
    gate = Gate()
    w, g = np.ones(3, np.float32), np.ones(3, np.float32)
    optimizer = make(gate)
    optimizer.apply([g], [w])
    before = optimizer.get_weights()
    arguments = {
        "apply": ([g],),
        "get_weights": (),
        "set_weights": (before,),
        "finalize_variable_values": ([w],),
        "build": ([w],),
        "rebind": ([w.copy()],),
        "exclude_from_weight_decay": (),
    }[method]
    gate.holds = True
    failures: list[Exception] = []

    def first() -> None:
        try:
            optimizer.apply([g])
        except Exception as failure:  # noqa: BLE001
            failures.append(failure)

    thread = threading.Thread(target=first)
    thread.start()
    assert gate.reached.wait(30)
    held = w.copy()
    with pytest.raises(RuntimeError, match=REFUSED):
        getattr(optimizer, method)(*arguments)
    assert (w == held).all()
    assert optimizer.calls == 1
    gate.free.set()
    thread.join()
    assert not failures
    gate.holds = False
    optimizer.apply([g])
    expected, other = np.ones(3, np.float32), make(0.5)
    for _ in range(3):
        other.apply([g], [expected])
    assert w.tobytes() == expected.tobytes()
    assert optimizer.calls == 3


@every_maker
def test_no_call_is_lost_when_many_threads_call_at_once(make: Any) -> None:
    """Calls are made or refused; none is counted that was not made, and none is made uncounted."""
    optimizer = make(lambda: 0.5)
    w = np.zeros(50, np.float64)
    optimizer.build([w])
    made: list[int] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        count = 0
        for _ in range(200):
            try:
                optimizer.apply([np.zeros(50)])
                count += 1
            except RuntimeError as error:
                assert REFUSED in str(error)  # noqa: PT017
        made.append(count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert optimizer.calls == sum(made)
    optimizer.apply([np.zeros(50)])


@every_maker
@pytest.mark.parametrize("method", ["apply", "set_weights"])
def test_a_callable_rate_that_uses_its_own_optimizer_is_refused(make: Any, method: str) -> None:
    w, g = np.ones(2, np.float32), np.ones(2, np.float32)

    def rate() -> float:
        if optimizer.built and uses:
            getattr(optimizer, method)([g] if method == "apply" else weights)
        return 0.5

    optimizer, uses = make(rate), False
    optimizer.apply([g], [w])
    weights, before, uses = optimizer.get_weights(), w.copy(), True
    with pytest.raises(RuntimeError, match=REFUSED):
        optimizer.apply([g])
    assert (w == before).all()
    assert optimizer.calls == 1
    uses = False
    optimizer.apply([g])
    assert optimizer.calls == 2


@every_maker
def test_an_optimizer_works_again_after_an_error(make: Any) -> None:
    w = np.ones(2, np.float32)
    optimizer = make(0.5)
    optimizer.build([w])
    with pytest.raises(ValueError, match="shape"):
        optimizer.apply([np.ones(3, np.float32)])
    optimizer.apply([np.ones(2, np.float32)])
    assert optimizer.calls == 1


@pytest.mark.parametrize("package", [sgd_ref, numba_kernels])
def test_a_handler_of_warnings_that_calls_apply_is_refused(
    package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = package.SGD(0.5)
    w = [np.ones(1), np.ones(1)]
    optimizer.build(w)
    monkeypatch.setattr("warnings.showwarning", lambda *_: optimizer.apply([np.ones(1), np.ones(1)]))
    monkeypatch.setattr("warnings.filters", [("always", None, Warning, None, 0)])
    with pytest.raises(RuntimeError, match=REFUSED):
        optimizer.apply([np.ones(1), None])
    assert optimizer.calls == 0


def test_a_copy_made_during_a_call_is_at_no_work() -> None:
    running = Running()
    with alone(running):
        for other in (copy.deepcopy(running), pickle.loads(pickle.dumps(running))):  # noqa: S301
            with alone(other):
                assert CALL in other
        with pytest.raises(RuntimeError, match=REFUSED), alone(running):
            pass
        assert CALL in running
    assert not running


@every_maker
def test_a_schedule_that_calls_apply_is_refused(make: Any) -> None:
    class Applies(sgd_ref.schedules.LearningRateSchedule):
        def __call__(self, step: int) -> Any:
            optimizer.apply([np.ones(2)])
            return np.float32(0.5)

    optimizer = make(Applies())
    optimizer.build([np.ones(2)])
    with pytest.raises(RuntimeError, match=REFUSED):
        optimizer.apply([np.ones(2)])
    assert optimizer.calls == 0


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="Windows has no signals for users")
@every_maker
def test_a_handler_of_signals_that_calls_apply_is_refused(make: Any) -> None:
    def rate() -> float:
        signal.raise_signal(signal.SIGUSR1)
        return 0.5

    optimizer = make(rate)
    optimizer.build([np.ones(2)])
    before = signal.signal(signal.SIGUSR1, lambda *_: optimizer.apply([np.ones(2)]))
    try:
        with pytest.raises(RuntimeError, match=REFUSED):
            optimizer.apply([np.ones(2)])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert optimizer.calls == 0


@every_maker
def test_an_interrupt_in_a_call_leaves_the_optimizer_free(make: Any) -> None:
    def rate() -> float:
        if interrupts:
            raise KeyboardInterrupt
        return 0.5

    optimizer, interrupts = make(rate), True
    optimizer.build([np.ones(2)])
    with pytest.raises(KeyboardInterrupt):
        optimizer.apply([np.ones(2)])
    interrupts = False
    optimizer.apply([np.ones(2)])
    assert optimizer.calls == 1


@every_maker
def test_no_checkpoint_is_made_of_half_a_step(make: Any, tmp_path: Path) -> None:
    w, g = np.ones(3, np.float32), np.ones(3, np.float32)
    optimizer = make(0.5)
    optimizer.apply([g], [w])
    sgd_ref.save(tmp_path / "a", optimizer, [w])
    before = (tmp_path / "a").read_bytes()
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    with alone(inner._running), pytest.raises(RuntimeError, match=REFUSED):
        sgd_ref.save(tmp_path / "a", optimizer, [w])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == before
    sgd_ref.save(tmp_path / "a", optimizer, [w])


class Watched(sgd_ref.LossScaleOptimizer):
    """One of which a second thread asks for the state whenever the scale or the counter is written."""

    asked: int

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name in ("_scale", "_growth_counter") and "asked" in vars(self):
            self.asked += 1
            refused_in_a_thread(self.get_weights)


def refused_in_a_thread(method: Callable[[], Any]) -> None:
    found: list[object] = []

    def ask() -> None:
        try:
            found.append(method())
        except RuntimeError as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    (outcome,) = found
    assert isinstance(outcome, RuntimeError), outcome
    assert REFUSED in str(outcome)


@pytest.mark.parametrize("package", [sgd_ref, numba_kernels])
def test_scale_and_counter_are_set_while_nobody_else_can_come_in(package: Any) -> None:
    optimizer = Watched(package.SGD(0.5), 4.0)
    optimizer.apply([np.ones(2)], [np.ones(2)])
    weights = optimizer.get_weights()
    weights[2], weights[3] = np.array(7), np.array(16, np.float32)
    optimizer.asked = 0
    optimizer.set_weights(weights)
    assert optimizer.asked == 2
    assert (optimizer.growth_counter, optimizer.loss_scale) == (7, 16)


@pytest.mark.parametrize("package", [sgd_ref, numba_kernels])
def test_all_weights_are_set_where_a_warning_is_an_error(package: Any) -> None:
    optimizer = sgd_ref.LossScaleOptimizer(package.SGD(0.5), 4.0)
    optimizer.build([np.ones(2, np.float16)])
    weights = optimizer.get_weights()
    weights[2], weights[3], weights[5] = np.array(7), np.array(16, np.float32), np.array(1e-8, np.float32)
    with pytest.raises(UserWarning, match="becomes 0 in float16"):
        optimizer.set_weights(weights)
    assert [array.tolist() for array in optimizer.get_weights()] == [array.tolist() for array in weights]


@pytest.mark.parametrize("package", [sgd_ref, numba_kernels])
def test_a_callable_rate_cannot_exclude_what_is_being_built(package: Any) -> None:
    def rate() -> float:
        optimizer.exclude_from_weight_decay(var_names=["variable"])
        return 0.5

    optimizer = package.SGD(rate, weight_decay=0.5)
    with pytest.raises(RuntimeError, match=REFUSED):
        optimizer.apply([np.zeros(2)], [np.ones(2)])
    w = np.ones(2)
    optimizer.learning_rate = 0.5
    optimizer.apply([np.zeros(2)], [w])
    assert w.tolist() == [0.75, 0.75]
