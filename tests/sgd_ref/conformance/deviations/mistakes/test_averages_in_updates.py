"""Averages in the course of updates: a variable of 16, gradients of 4, the learning rate 1/2."""

from __future__ import annotations

from typing import Any

import numpy as np

EMA = {"use_ema": True, "ema_momentum": 0.5}
CALLS = ([[4.0]],) * 3


def test_twice_in_each_update(after: Any) -> None:
    assert after("averaged-twice", [[16.0]], *CALLS[:1], **EMA).averages == [[14.0]]
    assert after("averaged-twice", [[16.0]], *CALLS[:2], **EMA).averages == [[12.5]]


def test_only_when_the_variables_are_overwritten(after: Any) -> None:
    due = {**EMA, "ema_overwrite_frequency": 2}
    outcomes = [
        after("averages-only-when-overwriting", [[16.0]], *CALLS[:count], **due) for count in (1, 2, 3)
    ]
    assert [outcome.averages for outcome in outcomes] == [[[14.0]], [[13.0]], [[13.0]]]
    assert outcomes[2].variables == [[11.0]]
    assert after(None, [[16.0]], *CALLS, **due).averages == [[12.0]]


def test_a_momentum_that_is_fed_back(after: Any) -> None:
    def average(old: float, w: float, momentum: float) -> float:
        m = np.float32(momentum)
        return float(m * np.float32(old) + (1 - m) * np.float32(w))

    second = average(14, 12, 1 - 2 / 11)
    third = average(second, 10, 1 - 3 / 12)
    for count, wanted in ((2, second), (3, third)):
        assert after("average-momentum-fed-back", [[16.0]], *CALLS[:count], **EMA).averages == [[wanted]]


def test_only_averages_move(after: Any) -> None:
    outcome = after("only-averages-move", [[16.0]], *CALLS, **EMA)
    assert outcome.variables == [[16.0]]
    assert outcome.averages == [[14.0]]
    assert after("only-averages-move", [[16.0]], *CALLS[:1]).variables == [[14.0]]
