"""Learning rates that a dtype does not have are told as the reference tells them, by all ways in."""

from __future__ import annotations

import runpy
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
from numba_kernels.cuda.host import rate_table
from sgd_ref.arithmetic.formats import BFLOAT16
from sgd_ref.schedules import ExponentialDecay, LearningRateSchedule, PiecewiseConstantDecay, PolynomialDecay

pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))

TINY, HUGE = 1e-8, 1e5
DTYPES = [np.dtype(np.float16), BFLOAT16, np.dtype(np.float32), np.dtype(np.float64)]
KINDS = {"reference": (sgd_ref, np.array), "device": (cuda, pairs.to_device)}

Action = Callable[[Any, Callable[[float], list[Any]]], Any]


class Listed(LearningRateSchedule):
    """A schedule of the caller's own: the rates of a list, and the last of them for ever."""

    def __init__(self, *rates: float) -> None:
        self.rates = rates

    def __call__(self, step: int) -> float:
        return self.rates[min(step, len(self.rates) - 1)]

    def get_config(self) -> dict[str, Any]:
        return {}


def told(action: Callable[[], Any]) -> list[str]:
    """Return the warnings of an action, each of which must be for a line of this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    found = [warning for warning in caught if not issubclass(warning.category, RuntimeWarning)]
    assert all(warning.filename == __file__ for warning in found)
    return [str(warning.message) for warning in found]


def one_by_one(
    kind: str, rate_of: Callable[[], Any], actions: list[Action], scaled: bool, dtypes: Any
) -> list[list[str]]:
    """Return the warnings of the constructor, of `build`, and of each action."""
    package, moved = KINDS[kind]
    made: list[Any] = []

    def make() -> None:
        made.append(package.SGD(rate_of(), momentum=0.5))

    def arrays(value: float) -> list[Any]:
        return [moved(np.full(3, value).astype(dtype)) for dtype in dtypes]

    messages = [told(make)]
    optimizer = package.LossScaleOptimizer(made[0], 1.0) if scaled else made[0]
    variables = arrays(1.0)
    messages.append(told(lambda: optimizer.build(variables)))
    return messages + [told(lambda: action(optimizer, arrays)) for action in actions]  # noqa: B023


def set_to(rate: Any) -> Action:
    return lambda optimizer, arrays: setattr(optimizer, "learning_rate", rate)


def call(optimizer: Any, arrays: Callable[[float], list[Any]]) -> None:
    gradients = arrays(1.0)
    optimizer.apply(gradients)


def skipped_call(optimizer: Any, arrays: Callable[[float], list[Any]]) -> None:
    optimizer.apply(arrays(np.inf))


def weights_with(rate: float) -> Action:
    def assign(optimizer: Any, arrays: Any) -> None:
        weights = optimizer.get_weights()
        place = 5 if hasattr(optimizer, "inner_optimizer") else 1
        weights[place] = np.array(rate, np.float32)
        optimizer.set_weights(weights)

    return assign


def returning(*rates: float) -> Callable[[], Any]:
    def rate_of() -> Any:
        left = iter(rates)
        return lambda: next(left)

    return rate_of


SEQUENCES: dict[str, tuple[Callable[[], Any], list[Action]]] = {
    "constructor": (lambda: TINY, [call, set_to(TINY), set_to(HUGE), call]),
    "constructor, in float32": (lambda: 1e-60, [set_to(1e-60), set_to(TINY)]),
    "constructor, to one": (lambda: 1 - 2.0**-20, [set_to(1 - 2.0**-24)]),
    "setter": (lambda: 0.5, [set_to(-TINY), call, set_to(HUGE), set_to(1e-60), set_to(1e-44), call]),
    "setter, to one": (lambda: 0.5, [set_to(1 - 2.0**-20), call]),
    "callable": (returning(0.5, TINY, TINY, HUGE, 1e-44, 1e-60), [call] * 6),
    "callable that is set": (lambda: 0.5, [call, set_to(lambda: HUGE), call, set_to(TINY)]),
    "schedule": (lambda: Listed(0.5, 0.5, TINY, 0.5, HUGE, 1e-44, 1e-60), [call] * 9),
    "schedule that is set": (lambda: 0.5, [call, set_to(Listed(0.5, 0.5, HUGE)), call, call, call]),
    "schedule, in float32": (lambda: Listed(0.5, 1e-60), [call] * 3),
    "schedule, to one": (lambda: Listed(1 - 2.0**-20), [call] * 2),
    "weights": (lambda: 0.5, [weights_with(TINY), weights_with(TINY), weights_with(HUGE), call]),
    "linear to zero": (lambda: PolynomialDecay(0.5, 3, end_learning_rate=0.0), [call] * 5),
    "zero from a step on": (lambda: PiecewiseConstantDecay([1], [0.5, 0.0]), [call] * 4),
}


@pytest.mark.share(4)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("rate_of", "actions"), SEQUENCES.values(), ids=SEQUENCES)
def test_the_warnings_are_those_of_the_reference(rate_of: Any, actions: list[Action], scaled: bool) -> None:
    wanted, given = (one_by_one(kind, rate_of, actions, scaled, DTYPES) for kind in KINDS)
    assert given == wanted


def test_the_sequences_have_warnings_in_them() -> None:
    counts = {
        name: sum(map(len, one_by_one("reference", rate_of, actions, False, DTYPES)))
        for name, (rate_of, actions) in SEQUENCES.items()
    }
    silent = {name for name, count in counts.items() if not count}
    assert silent == {"linear to zero", "zero from a step on", "schedule, to one"}


def test_a_schedule_that_decays_to_zero_by_its_own_rounding_is_silent() -> None:
    schedule = ExponentialDecay(0.5, 1, 1e-30)
    single = [np.dtype(np.float32)]
    assert not any(one_by_one("device", lambda: schedule, [call] * 5, False, single))


@pytest.mark.parametrize("rates_ahead", [2, 4])
def test_rates_that_are_computed_ahead_are_told_in_their_calls(
    rates_ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_table, "AHEAD", 3)
    optimizer = cuda.SGD(Listed(*[0.5] * 6, TINY), rates_ahead=rates_ahead)
    w, g = (pairs.to_device(np.ones(3, np.float16)) for _ in range(2))
    optimizer.build([w])
    found = [told(lambda: optimizer.apply([g])) for _ in range(9)]
    assert [len(messages) for messages in found] == [0, 0, 0, 0, 0, 0, 1, 0, 0]


def test_skipped_calls_may_be_told_of_a_later_rate_but_never_twice() -> None:
    """The host does not know that a call was skipped, and tells of the rate that is due if none was."""
    actions = [call, skipped_call, call, call, call]
    schedule = Listed(0.5, 0.5, TINY)
    wanted, given = (
        one_by_one(kind, lambda: schedule, actions, True, [np.dtype(np.float16)]) for kind in KINDS
    )
    assert [len(messages) for messages in wanted[2:]] == [0, 0, 0, 1, 0]
    assert [len(messages) for messages in given[2:]] == [0, 0, 1, 0, 0]
    assert wanted[5] == given[4]


def test_the_rates_of_replays_are_told_when_they_are_prepared() -> None:
    optimizer = cuda.SGD(Listed(0.5, 0.5, 0.5, TINY, HUGE), rates_ahead=8)
    optimizer.build([pairs.to_device(np.ones(3, np.float16))])
    assert told(lambda: optimizer.prepare_replays(3)) == []
    message = f"learning_rate={float(np.float32(TINY))!r} becomes 0 in float16"
    assert told(lambda: optimizer.prepare_replays(4)) == [message]
    assert told(lambda: optimizer.prepare_replays(5)) == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "rate_of", [lambda: Listed(0.5, TINY), returning(0.5, TINY)], ids=["schedule", "callable"]
)
def test_a_call_whose_warning_is_an_error_is_not_made(rate_of: Any) -> None:
    optimizer = cuda.SGD(rate_of(), momentum=0.5)
    w, g = (pairs.to_device(np.ones(3, np.float16)) for _ in range(2))
    optimizer.apply([g], [w])
    with pytest.raises(UserWarning, match="becomes 0 in float16"):
        optimizer.apply([g])
    assert optimizer.calls == 1
    assert w.copy_to_host().tolist() == [0.5] * 3


def test_a_rate_of_a_config_is_told_once() -> None:
    outer = {"inner_optimizer": {"class_name": "SGD", "config": {}}}
    for package in (sgd_ref, cuda):
        found = told(lambda: package.LossScaleOptimizer.from_config(outer, learning_rate=1e-60))  # noqa: B023
        assert found == ["learning_rate=1e-60 becomes 0 in float32"]
