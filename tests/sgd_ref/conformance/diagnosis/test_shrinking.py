"""Shrinking: how little is left of a case, and that what is left is valid and fails in the same way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, SparseRows, rule
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.catalogue.case import Case, LossScaling, State
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.diagnosis import reductions
from sgd_ref.conformance.diagnosis.shrinking import shrink
from sgd_ref.conformance.protocol.encoding import case_to_json
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import Gradients, Values

on = pytest.mark.parametrize


class CoupledDecay(SGD):
    """Adds the decay to the gradient."""

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        return values

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        decay = self.settings.weight_decay
        if decay is not None:
            gradients = [
                None if g is None else g + setting(decay, w.dtype) * w
                for g, w in zip(gradients, values.variables, strict=True)
            ]
        return super().update(values, gradients, call)


class ClipWithEpsilon(SGD):
    """Adds 1e-6 to the norm before it divides by it."""

    def clip_by_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        return [
            None
            if g is None
            else rule.clip_by_norm(g, self.norm([g]) + setting(1e-6, g.dtype), setting(clipnorm, g.dtype))
            for g in gradients
        ]


class LastOfFiveForgotten(SGD):
    """Does not update the last element of a variable of five elements or more."""

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        updated = super().update(values, gradients, call)
        for before, after in zip(values.variables, updated.variables, strict=True):
            if after.size >= 5:
                after.reshape(-1)[-1] = before.reshape(-1)[-1]
        return updated


class SecondOfThreeLost(SGD):
    """With two variables or more and windows of three calls, the second call of a window is lost."""

    def accumulate(self, values: Values, gradients: Gradients) -> Values:
        assert self._state is not None
        steps = self.settings.gradient_accumulation_steps
        if steps == 3 and len(values.variables) >= 2 and self._state.calls % 3 == 1:
            return values
        return super().accumulate(values, gradients)


class AveragesFromZero(SGD):
    """Starts the averages from zero."""

    def average(self, values: Values, call: Call) -> Values:
        if self.settings.use_ema and self.updates_before(call) == 0:
            momentum = self.settings.ema_momentum
            averages = [w * setting(1 - momentum, w.dtype) for w in values.variables]
            return replace(values, averages=averages)
        return super().average(values, call)


class NeverGrows(LossScaleOptimizer):
    """The loss scale only shrinks."""

    def grow(self) -> None:
        pass


def _differs(optimizer: type[SGD], wrapper: type[LossScaleOptimizer]) -> Callable[[Case], bool]:
    def differs(case: Case) -> bool:
        return not compare(case, reference.run(case), reference.run(case, optimizer, wrapper)).equal

    return differs


def _shrunk(
    optimizer: type[SGD], wrapper: type[LossScaleOptimizer] = LossScaleOptimizer, backwards: bool = False
) -> Case:
    differs = _differs(optimizer, wrapper)
    # Those of structure are not so much smaller than what is left of them.
    chosen = [case for case in cases() if not case.id.startswith("structure/")]
    combinations = [case for case in chosen if case.id.count("/") > 1]
    failing = next(case for case in combinations[:: -1 if backwards else 1] if differs(case))
    small = shrink(failing, differs)
    assert differs(small)
    return small


def _turned_on(case: Case) -> set[str]:
    plain = SGD().get_config()
    return {key for key, value in case.config.items() if value != plain[key]} - {
        "learning_rate",
        "ema_momentum",
    }


def _numbers(case: Case) -> set[float]:
    return {float(number) for array in reductions.arrays(case) for number in array.reshape(-1)}


# The first case that fails has one feature only, the last one has many.
@on("backwards", [False, True])
def test_clipping_with_an_epsilon_needs_one_number(backwards: bool) -> None:
    small = _shrunk(ClipWithEpsilon, backwards=backwards)
    assert [w.size for w in small.variables] == [1]
    assert len(small.gradients) == 1
    assert _turned_on(small) == {"clipnorm"}
    assert small.loss_scaling is None
    assert small.learning_rate_calls is None
    assert not small.finalize
    assert small.config["learning_rate"] == small.config["clipnorm"] == 0.5
    assert _numbers(small) <= {0.0, 1.0, -1.0, 0.5}


@on("backwards", [False, True])
def test_coupled_decay_needs_momentum_or_clipping(backwards: bool) -> None:
    small = _shrunk(CoupledDecay, backwards=backwards)
    assert [w.size for w in small.variables] == [1]
    assert len(small.gradients) == 1
    assert "weight_decay" in _turned_on(small)
    assert len(_turned_on(small)) <= 2


def test_elements_are_left_out_as_long_as_enough_are_left() -> None:
    small = _shrunk(LastOfFiveForgotten, backwards=True)
    assert [w.shape for w in small.variables] == [(5,)]
    assert len(small.gradients) == 1
    assert _turned_on(small) == set()


@on("backwards", [False, True])
def test_two_variables_and_three_calls_are_left_where_it_takes_them(backwards: bool) -> None:
    small = _shrunk(SecondOfThreeLost, backwards=backwards)
    assert [w.size for w in small.variables] == [1, 1]
    assert len(small.gradients) == 2
    assert small.config["gradient_accumulation_steps"] == 3
    assert _turned_on(small) == {"gradient_accumulation_steps"}


def _shrunk_of(case_id: str, name: str) -> Case:
    differs = _differs(DEVIATIONS[name].optimizer, DEVIATIONS[name].wrapper)
    return shrink(next(case for case in cases() if case.id == case_id), differs)


def test_layouts_stay_where_they_are_the_failure() -> None:
    small = _shrunk_of("structure/layout-transposed/plain/float32", "layouts-taken-for-alike")
    assert small.layouts is not None
    assert len(small.variables) == len(small.layouts.variables) == len(small.layouts.gradients) == 1
    assert (small.variables[0].shape, len(small.gradients)) == ((2, 2), 1)


def test_layouts_are_left_out_where_they_do_not_matter() -> None:
    small = _shrunk_of("structure/layout-transposed/momentum/float32", "velocity-by-shape")
    assert small.layouts is None
    assert all(variable.flags.c_contiguous for variable in small.variables)
    assert len(small.variables) == 2
    assert small.variables[0].shape == small.variables[1].shape


def test_averages_need_no_more_than_averages() -> None:
    small = _shrunk(AveragesFromZero, backwards=True)
    assert _turned_on(small) == {"use_ema"}
    assert len(small.gradients) == 1
    assert small.config["ema_momentum"] == 0.5


def test_dynamic_loss_scaling_is_kept_where_it_fails() -> None:
    small = _shrunk(SGD, NeverGrows, backwards=True)
    assert small.loss_scaling == LossScaling(initial_scale=2.0, dynamic_growth_steps=1)
    assert len(small.gradients) == 1
    assert _turned_on(small) == set()


def test_duplicate_rows_stay_where_they_are_the_failure() -> None:
    def has_duplicates(case: Case) -> bool:
        return any(
            isinstance(g, SparseRows) and len(set(g.indices.tolist())) < len(g.indices)
            for gradients in case.gradients
            for g in gradients
        )

    case = next(case for case in cases() if "/sparse/" in case.id and case.loss_scaling is not None)
    small = shrink(case, has_duplicates)
    (rows,) = small.gradients[0]
    assert isinstance(rows, SparseRows)
    assert rows.indices.tolist() == [0, 0]
    assert rows.shape == (1, 1)


def test_schedule_becomes_given_rates_where_only_their_values_matter() -> None:
    def changes(case: Case) -> bool:
        return len({float(record["learning_rate"]) for record in reference.run(case)}) > 1

    case = next(case for case in cases() if "/piecewise/" in case.id and not case.finalize)
    small = shrink(case, changes)
    assert small.config["learning_rate"] is None
    assert small.learning_rate_calls is not None
    assert len(small.learning_rate_calls) == len(small.gradients) == 2


def test_state_that_is_resumed_from_is_cut_with_its_variables() -> None:
    ones = np.ones((2, 3), np.float32)
    state = State(calls=7, velocities=(ones, ones * 3))
    case = Case(
        "resumed",
        SGD(0.5, momentum=0.25).get_config(),
        ("a", "b"),
        (ones, ones),
        ((ones, ones),) * 3,
        state=state,
    )

    def is_resumed(case: Case) -> bool:
        return case.state is not None and any((v >= 2).any() for v in case.state.velocities)

    small = shrink(case, is_resumed)
    assert small.names == ("b",)
    assert small.state is not None
    assert small.state.calls == 0
    assert small.state.velocities[0].tolist() == [2.0]


def test_state_goes_with_the_feature_that_it_belongs_to() -> None:
    ones = np.ones(2, np.float32)
    config = SGD(0.5, momentum=0.25, use_ema=True, gradient_accumulation_steps=2).get_config()
    state = State(calls=7, velocities=(ones,), averages=(ones,), accumulators=(ones,))
    case = Case("resumed", config, ("w",), (ones,), ((ones,),) * 3, state=state)
    small = shrink(case, lambda case: case.state is not None and case.state.calls >= 3)
    assert _turned_on(small) == set()
    assert small.state == State(calls=3)


def test_what_is_far_apart_is_found_by_leaving_out_smaller_and_smaller_parts() -> None:
    marks = [np.array([number], np.float32) for number in (0, 3, 0, 0, 0, 0, 5, 0)]
    case = Case("far", SGD(0.5).get_config(), ("w",), (marks[0],), tuple((mark,) for mark in marks))
    small = shrink(case, lambda case: {3.0, 5.0} <= {float(g[0].sum()) for g in case.gradients})
    assert [float(gradient.sum()) for (gradient,) in small.gradients] == [3.0, 5.0]


def test_what_fails_without_elements_is_shown_with_one() -> None:
    case = next(case for case in cases() if "nothing" in case.names)
    small = shrink(case, lambda case: True)
    assert [w.size for w in small.variables] == [1]


def test_the_result_says_where_it_comes_from() -> None:
    case = cases()[0]
    small = shrink(case, lambda case: True)
    assert small.id == f"shrunk/{case.id}"
    assert small.notes == f"shrunk from {case.id}: {case.notes}"
    assert small.features is None


def test_a_case_that_does_not_fail_is_refused() -> None:
    with pytest.raises(ValueError, match=r"still must be true for .* shrunk from axes/plain"):
        shrink(cases()[0], lambda case: False)


@on("most_runs", [1, 2, 10])
def test_no_more_runs_than_allowed(most_runs: int) -> None:
    differs, runs = _differs(ClipWithEpsilon, LossScaleOptimizer), []

    def still(case: Case) -> bool:
        runs.append(case)
        return differs(case)

    case = next(case for case in cases() if differs(case))
    small = shrink(case, still, most_runs)
    assert len(runs) <= most_runs
    assert differs(small)


@pytest.mark.share(3)
@on("index", range(0, 168, 12))
def test_every_case_that_is_tried_is_valid_whatever_is_answered(index: int) -> None:
    case = cases()[index]
    before = case_to_json(case)
    accepted: list[Case] = []

    def still(candidate: Case) -> bool:
        reference.run(candidate)
        digest = hashlib.sha256(repr(case_to_json(candidate)).encode()).digest()
        answer = not accepted or digest[0] % 3 == 0
        if answer:
            accepted.append(candidate)
        return answer

    small = shrink(case, still, most_runs=60)
    assert small is accepted[-1]
    assert case_to_json(case) == before
    first_answers, accepted = list(accepted), []
    assert case_to_json(shrink(case, still, most_runs=60)) == case_to_json(first_answers[-1])


def test_a_part_of_a_variable_takes_its_gradients_and_state_along() -> None:
    variable = np.arange(6, dtype=np.float32).reshape(3, 2)
    rows = SparseRows([2, 0, 2], np.array([[1, 2], [3, 4], [5, 6]], np.float32), (3, 2))
    case = Case(
        "a",
        SGD(momentum=0.5).get_config(),
        ("w",),
        (variable,),
        ((rows,), (variable * 10,), (None,)),
        state=State(3, velocities=(variable * 100,)),
    )
    rows_cut = reductions.with_part(case, [0, 2], variable=0, axis=0)
    (sparse,), (dense,), (missing,) = rows_cut.gradients
    assert isinstance(sparse, SparseRows)
    assert sparse.indices.tolist() == [1, 0, 1]
    assert_rows(sparse.to_dense(), rows.to_dense()[[0, 2]])
    assert_rows(dense, variable[[0, 2]] * 10)
    assert missing is None
    assert rows_cut.state is not None
    assert_rows(rows_cut.state.velocities[0], variable[[0, 2]] * 100)
    columns_cut = reductions.with_part(case, [1], variable=0, axis=1)
    sparse = columns_cut.gradients[0][0]
    assert isinstance(sparse, SparseRows)
    assert_rows(sparse.to_dense(), rows.to_dense()[:, [1]])
    reference.run(reductions.with_calls(columns_cut, [0, 1]))


def assert_rows(found: Any, expected: Array) -> None:
    assert found.tolist() == expected.tolist()
