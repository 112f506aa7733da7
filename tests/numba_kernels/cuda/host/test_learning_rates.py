"""Learning rates on the device: numbers, callables and schedules, also past the end of their table."""

from __future__ import annotations

import math
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels import cuda
from numba_kernels.cuda.device import layout
from numba_kernels.cuda.host import rate_table
from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.cuda.toolkit import cuda as numba_cuda
from sgd_ref import schedules
from sgd_ref.schedules import LearningRateSchedule

pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))
Pair, numbers = pairs.Pair, pairs.numbers

DECAYS = schedules.ExponentialDecay(0.5, 3, 0.7)
RISES = schedules.PolynomialDecay(0.1, 50, 0.9)


def one() -> list[Any]:
    return [np.array([1.0, -2.0, 3.0], np.float32)]


class Counted(LearningRateSchedule):
    """A schedule of the caller's own that tells for which calls it was asked."""

    def __init__(self, last: int | None = None) -> None:
        self.asked: list[int] = []
        self.last = last

    def __call__(self, step: int) -> float:
        self.asked.append(step)
        if self.last is not None and step > self.last:
            raise LookupError(f"there is no rate for call {step}")
        return 1.0 / (step + 2)

    def get_config(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("rates_ahead", [2, 4, 1024])
def test_a_schedule_over_more_calls_than_its_table_has_room_for(rates_ahead: int) -> None:
    pair = Pair(one(), learning_rate=DECAYS, momentum=0.5, rates_ahead=rates_ahead)
    for _ in range(11):
        pair.apply(one())
        assert pair.inner[0].learning_rate == pair.inner[1].learning_rate


def test_a_schedule_beyond_the_rates_that_are_computed_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_table, "AHEAD", 3)
    schedule = Counted()
    pair = Pair(one(), learning_rate=schedule, gradient_accumulation_steps=2, rates_ahead=8)
    for _ in range(20):
        pair.apply(one())
    # Each rate once by the reference and once for the device, but none a third time.
    assert max(schedule.asked.count(call) for call in range(20)) == 2


@pytest.mark.parametrize("rates_ahead", [2, 4, 16])
def test_a_schedule_of_which_the_host_does_not_know_the_count(rates_ahead: int) -> None:
    generator = np.random.default_rng(1)
    settings = {"learning_rate": DECAYS, "gradient_accumulation_steps": 2}
    pair = Pair(one(), scaling=(8.0, 3), rates_ahead=rates_ahead, **settings)
    for call in range(21):
        gradients = one()
        if generator.random() < 0.4:
            gradients[0][call % 3] = [np.inf, np.nan][call % 2]
        # To compare would be to ask the device.
        pair.apply(gradients, is_compared=call % 7 == 6)


def test_rates_that_are_set_between_calls() -> None:
    pair = Pair(one(), learning_rate=0.5, momentum=0.5, rates_ahead=4)
    for rate in (0.25, DECAYS, 0.0, RISES, -0.0, DECAYS, lambda: 0.125, 0.5, lambda: 0.25, RISES, RISES):
        for optimizer in pair.inner:
            optimizer.learning_rate = rate
        assert pair.inner[0].learning_rate == pair.inner[1].learning_rate
        for _ in range(3):
            pair.apply(one())


def test_a_rate_that_is_set_before_there_are_variables() -> None:
    optimizer = cuda.SGD(0.5)
    optimizer.learning_rate = 0.25
    (w,) = (numba_cuda.to_device(array) for array in one())
    optimizer.apply([numba_cuda.to_device(np.ones(3, np.float32))], [w])
    assert w.copy_to_host().tolist() == [0.75, -2.25, 2.75]


