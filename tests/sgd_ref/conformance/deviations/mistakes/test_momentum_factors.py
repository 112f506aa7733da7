"""Factors of momentum: a variable of 16 after two updates with gradients of 4, at the learning rate 1/2."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.conformance import Case
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.trajectories import reference


@pytest.mark.parametrize(
    ("name", "momentum", "variables"),
    [
        (None, 0.5, (14.0, 11.0)),
        ("rate-multiplies-old-velocity", 0.5, (14.0, 14 - 0.5 * (0.5 * 2 + 4))),
        ("momentum-is-its-complement", 0.25, (14.0, 14 - (0.75 * 2 + 2))),
        ("momentum-squared", 0.5, (14.0, 14 - (0.25 * 2 + 2))),
        ("velocity-debiased", 0.5, (16 - 2 / 0.5, 12 - 3 / 0.75)),
        ("step-dampened", 0.5, (15.0, 15 - 0.5 * 3)),
    ],
)
def test_two_updates(after: Any, name: str | None, momentum: float, variables: tuple[float, float]) -> None:
    calls = ([[4.0]], [[4.0]])
    for count, variable in enumerate(variables, 1):
        assert after(name, [[16.0]], *calls[:count], momentum=momentum).variables == [[variable]]


def test_a_velocity_without_a_bias_is_not_divided(after: Any) -> None:
    assert after("velocity-debiased", [[16.0]], [[4.0]], momentum=1.0).variables == [[14.0]]


def test_the_rate_multiplies_a_velocity_that_is_a_sum() -> None:
    config = SGD(0.5, momentum=0.5).get_config()
    gradient = np.array([4.0])
    case = Case("a", config, ("w",), (np.array([16.0]),), ((gradient,),) * 2)
    records = reference.run(case, *compose(["rate-outside-velocity", "rate-multiplies-old-velocity"]))
    # The sums are 4 and 1/2 * 1/2 * 4 + 4.
    assert [float(record["variables"][0][0]) for record in records] == [14.0, 14 - 0.5 * 5]
