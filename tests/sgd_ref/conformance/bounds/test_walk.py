"""Walking along trajectories: what is computed, copied, left out, hidden, flushed, skipped and counted."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.arithmetic.formats import FLOAT16, FLOAT32, FORMATS, Array
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.bounds.walk import Walk
from sgd_ref.conformance.catalogue.case import Case, LossScaling, Record, State
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import LISTS

STANDARD = {case.id: case for case in conformance.cases() if case.made is None}
EXACT = [name for name in STANDARD if name.startswith("exact/")]


def array(*values: float, dtype: np.dtype[Any] = FLOAT32) -> Array:
    return np.array(values, dtype)


def case_of(*gradients: Array | None, dtype: np.dtype[Any] = FLOAT32, **settings: Any) -> Case:
    """A case of one variable, of whose elements one is a negative zero; of two if a gradient is missing."""
    own = {name: settings.pop(name) for name in ("state", "loss_scaling", "finalize") if name in settings}
    variables: tuple[Array, ...] = (array(1.3, -0.0, dtype=dtype),)
    calls: tuple[tuple[Array | None, ...], ...] = tuple((gradient,) for gradient in gradients)
    if any(gradient is None for gradient in gradients):
        variables += (array(0.5, dtype=dtype),)
        calls = tuple((gradient, array(0.25, dtype=dtype)) for gradient in gradients)
    return Case("walk", PLAIN_CONFIG | settings, ("w", "other")[: len(variables)], variables, calls, **own)


G = array(0.7, 0.0)
H = array(-0.37, 0.0)


def violation(case: Case, observed: list[Record], **options: Any) -> Violation | None:
    return Walk(case, reference.run(case), observed, {}, **options).first_violation()


def changed(case: Case, call: int, quantity: str, value: Any, position: int = 0) -> list[Record]:
    """The trajectory of the reference but for one array of one record."""
    observed = copy.deepcopy(reference.run(case))
    if quantity in LISTS:
        observed[call][quantity][position] = value
    else:
        observed[call][quantity] = value
    return observed


def without(trajectory: list[Record], *quantities: str) -> list[Record]:
    return [{key: value for key, value in record.items() if key not in quantities} for record in trajectory]


def one_unit_off(values: Array, generator: np.random.Generator) -> Array:
    """A copy in which one element, which is drawn, is the next number of the dtype."""
    result = values.copy()
    flat = result.reshape(-1)
    bits = flat.view(f"u{flat.itemsize}")
    bits[generator.integers(flat.size)] += 1
    return result


@pytest.mark.share(4)
@pytest.mark.parametrize("left_out", [(), ("velocities", "learning_rate")], ids=["all", "some-left-out"])
@pytest.mark.parametrize("name", EXACT)
def test_one_unit_off_is_outside_of_exact_cases(name: str, left_out: tuple[str, ...]) -> None:
    case, generator = STANDARD[name], np.random.default_rng(7)
    expected = reference.run(case)
    for quantity in LISTS:
        if not expected[0][quantity] or quantity in left_out:
            continue
        call = int(generator.integers(len(case.gradients)))
        position = int(generator.integers(len(case.variables)))
        observed = without(expected, *left_out)
        values = one_unit_off(expected[call][quantity][position], generator)
        observed[call] = observed[call] | {quantity: list(expected[call][quantity])}
        observed[call][quantity][position] = values
        found = Walk(case, expected, observed, {}).first_violation()
        assert found is not None, quantity
        assert (found.call, found.variable) == (call, case.names[position])


def test_a_violation_says_where_and_between_what() -> None:
    case = case_of(G, H)
    found = violation(case, changed(case, 1, "variables", array(5, -0.0)))
    assert found is not None
    assert (found.call, found.quantity, found.variable, found.element) == (1, "variables", "w", (0,))
    assert found.observed == 5
    assert found.lower <= float(reference.run(case)[1]["variables"][0][0]) <= found.upper
    assert str(found) == "call 1, variables of w[0]: 5, where 1.2484374 is the only possible value"


def test_each_call_goes_on_from_what_was_reported() -> None:
    case = case_of(G, H, array(0.1, 0.2), momentum=0.875)
    observed = reference.run(case)
    # A velocity that is wrong in one call, and taken as the state in the next, is wrong in one call only.
    observed[0]["velocities"][0] = array(3, 0)
    walk = Walk(case, reference.run(case), observed, {})
    with np.errstate(all="ignore"):
        calls = [(found.call, found.quantity) for found in walk._violations()]
    assert calls[0] == (0, "velocities")
    assert (1, "velocities") in calls
    assert not any(call == 2 for call, _ in calls)


@pytest.mark.parametrize("quantity", ["velocities", "accumulators"])
def test_state_that_is_not_reported_is_followed(quantity: str) -> None:
    case = case_of(G, H, H, G, G, H, momentum=0.875, gradient_accumulation_steps=2)
    observed = without(reference.run(case), quantity)
    assert violation(case, observed) is None
    observed[3]["variables"] = [observed[3]["variables"][0] * np.float32(1.0001)]
    found = violation(case, observed)
    assert found is not None
    assert (found.call, found.quantity) == (3, "variables")


def test_hidden_state_is_wider_than_what_is_reported() -> None:
    name = "hidden-float32"
    case = STANDARD["axes/float16/momentum"]
    observed = FAITHFUL[name].run(case)
    assert violation(case, observed) is not None
    assert violation(case, observed, is_state_hidden=True) is None
    observed[-1]["variables"][0] = observed[-1]["variables"][0] * FLOAT16.type(1.5)
    assert violation(case, observed, is_state_hidden=True) is not None


def test_subnormal_numbers_become_zero_only_where_that_was_declared() -> None:
    tiny = 2.0**-127
    case = case_of(array(tiny, 0), array(tiny, 0), momentum=0.5)
    observed = reference.run(case)
    for record in observed:
        assert 0 < -record["velocities"][0][0] < 2.0**-126
        record["velocities"][0] = record["velocities"][0] * array(0, 1)
    found = violation(case, observed)
    assert found is not None
    assert found.quantity == "velocities"
    assert violation(case, observed, flushes=True) is None
    observed[1]["velocities"][0] = array(1e-30, 0)
    assert violation(case, observed, flushes=True) is not None


class TestCopies:
    """Copies are compared bit for bit, so that even the sign of a zero counts."""

    ZERO = array(0, 0)

    def check(self, case: Case, call: int, quantity: str, **options: Any) -> None:
        expected = reference.run(case)
        for index in range(2):
            values = expected[call][quantity][0].copy()
            if values[index] == 0:
                values[index] = -values[index]
                found = violation(case, changed(case, call, quantity, values), **options)
                assert found is not None
                assert (found.call, found.quantity, found.element) == (call, quantity, (index,))
                break
        else:
            pytest.fail("no zero there")

    def test_the_first_average_is_the_variable(self) -> None:
        self.check(case_of(None, H, use_ema=True), 0, "averages")
        case = case_of(G, H, use_ema=True)
        units = np.nextafter(reference.run(case)[0]["averages"][0], FLOAT32.type(9))
        assert violation(case, changed(case, 0, "averages", units)) is not None

    def test_an_overwritten_variable_is_the_average(self) -> None:
        case = case_of(G, H, use_ema=True, ema_overwrite_frequency=2)
        self.check(case, 1, "variables")
        units = np.nextafter(reference.run(case)[1]["averages"][0], FLOAT32.type(9))
        found = violation(case, changed(case, 1, "variables", units))
        assert found is not None
        # Where both change together, it is an evaluation of the average that is judged.
        observed = changed(case, 1, "variables", units)
        observed[1]["averages"][0] = units
        found = violation(case, observed)
        assert found is None or found.quantity == "averages"

    def test_a_missing_gradient_leaves_everything(self) -> None:
        for quantity in ("variables", "velocities"):
            self.check(case_of(G, None, momentum=0.5), 1, quantity)
        self.check(case_of(G, None, G, gradient_accumulation_steps=3), 1, "accumulators")

    def test_an_accumulator_is_reset_to_a_positive_zero(self) -> None:
        case = case_of(G, -H, gradient_accumulation_steps=2)
        self.check(case, 1, "accumulators")
        assert not np.signbit(reference.run(case)[1]["accumulators"][0]).any()

    def test_accumulating_calls_leave_the_rest(self) -> None:
        for quantity in ("variables", "velocities", "averages"):
            case = case_of(G, -H, G, gradient_accumulation_steps=2, momentum=0.5, use_ema=True)
            self.check(case, 0 if quantity == "variables" else 2, quantity)

    def test_skipped_calls_leave_everything(self) -> None:
        infinite = array(math.inf, 0)
        case = case_of(G, infinite, H, momentum=0.5, use_ema=True, loss_scaling=LossScaling(8.0, 3))
        for quantity in ("variables", "velocities", "averages"):
            self.check(case, 1, quantity)

    def test_finalisation_stores_the_averages(self) -> None:
        self.check(case_of(G, H, use_ema=True, finalize=True), 2, "variables")
        self.check(case_of(G, H, use_ema=True, finalize=True), 2, "averages")


def test_both_zeros_are_the_same_number_where_something_is_computed() -> None:
    case = case_of(G, H)
    assert violation(case, changed(case, 0, "variables", reference.run(case)[0]["variables"][0] + 0)) is None


@pytest.mark.parametrize("quantity", ["iterations", "calls", "growth_counter", "loss_scale"])
def test_counters_are_exact(quantity: str) -> None:
    case = case_of(G, H, G, loss_scaling=LossScaling(8.0, 2))
    value = reference.run(case)[1][quantity]
    found = violation(case, changed(case, 1, quantity, value + 1))
    assert found is not None
    assert (found.call, found.quantity, found.observed, found.lower) == (1, quantity, value + 1, value)


def test_learning_rates_are_judged_where_they_are_reported() -> None:
    case = case_of(G, H, learning_rate=0.1)
    found = violation(case, changed(case, 1, "learning_rate", np.float32(0.2)))
    assert found is not None
    assert (found.call, found.quantity) == (1, "learning_rate")
    # A wrong rate that is not reported shows in what it moved.
    trajectory = without(reference.run(case), "learning_rate")
    assert violation(case, trajectory) is None
    trajectory[1]["variables"] = [trajectory[0]["variables"][0] - np.float32(0.2) * H]
    found = violation(case, trajectory)
    assert found is not None
    assert (found.call, found.quantity) == (1, "variables")


def test_a_resumed_case_starts_from_its_state() -> None:
    state = State(3, (array(0.5, -0.25),), (array(2, 1),), (array(0.3, 0.1),))
    case = case_of(
        G, H, G, momentum=0.5, use_ema=True, gradient_accumulation_steps=2, state=state, learning_rate=0.5
    )
    expected = reference.run(case)
    for left_out in ((), ("velocities",), ("accumulators",), ("velocities", "accumulators", "averages")):
        assert violation(case, without(expected, *left_out)) is None
        walk = Walk(case, expected, without(expected, *left_out), {}, everywhere=True)
        assert walk.first_violation() is None
        assert {quantity for _, quantity, _, _ in walk.enclosed} == set(LISTS)
    forgetful = case_of(G, H, G, momentum=0.5, use_ema=True, gradient_accumulation_steps=2, learning_rate=0.5)
    observed = [
        given | wanted_counts(record)
        for given, record in zip(reference.run(forgetful), expected, strict=True)
    ]
    assert violation(case, observed) is not None


def wanted_counts(record: Record) -> Record:
    return {"iterations": record["iterations"], "calls": record["calls"]}


def test_the_mean_may_be_taken_with_one_factor_for_scale_and_steps() -> None:
    # The loss scale and the number of steps are divided by together: g * (1 / (scale * steps)).
    generator = np.random.default_rng(5)
    variable = array(*generator.standard_normal(400))
    gradients = [array(*generator.standard_normal(400)) for _ in range(3)]
    config = PLAIN_CONFIG | {
        "loss_scale_factor": 96.0,
        "gradient_accumulation_steps": 3,
        "clipvalue": 100.0,
        "learning_rate": 1.0,
    }
    case = Case("factor", config, ("w",), (variable,), tuple((gradient,) for gradient in gradients))
    observed = without(reference.run(case), "accumulators")
    factor = np.float32(1) / (np.float32(96) * np.float32(3))
    total = gradients[0] + gradients[1] + gradients[2]
    observed[2]["variables"] = [variable - total * factor]
    assert violation(case, observed) is None
    observed[2]["variables"] = [variable - total * factor * np.float32(1 + 2.0**-18)]
    assert violation(case, observed) is not None


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_everything_is_enclosed_on_request(dtype: np.dtype[Any]) -> None:
    case = case_of(array(0.7, 0.1, dtype=dtype), array(0.3, 0.4, dtype=dtype), dtype=dtype, momentum=0.5)
    expected = reference.run(case)
    walk = Walk(case, expected, expected, {}, everywhere=True)
    assert walk.first_violation() is None
    assert [(call, quantity) for call, quantity, _, _ in walk.enclosed] == [
        (call, quantity) for call in range(2) for quantity in ("velocities", "variables")
    ]
    for call, quantity, position, possible in walk.enclosed:
        assert possible.holds(expected[call][quantity][position]).all()
    narrow = Walk(case, expected, expected, {})
    assert narrow.first_violation() is None
    assert all(possible.lower.size == 0 for _, _, _, possible in narrow.enclosed)