@pytest.mark.parametrize("scaling", [None, (4.0, 2)])
def test_a_callable_is_called_once_a_call(scaling: tuple[float, int] | None) -> None:
    asked: dict[str, int] = {"reference": 0, "device": 0}

    def rate_of(name: str) -> Any:
        def rate() -> float:
            asked[name] += 1
            return 0.5 / asked[name]

        return rate

    pair = Pair(one(), scaling=scaling, learning_rate=0.0, gradient_accumulation_steps=2)
    for optimizer, name in zip(pair.inner, asked, strict=True):
        optimizer.learning_rate = rate_of(name)
    for call in range(6):
        # A skipped call has a rate, too.
        pair.apply([one()[0] * (np.inf if call == 3 and scaling else 1)])
        assert asked["device"] == asked["reference"] == call + 1


def test_a_callable_that_makes_a_call_is_refused() -> None:
    armed = False

    def rate() -> float:
        nonlocal armed
        if armed:
            armed = False
            optimizer.apply([g])
        return 0.5

    w, g = (numba_cuda.to_device(array) for array in one() * 2)
    optimizer = cuda.SGD(rate)
    for _ in range(2):
        optimizer.apply([g], [w])
    armed = True
    with pytest.raises(RuntimeError, match="the callable learning_rate must not call apply"):
        optimizer.apply([g])
    assert optimizer.calls == 2


@pytest.mark.parametrize("scaling", [None, (2.0, 2)], ids=str)
@pytest.mark.parametrize("form", [pairs.to_device, pairs.with_gaps], ids=["whole", "gaps"])
@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.5, "nesterov": True, "use_ema": True, "weight_decay": 0.25},
        {"gradient_accumulation_steps": 2, "momentum": 0.5, "global_clipnorm": 0.5},
        {"clipnorm": 0.5},
    ],
    ids=str,
)
def test_a_call_sees_all_that_its_callable_has_written(settings: Any, form: Any, scaling: Any) -> None:
    """As in the reference, of which other tests say what it sees."""
    gradients = [[np.full(3, 0.75, np.float32)], [pairs.to_device(np.full(3, 0.75, np.float32))]]
    pair = Pair(one(), layout=form, scaling=scaling, learning_rate=0.5, **settings)
    for optimizer, variables, own in zip(pair.inner, (pair.hosts, pair.devices), gradients, strict=True):

        def rate(optimizer: Any = optimizer, variables: Any = variables, own: Any = own) -> float:
            kept = [*optimizer.velocities, *optimizer.averages, *optimizer.accumulators]
            for place, array in enumerate([*variables, *own, *kept]):
                array[place % 3] = array[place % 3] + np.float32(0.125 * (place + 1))
            return 0.5

        optimizer.learning_rate = rate
    for _ in range(5):
        for optimizer, own in zip(pair.optimizers, gradients, strict=True):
            optimizer.apply(own)
        pair.compare()


@pytest.mark.parametrize("next_rate", [0.25, DECAYS, lambda: 0.125], ids=["number", "schedule", "callable"])
@pytest.mark.parametrize("has_graph", [False, True])
def test_a_rate_that_a_callable_sets_is_for_the_next_call(next_rate: Any, has_graph: bool) -> None:
    pair = Pair(one(), learning_rate=0.5)
    pair.apply(one())
    pair.inner[1]._state.has_graph = has_graph
    for optimizer in pair.inner:

        def rate(optimizer: Any = optimizer) -> float:
            optimizer.learning_rate = next_rate
            return 0.75

        optimizer.learning_rate = rate
    for _ in range(3):
        pair.apply(one())


def test_a_number_that_a_callable_sets_is_there_for_replays() -> None:
    pair = Pair(one(), learning_rate=0.5)
    pair.apply(one())
    device = pair.inner[1]
    device._state.has_graph = True

    def rate() -> float:
        device.learning_rate = 0.25
        return 0.75

    device.learning_rate = rate
    device.apply([pairs.to_device(one()[0])])
    assert device._state.numbers.download()[layout.RATE] == 0.25


