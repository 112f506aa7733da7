"""The amount of weight decay: a variable of 16 with a gradient of 4, at the learning rate 1/2."""

from __future__ import annotations

from typing import Any

import pytest

DECAY = {"weight_decay": 0.5}


@pytest.mark.parametrize(
    ("name", "decayed"),
    [(None, 4.0), ("decay-doubled", 8.0), ("decay-halved", 2.0), ("decay-times-loss-scale", 4.0)],
)
def test_one_update(after: Any, name: str | None, decayed: float) -> None:
    assert after(name, [[16.0]], [[4.0]], **DECAY).variables == [[16 - decayed - 2]]
    assert after(name, [[16.0]], [[4.0]]).variables == [[14.0]]


def test_decay_is_multiplied_by_the_scale(after: Any) -> None:
    fixed = {**DECAY, "loss_scale_factor": 2.0}
    assert after(None, [[16.0]], [[8.0]], **fixed).variables == [[10.0]]
    assert after("decay-times-loss-scale", [[16.0]], [[8.0]], **fixed).variables == [[16 - 8.0 - 2]]
    outcome = after("decay-times-loss-scale", [[16.0]], [[8.0]], loss_scale=2.0, **DECAY)
    assert outcome.variables == [[16 - 8.0 - 2]]
