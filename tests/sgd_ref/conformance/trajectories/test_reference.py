"""The reference as an implementation: it runs a case as the optimizers themselves do, and changes nothing."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgd_ref import SGD, LossScaleOptimizer
from sgd_ref.base.call import Call
from sgd_ref.conformance import Case, State, cases, strategies
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.grading.check import private_copy
from sgd_ref.conformance.protocol.encoding import case_to_json
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare
from sgd_ref.optimizer import Gradients, Values
from tests.conftest import Sweep

Records = list[dict[str, Any]]

EVERYTHING = {
    "update": "nesterov",
    "weight_decay": "exclusion",
    "clipping": "clipnorm",
    "averages": "overwrite",
    "accumulation": "3",
    "gradients": "sparse",
}


def by_hand(case: Case) -> Records:
    """The trajectory of a case of float settings, from the optimizers alone."""
    variables = [np.array(variable) for variable in case.variables]
    optimizer: Any = SGD(**case.config)
    if case.loss_scaling is not None:
        scaling = case.loss_scaling
        optimizer = LossScaleOptimizer(optimizer, scaling.initial_scale, scaling.dynamic_growth_steps)
    optimizer.exclude_from_weight_decay(var_names=list(case.excluded_from_weight_decay))
    optimizer.build(variables, list(case.names))
    records = []
    for gradients in case.gradients:
        rate = optimizer.learning_rate
        optimizer.apply(list(gradients))
        records.append(record_of(optimizer, variables) | {"learning_rate": rate})
    if case.finalize:
        optimizer.finalize_variable_values(variables)
        records.append(record_of(optimizer, variables))
    return records


def record_of(optimizer: Any, variables: list[Any]) -> dict[str, Any]:
    record = {
        "variables": [np.array(variable) for variable in variables],
        "velocities": [np.array(array) for array in optimizer.velocities],
        "averages": [np.array(array) for array in optimizer.averages],
        "accumulators": [np.array(array) for array in optimizer.accumulators],
        "iterations": optimizer.iterations,
        "calls": optimizer.calls,
    }
    if isinstance(optimizer, LossScaleOptimizer):
        record |= {"loss_scale": optimizer.loss_scale, "growth_counter": optimizer.growth_counter}
    return record


@pytest.mark.parametrize("loss_scaling", ["none", "fixed-96", "dynamic"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "mixed"])
def test_it_is_the_optimizer(dtype: str, loss_scaling: str) -> None:
    case = make_case(PLAINEST | EVERYTHING | {"dtype": dtype, "loss_scaling": loss_scaling})
    assert compare(case, by_hand(case), reference.run(case)).first is None


def test_it_has_a_record_for_each_call_and_one_after_finalisation(sweep: Sweep) -> None:
    every = cases()
    for index in sweep.generator.permutation(len(every))[: sweep.count(len(every), 4)]:
        case = every[index]
        records = reference.run(case)
        assert len(records) == len(case.gradients) + case.finalize
        assert all("learning_rate" in record for record in records[: len(case.gradients)])
        assert "learning_rate" not in records[len(case.gradients) :][:1]


def test_records_are_copies() -> None:
    records = reference.run(make_case(PLAINEST | EVERYTHING))
    for kind in ("variables", "velocities", "averages", "accumulators"):
        first, last = records[0][kind][0], records[-1][kind][0]
        assert not np.shares_memory(first, last)
    assert records[0]["variables"][0].tobytes() != records[2]["variables"][0].tobytes()


@settings(deadline=None, print_blob=True, max_examples=25)
@given(strategies.cases())
def test_a_case_is_not_changed_and_runs_the_same_again(case: Case) -> None:
    # In a copy, arrays can be changed.
    case = private_copy(case)
    before = case_to_json(case)
    first = reference.run(case)
    unchanged = case_to_json(case) == before
    assert unchanged
    assert compare(case, first, reference.run(case)).first is None


def test_a_callable_rate_is_read_call_by_call() -> None:
    case = make_case(PLAINEST | {"learning_rate": "callable"})
    rates = [record["learning_rate"] for record in reference.run(case)]
    assert case.learning_rate_calls is not None
    assert rates == [np.float32(rate) for rate in case.learning_rate_calls]
    assert len(set(rates)) > 3


def test_a_schedule_is_recorded_as_each_call_read_it() -> None:
    case = make_case(PLAINEST | {"learning_rate": "piecewise"})
    assert [record["learning_rate"] for record in reference.run(case)] == [0.25] * 3 + [0.03125] * 4 + [
        0.40625
    ] * 2


def test_nothing_is_warned_of() -> None:
    case = make_case(PLAINEST | {"gradients": "missing", "dtype": "bfloat16", "values": "special"})
    case = replace(case, config=case.config | {"momentum": 0.9999, "use_ema": True}, finalize=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reference.run(case)


class Idle(SGD):
    """A deviation: it never updates anything."""

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        return values


class Stubborn(LossScaleOptimizer):
    """A deviation: its scale never changes."""

    def grow(self) -> None:
        pass

    def shrink(self) -> None:
        pass


def test_deviations_take_the_place_of_the_optimizers() -> None:
    case = make_case(PLAINEST | {"loss_scaling": "dynamic"})
    idle = reference.run(case, optimizer_class=Idle)
    assert idle[-1]["variables"][0].tobytes() == case.variables[0].tobytes()
    assert [record["loss_scale"] for record in idle] == [r["loss_scale"] for r in reference.run(case)]
    stubborn = reference.run(case, wrapper_class=Stubborn)
    assert {float(record["loss_scale"]) for record in stubborn} == {8.0}
    assert stubborn[-1]["variables"][0].tobytes() != case.variables[0].tobytes()


def state_after(records: Records, call: int) -> State:
    record = records[call - 1]
    return State(
        calls=record["calls"],
        velocities=tuple(record["velocities"]),
        averages=tuple(record["averages"]),
        accumulators=tuple(record["accumulators"]),
        loss_scale=float(record["loss_scale"]) if "loss_scale" in record else None,
        growth_counter=record.get("growth_counter"),
    )


def resumed(case: Case, call: int) -> Case:
    """The rest of a case, from the state that the reference has reached after some calls."""
    records = reference.run(case)
    rates = case.learning_rate_calls
    return replace(
        case,
        variables=tuple(records[call - 1]["variables"]),
        gradients=case.gradients[call:],
        state=state_after(records, call),
        learning_rate_calls=None if rates is None else rates[call:],
    )


@settings(deadline=None, print_blob=True, max_examples=40)
@given(strategies.cases(), st.integers(1, 8))
def test_from_any_state_on_a_case_goes_on_as_it_did(case: Case, call: int) -> None:
    assert compare(case, reference.run(case)[call:], reference.run(resumed(case, call))).first is None


@pytest.mark.parametrize("loss_scaling", ["none", "dynamic"])
@pytest.mark.parametrize("kinds", list(itertools.permutations(("velocities", "averages", "accumulators"))))
def test_what_a_state_leaves_out_is_as_in_the_beginning(kinds: tuple[str, ...], loss_scaling: str) -> None:
    case = make_case(PLAINEST | EVERYTHING | {"loss_scaling": loss_scaling})
    zeros = {kind: tuple(np.zeros_like(variable) for variable in case.variables) for kind in kinds}
    threes = {kinds[0]: tuple(np.full_like(variable, 3) for variable in case.variables)}
    records = reference.run(replace(case, state=State(5, **threes)))
    complete = State(5, **(zeros | threes))
    assert compare(case, reference.run(replace(case, state=complete)), records).first is None
    assert compare(case, reference.run(replace(case, state=State(5, **zeros))), records).first is not None
    assert records[0]["calls"] == 6
    if loss_scaling == "dynamic":
        assert float(records[0]["loss_scale"]) == 8.0


def test_the_state_of_the_loss_scale_is_resumed() -> None:
    case = make_case(PLAINEST | {"loss_scaling": "dynamic"})
    record = reference.run(replace(case, state=State(3, loss_scale=32.0, growth_counter=1)))[0]
    assert (record["calls"], record["loss_scale"], record["growth_counter"]) == (4, 32.0, 2)
    record = reference.run(replace(case, state=State(3, growth_counter=2)))[0]
    assert (record["loss_scale"], record["growth_counter"]) == (16.0, 0)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (State(2, velocities=(np.zeros(3, np.float32),)), "values must hold 7 arrays, got 3"),
        (State(2, averages=(np.zeros(3, np.float32),) * 5), "values must hold 7 arrays, got 12"),
        (State(2, velocities=(np.zeros(3, np.float32),) * 5), r"values\[2\].*shape"),
        (State(-1), "at least 0"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(state: State, message: str) -> None:
    case = make_case(PLAINEST | {"update": "momentum"})
    with pytest.raises(ValueError, match=message):
        reference.run(replace(case, state=state))


def test_filters_of_warnings_that_ignore_everything_are_left_alone() -> None:
    """Threads share them, and one that changes them takes them from the others for a moment."""
    case = next(case for case in cases() if any(g is None for g in case.gradients[0]))
    expected = reference.run(case)
    with warnings.catch_warnings(action="ignore"):
        filters = warnings.filters
        assert filters[0] == reference.IGNORED
        seen: list[object] = []

        class Watching(SGD):
            def advance(self, *arguments: Any) -> Any:
                seen.append(warnings.filters)
                return super().advance(*arguments)

        assert len(reference.run(case, Watching)) == len(expected)
    assert seen
    assert all(found is filters for found in seen)