@pytest.mark.parametrize("scaling", [None, (2.0, 2)], ids=str)
def test_a_callable_may_read_the_counts_and_the_scale(scaling: Any) -> None:
    pair = Pair(one(), scaling=scaling, learning_rate=0.5)
    for outer, optimizer in zip(pair.optimizers, pair.inner, strict=True):

        def rate(outer: Any = outer, optimizer: Any = optimizer) -> float:
            scale = float(getattr(outer, "loss_scale", 1.0))
            return float(scale / 2 ** (4 + optimizer.iterations + outer.calls))

        optimizer.learning_rate = rate
    for value in (1.0, np.inf, 1.0, 1.0, np.nan, 1.0):
        if scaling is None and not np.isfinite(value):
            continue
        pair.apply([np.full(3, value, np.float32)], is_compared=False)
    pair.compare()


@pytest.mark.skipif(not IS_SIMULATED, reason="replaces the memory of arrays of the simulator")
@pytest.mark.parametrize("calls_before", [0, 1, 2])
@pytest.mark.parametrize("form", [pairs.to_device, pairs.with_gaps], ids=["whole", "gaps"])
def test_a_callable_may_move_variables_in_memory(form: Any, calls_before: int) -> None:
    pair = Pair(one(), learning_rate=0.5, momentum=0.5)
    for _ in range(calls_before):
        pair.apply(one())
    (device,) = pair.devices

    def rate() -> float:
        device._ary = device._ary.copy()
        return 0.5

    pair.inner[1].learning_rate = rate
    for _ in range(3):
        pair.apply(one(), layout=form)


@pytest.mark.skipif(not IS_SIMULATED, reason="replaces the memory of arrays of the simulator")
def test_a_callable_may_move_gradients_of_an_ordinary_call() -> None:
    pair = Pair(one(), learning_rate=0.5, momentum=0.5)
    pair.apply(one())
    wanted, given = one()[0], pairs.to_device(one()[0])

    def of_reference() -> float:
        wanted[:] *= 2
        return 0.5

    def of_device() -> float:
        given._ary = given._ary * np.float32(2)
        return 0.5

    for optimizer, rate in zip(pair.inner, (of_reference, of_device), strict=True):
        optimizer.learning_rate = rate
    for _ in range(3):
        pair.inner[0].apply([wanted])
        pair.inner[1].apply([given])
        pair.compare()


def test_a_schedule_that_ends_fails_in_the_call_that_needs_it() -> None:
    pair = Pair(one(), learning_rate=0.5, momentum=0.5)
    for optimizer in pair.inner:
        optimizer.learning_rate = Counted(last=4)
    for _ in range(5):
        pair.apply(one())
    for _ in range(2):
        with pytest.raises(LookupError, match=r"there is no rate for call 5"):
            pair.optimizers[1].apply([pairs.to_device(one()[0])])
        pair.compare()
    for optimizer in pair.inner:
        optimizer.learning_rate = DECAYS
    pair.apply(one())


def test_a_schedule_that_fails_leaves_the_one_before_as_it_was() -> None:
    pair = Pair(one(), learning_rate=DECAYS, rates_ahead=4)
    for _ in range(3):
        pair.apply(one())
    with pytest.raises(LookupError):
        pair.inner[1].learning_rate = Counted(last=2)
    assert pair.inner[1].learning_rate == pair.inner[0].learning_rate
    for _ in range(5):
        pair.apply(one())


def test_weights_that_are_set_back_find_the_rates_of_their_calls() -> None:
    for rate in (DECAYS, 0.25, lambda: 0.5):
        settings = {"gradient_accumulation_steps": 3, "use_ema": True, "ema_overwrite_frequency": 2}
        pair = Pair(one(), learning_rate=rate, momentum=0.5, rates_ahead=4, **settings)
        saved: list[list[Any]] = []
        for call in range(11):
            if call in (0, 1, 5):
                saved = [optimizer.get_weights() for optimizer in pair.inner]
            if call in (4, 10):
                for optimizer, weights in zip(pair.inner, saved, strict=True):
                    optimizer.set_weights(weights)
            pair.apply(one())


