"""Launches that are exactly full; expected values by hand, at a rate of 1/2."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("name", "count", "moved"),
    [
        (None, 32, [-1.0] * 32),
        ("last-full-launch-lost", 32, [0.0] * 32),
        ("last-full-launch-lost", 33, [-1.0] * 33),
        ("last-full-launch-lost", 64, [-1.0] * 32 + [0.0] * 32),
        ("full-launch-made-twice", 32, [-2.0] * 32),
        ("full-launch-made-twice", 31, [-1.0] * 31),
        ("full-launch-made-twice", 64, [-1.0] * 32 + [-2.0] * 32),
    ],
)
def test_which_variables_are_updated(after: Any, name: str | None, count: int, moved: list[float]) -> None:
    assert after(name, [[0.0]] * count, [[2.0]] * count).variables == [[w] for w in moved]
