"""Velocities at two moments; expected values by hand, at a rate and a momentum of 1/2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.conformance.bounds.running_error.judging import fit
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.deviations import DEFINITION
from sgd_ref.conformance.deviations.moments import as_shown, earlier_velocity
from sgd_ref.conformance.trajectories import reference

NAME = ("velocity-by-shape",)


def numbers(*values: float) -> tuple[Any, ...]:
    return tuple(np.array([value], "float32") for value in values)


CASE = Case(
    "two variables",
    SGD(0.5, momentum=0.5).get_config(),
    ("a", "b"),
    numbers(0.0, 0.0),
    (numbers(2.0, 4.0),) * 2,
)
# The one velocity is -1 and -2.5 in the first call, and -2.25 and -3.125 in the second one.
END, EARLIER = [(-2.5, -2.5), (-3.125, -3.125)], [(-1.0, -2.5), (-2.25, -3.125)]
VARIABLES = [(-1.0, -2.5), (-3.25, -5.625)]


def shown(velocities: Any) -> list[dict[str, Any]]:
    return [
        {"variables": numbers(*variables), "velocities": numbers(*of_call), "calls": call + 1}
        for call, (variables, of_call) in enumerate(zip(VARIABLES, velocities, strict=True))
    ]


def test_each_velocity_is_kept_as_it_was_after_the_update() -> None:
    optimizer, _, record = list(reference.records(CASE, *DEFINITION.composed(NAME)))[-1]
    assert record["velocities"] == list(numbers(-3.125, -3.125))
    assert [earlier_velocity(optimizer, position) for position in (0, 1, 2)] == [
        *numbers(-2.25, -3.125),
        None,
    ]


def test_a_record_is_shown_at_the_nearer_moment() -> None:
    optimizer, _, record = list(reference.records(CASE, *DEFINITION.composed(NAME)))[-1]
    for seen, expected in ((-2.0, -2.25), (-3.0, -3.125), (np.nan, -3.125)):
        velocities = as_shown(optimizer, record, {"velocities": numbers(seen, -3.125)})["velocities"]
        assert velocities == list(numbers(expected, -3.125))
    assert as_shown(SGD(), record, {"velocities": numbers(0.0, 0.0)}) is record
    assert as_shown(optimizer, record, {}) is record


@pytest.mark.parametrize("velocities", [END, EARLIER, [END[0], EARLIER[1]], [EARLIER[0], END[1]]])
def test_an_answer_at_either_moment_fits_to_the_bit(velocities: Any) -> None:
    found = fit(CASE, NAME, shown(velocities))
    assert found.fits
    assert found.is_exact


@pytest.mark.parametrize("of_second_call", [(-2.5, -3.125), (-1.0, -3.125), (-2.25, -2.25)])
def test_an_answer_at_no_moment_does_not_fit(of_second_call: Any) -> None:
    found = fit(CASE, NAME, shown([EARLIER[0], of_second_call]))
    assert found.violation is not None
    assert (found.violation.quantity, found.violation.call) == ("velocities", 1)


def test_the_next_call_goes_on_from_the_variable_that_was_updated_last() -> None:
    """The second variable has no gradient in the second call, and the first one changes the velocity."""
    case = replace(CASE, gradients=(numbers(2.0, 4.0), (numbers(2.0)[0], None), numbers(2.0, 4.0)))
    # -1 and -2.5; -2.25; -2.125 and -3.0625.
    records = [
        {"variables": numbers(*variables), "velocities": numbers(*velocities)}
        for variables, velocities in (
            ((-1.0, -2.5), (-1.0, -2.5)),
            ((-3.25, -2.5), (-2.25, -2.5)),
            ((-5.375, -5.5625), (-2.125, -3.0625)),
        )
    ]
    found = fit(case, NAME, records)
    assert found.fits
    assert found.is_exact