def test_weights_with_many_calls() -> None:
    for calls in (5, 2**31, 2**62 + 1):
        pair = Pair(one(), learning_rate=DECAYS, gradient_accumulation_steps=2, rates_ahead=4)
        for optimizer in pair.inner:
            weights = optimizer.get_weights()
            optimizer.set_weights([np.array(calls), *weights[1:]])
        for _ in range(3):
            pair.apply(one())


def prepared(calls: int, **settings: Any) -> Any:
    pair = Pair(one(), learning_rate=DECAYS, rates_ahead=8, **settings)
    pair.apply(one())
    pair.inner[1].prepare_replays(calls)
    return pair


def test_rates_for_replays_are_there() -> None:
    pair = prepared(8)
    state: Any = pair.inner[1]._state
    assert state.rates.is_current(DECAYS, 1, 8)
    calls, values = state.rates.calls.download(), state.rates.values.download()
    assert sorted(calls.tolist()) == list(range(1, 9))
    for call, value in zip(calls.tolist(), values, strict=True):
        assert value == np.float32(DECAYS(call))
    for _ in range(4):
        pair.apply(one())


def test_replays_of_a_number_need_nothing() -> None:
    pair = Pair(one(), learning_rate=0.5)
    pair.inner[1].prepare_replays(1024)
    pair.apply(one())


@pytest.mark.parametrize(
    ("calls", "error", "message"),
    [
        (0, ValueError, "calls must be"),
        (9, ValueError, "calls must be at most 8, the optimizer's rates_ahead, got 9"),
        (1.5, TypeError, "calls must be"),
        (True, TypeError, "calls must be"),
    ],
)
def test_numbers_of_replays_that_are_refused(calls: Any, error: type[Exception], message: str) -> None:
    pair = prepared(3)
    with pytest.raises(error, match=rf"^{message}"):
        pair.inner[1].prepare_replays(calls)
    pair.apply(one())


def test_replays_without_variables_are_refused() -> None:
    with pytest.raises(RuntimeError, match=r"the optimizer has no variables yet"):
        cuda.SGD(DECAYS).prepare_replays(1)


@pytest.mark.parametrize(
    ("value", "error"),
    [(1, ValueError), (3, ValueError), (0, ValueError), (2.0, TypeError), (True, TypeError)],
)
def test_capacities_that_are_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^rates_ahead must be"):
        cuda.SGD(rates_ahead=value)


def test_the_capacity_is_no_part_of_the_config() -> None:
    optimizer = cuda.SGD(DECAYS, rates_ahead=4)
    assert optimizer.rates_ahead == 4
    assert "rates_ahead" not in optimizer.get_config()
    assert cuda.SGD.from_config(optimizer.get_config()).rates_ahead == 1024


def test_the_table_by_itself() -> None:
    table, schedule = rate_table.RateTable(4), Counted()
    assert table.count == 1
    table.fill(schedule, None, 5, 5)
    assert table.count == 4
    assert [table.is_current(schedule, call, call) for call in (5, 8, 9)] == [True, True, False]
    assert table.calls.host.tolist() == [8, 5, 6, 7]
    assert not table.is_current(DECAYS, 5, 5)
    with pytest.raises(ValueError, match=r"calls must be at most 4, as rates_ahead says, got 5"):
        table.fill(schedule, None, 5, 9)
    table.fill(schedule, None, 7, 9)
    assert sorted(table.calls.host.tolist()) == [7, 8, 9, 10]
    assert schedule.asked == [5, 6, 7, 8, 9, 10]
    table.fill(np.float32(0.5), None, 10, 10)
    assert table.count == 1
    assert table.values.host[0] == 0.5
    assert math.isclose(1 / 12, table.values.host[2], rel_tol=1e-6)
