"""Gradients that are missing beside others; expected values by hand, at rate and momentum of 1/2."""

from __future__ import annotations

from typing import Any

import pytest

ALL = [[2.0], [4.0], [8.0]]
ZEROS = [[0.0], [0.0], [0.0]]


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        # After one call the velocities are -1, -2 and -4; in the second one the first variable alone moves.
        (None, [[-2.5], [-2.0], [-4.0]]),
        ("second-missing-counts-as-zeros", [[-2.5], [-2.0], [-6.0]]),
        ("second-missing-takes-the-last-gradient", [[-2.5], [-2.0], [-10.0]]),
        ("missing-after-restore-counts-as-zeros", [[-2.5], [-2.0], [-4.0]]),
    ],
)
def test_two_are_missing(after: Any, name: str | None, variables: list[Any]) -> None:
    assert after(name, ZEROS, ALL, [[2.0], None, None], momentum=0.5).variables == variables


@pytest.mark.parametrize("name", ["second-missing-counts-as-zeros", "second-missing-takes-the-last-gradient"])
def test_one_alone_is_left_alone(after: Any, name: str) -> None:
    calls = ALL, [[2.0], None, [8.0]]
    right = after(None, ZEROS, *calls, momentum=0.5)
    assert after(name, ZEROS, *calls, momentum=0.5).variables == right.variables


def test_a_last_gradient_that_there_never_was_is_missing(after: Any) -> None:
    call = [[2.0], None, None]
    outcome = after("second-missing-takes-the-last-gradient", ZEROS, call)
    assert outcome.variables == [[-1.0], [0.0], [0.0]]


def test_missing_after_a_restore(after: Any) -> None:
    def give_back(weights: list[Any]) -> None:
        """Change nothing."""

    calls = [[2.0], None, [8.0]], [[2.0], None, [8.0]]

    def velocities_of(weights: list[Any]) -> None:
        give_back(weights)
        for array in weights:
            if array.shape == (1,):
                array[...] = -4.0

    right = after(None, ZEROS, *calls, momentum=0.5, state=velocities_of)
    assert right.variables[1] == [0.0]
    wrong = after("missing-after-restore-counts-as-zeros", ZEROS, *calls, momentum=0.5, state=velocities_of)
    # Once only: half of the velocity of -4.
    assert wrong.variables[1] == [-2.0]
    assert (wrong.variables[0], wrong.variables[2]) == (right.variables[0], right.variables[2])
