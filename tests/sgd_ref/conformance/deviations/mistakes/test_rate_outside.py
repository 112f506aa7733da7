"""Mistakes where the rate is outside of the velocity: hand-written sums, the rates 1/2, 1/4, 1/4 and 1/8."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance import Case
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.deviations.forms import SumsKept

BASES = {"reported with the rate": Basis(("rate-outside-velocity",)), "sums kept": Basis(forms=(SumsKept,))}
RATES = (0.5, 0.25, 0.25, 0.125)
NESTEROV = {"nesterov": True}


def run(basis: Basis, name: str | None, values: list[float | None], **settings: Any) -> Trajectory:
    """Update an axisless variable of 8 by some gradients, beside another one that has one in each call."""
    calls = tuple((None if g is None else np.float64(g)[...], np.float64(0)[...]) for g in values)
    config = {"learning_rate": None, "momentum": 0.5, **settings}
    variables = (np.float64(8)[...], np.float64(8)[...])
    case = Case("a", config, ("w", "x"), variables, calls, learning_rate_calls=RATES[: len(calls)])
    return basis.run(case, () if name is None else (name,))


@pytest.mark.parametrize("form", BASES)
@pytest.mark.parametrize(
    ("name", "settings", "gradients", "variable"),
    [
        # The sums are 4 and 1/2 * 4 + 2 = 4.
        (None, {}, [4, 2], 8 - 0.5 * 4 - 0.25 * 4),
        ("ascends", {}, [4, 2], 8 + 0.5 * 4 + 0.25 * 4),
        ("rate-inside-and-outside-velocity", {}, [4, 2], 8 - 0.5 * 2 - 0.25 * (1 + 0.25 * 2)),
        ("velocity-starts-at-gradient", {}, [4, 2], 8 - 0.5 * (2 + 4) - 0.25 * (3 + 2)),
        ("missing-resets-velocity", {}, [4, None, 2], 8 - 0.5 * 4 - 0.25 * 2),
        ("missing-decays-velocity", {}, [4, None, 2], 8 - 0.5 * 4 - 0.25 * (1 + 2)),
        ("zero-elements-skipped", {}, [4, 0, 2], 8 - 0.5 * 4 - 0.25 * (2 + 2)),
        ("decay-after-update", {"weight_decay": 0.5}, [4], 6 - 6 * 0.5 * 0.5),
        # With Nesterov's sum: 2 + 4 and 2 + 2.
        (None, NESTEROV, [4, 2], 8 - 0.5 * (2 + 4) - 0.25 * (2 + 2)),
        ("nesterov-with-previous-gradient", NESTEROV, [4, 2], 8 - 0.5 * 2 - 0.25 * (2 + 4)),
        ("scalar-gradient-lost", NESTEROV, [4, 2], 8 - 0.5 * (2 + 4) - 0.25 * (1 + 2)),
        ("rate-inside-and-outside-velocity", NESTEROV, [4], 8 - 0.5 * (1 + 2)),
    ],
)
def test_sums(
    form: str, name: str | None, settings: dict[str, Any], gradients: list[float | None], variable: float
) -> None:
    assert run(BASES[form], name, gradients, **settings)[-1]["variables"][0] == variable


def test_a_sum_that_changes_without_a_gradient_is_reported() -> None:
    for name, sums in (("missing-resets-velocity", 0.0), ("missing-decays-velocity", 2.0)):
        with_rate, kept = (run(basis, name, [4, None]) for basis in BASES.values())
        assert (with_rate[-1]["velocities"][0], kept[-1]["velocities"][0]) == (-0.25 * sums, sums)
    assert run(BASES["reported with the rate"], None, [4, None])[-1]["velocities"][0] == -0.5 * 4


OVERWRITING = {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 1}


def test_what_changes_velocities_outside_of_the_update_changes_the_sums() -> None:
    # The first average is a copy, and the second one is 1/2 * 6 + 1/2 * (6 - 1/4 * 2).
    for basis in BASES.values():
        found = run(basis, "overwrite-resets-velocities", [4, 2], **OVERWRITING)[-1]
        assert found["variables"][0] == 5.75
    # The sum is 4, then 2 in the call that accumulates, and 1/2 * 2 + 2 in the second update.
    for basis in BASES.values():
        accumulating = {"gradient_accumulation_steps": 2}
        found = run(basis, "velocity-decays-while-accumulating", [4, 4, 2, 2], **accumulating)[-1]
        assert found["variables"][0] == 8 - 0.25 * 4 - 0.125 * 3


def test_a_dtype_that_no_gradient_had_is_no_error() -> None:
    assert run(BASES["sums kept"], "float64-updated-in-float32", [4, 2])[-1]["variables"][0] == 5
