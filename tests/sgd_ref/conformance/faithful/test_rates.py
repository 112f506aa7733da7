"""Learning rates of faithful variants: schedules in floating point, and rates that stay float64."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from sgd_ref import SGD, conformance
from sgd_ref.arithmetic import exact
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.faithful.rates import RateInDouble, ScheduleInDouble, ScheduleInSingle, evaluated
from sgd_ref.conformance.trajectories.comparison import units_apart
from sgd_ref.schedules import PiecewiseConstantDecay
from sgd_ref.schedules.base import FormulaSchedule


def schedules() -> Iterator[tuple[Case, FormulaSchedule]]:
    for case in conformance.cases():
        schedule = SGD.from_config(case.config, 0.0 if case.learning_rate_calls else None).rate_source
        if isinstance(schedule, FormulaSchedule):
            yield case, schedule


def steps(case: Case) -> range:
    first = 0 if case.state is None else case.state.calls
    return range(first, first + len(case.gradients))


def exact_rate(schedule: FormulaSchedule, step: int) -> float:
    """The formula at the settings as given."""
    given = schedule.get_config().items()
    settings = SimpleNamespace(**{name: Fraction(v) for name, v in given if type(v) in (int, float)})
    return float(schedule.formula(step, settings, exact))


def test_a_schedule_in_double_is_the_formula() -> None:
    seen = 0
    for case, schedule in schedules():
        for step in steps(case):
            largest = max(abs(exact_rate(schedule, step)), abs(exact_rate(schedule, 0)))
            value = float(evaluated(schedule, step, np.float64))
            # 1 + cosine loses what the cosine of -1 hides.
            assert abs(value - exact_rate(schedule, step)) <= 64 * 2.0**-53 * max(largest, 1.0)
            seen += 1
    assert seen > 100


def test_a_schedule_in_single_is_near_the_definition() -> None:
    differing = 0
    for case, schedule in schedules():
        if not case.id.startswith("named/"):
            for step in steps(case):
                defined, value = schedule(step), evaluated(schedule, step, np.float32)
                units = float(units_apart(np.asarray(defined), np.asarray(value)))
                assert units <= case.learning_rate_units
                differing += units > 0
    assert differing > 0


@pytest.mark.parametrize("optimizer_class", [RateInDouble, ScheduleInSingle, ScheduleInDouble])
def test_rates_are_read_and_reported_alike(optimizer_class: type[SGD]) -> None:
    for case, schedule in schedules():
        optimizer = optimizer_class(schedule)
        variable = np.zeros(1)
        optimizer.build([variable])
        if case.state is None:
            for _ in steps(case):
                rate, before = optimizer.learning_rate, variable.copy()
                optimizer.apply([np.ones(1)])
                assert variable[0] == before[0] - np.float64(rate)


def test_rates_that_are_no_schedules_are_those_of_the_definition_unless_kept_in_double() -> None:
    piecewise = PiecewiseConstantDecay([2], [0.1, 0.2])
    for given in (0.1, lambda: 0.1, piecewise):
        for optimizer_class in (ScheduleInSingle, ScheduleInDouble):
            assert optimizer_class(given).learning_rate == np.float32(0.1)
        assert float(RateInDouble(given).learning_rate) == 0.1


def test_rates_in_double_can_be_set() -> None:
    optimizer = RateInDouble(0.1)
    optimizer.learning_rate = 0.3
    assert math.isclose(float(optimizer.learning_rate), 0.3, rel_tol=0)
    variable = np.zeros(1)
    optimizer.apply([np.ones(1)], [variable])
    assert variable[0] == -0.3
