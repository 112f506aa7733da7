"""The stages of a call against arithmetic that can be done by hand; where implementations part from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, SparseRows
from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Case, LossScaling
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS, Deviation
from sgd_ref.conformance.diagnosis.parting import COUNTING, FINALIZATION, GROWTH, parting, partings
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare
from sgd_ref.conformance.trajectories.stages import (
    ACCUMULATOR,
    AVERAGE,
    CLIPPED,
    DECAYED,
    GRADIENT,
    LEARNING_RATE,
    LOSS_SCALE,
    MEAN,
    NORM,
    NORM_OF_ALL,
    OVERWRITTEN,
    UNSCALED,
    UPDATED,
    VELOCITY,
    stages,
)
from sgd_ref.loss_scale import LossScaleOptimizer

on = pytest.mark.parametrize


def one(*numbers: float) -> Array:
    return np.array(numbers, np.float32)


def case(*gradients: Any, learning_rate: float = 0.5, **settings: Any) -> Case:
    """Return a case of one variable w = 2 and one gradient for each call."""
    config = SGD(learning_rate, **settings).get_config()
    return Case("hand", config, ("w",), (one(2.0),), tuple((gradient,) for gradient in gradients))


def numbers(call: dict[str, Any]) -> dict[str, float]:
    return {stage: float(np.asarray(arrays[0]).reshape(-1)[0]) for stage, arrays in call.items()}


def test_every_stage_of_two_calls() -> None:
    settings = {"momentum": 0.25, "nesterov": True, "weight_decay": 0.5, "clipnorm": 1.0, "use_ema": True}
    settings |= {"ema_momentum": 0.75, "ema_overwrite_frequency": 1, "loss_scale_factor": 4.0}
    first, second = stages(case(one(8.0), one(16.0), **settings, gradient_accumulation_steps=2))
    assert numbers(first) == {LEARNING_RATE: 0.5, GRADIENT: 8.0, UNSCALED: 2.0, ACCUMULATOR: 2.0}
    assert numbers(second) == {
        LEARNING_RATE: 0.5,
        GRADIENT: 16.0,
        UNSCALED: 4.0,
        MEAN: 3.0,
        ACCUMULATOR: 0.0,
        NORM: 3.0,
        CLIPPED: 1.0,
        DECAYED: 1.5,
        VELOCITY: -0.5,
        UPDATED: 0.875,
        AVERAGE: 0.875,
        OVERWRITTEN: 0.875,
    }
    assert list(second) == [
        LEARNING_RATE,
        GRADIENT,
        UNSCALED,
        MEAN,
        ACCUMULATOR,
        NORM,
        CLIPPED,
        DECAYED,
        VELOCITY,
        UPDATED,
        AVERAGE,
        OVERWRITTEN,
    ]


def test_one_norm_of_all_gradients() -> None:
    config = SGD(0.5, global_clipnorm=1.0).get_config()
    given = Case("two", config, ("a", "b"), (one(0.0), one(0.0)), ((one(3.0), one(4.0)),))
    (call,) = stages(given)
    assert [float(norm) for norm in call[NORM_OF_ALL] if norm is not None] == [5.0]
    assert call[CLIPPED] == (one(3.0 * np.float32(0.2)), one(4.0 * np.float32(0.2)))


def test_missing_and_sparse_gradients_are_formed_first() -> None:
    rows = SparseRows([1, 1], one(2.0, 3.0), (2,))
    given = Case("rows", SGD(1.0).get_config(), ("a", "b"), (one(0.0, 0.0), one(7.0)), ((rows, None),))
    (call,) = stages(given)
    dense, missing = call[GRADIENT]
    assert dense is not None
    assert dense.tolist() == [0.0, 5.0]
    assert missing is None
    updated = call[UPDATED][1]
    assert updated is not None
    assert updated.tolist() == [7.0]


def test_skipped_call_has_no_more_than_its_gradient() -> None:
    given = replace(case(one(np.inf), one(4.0)), loss_scaling=LossScaling(8.0, 3))
    skipped, taken = stages(given)
    assert list(skipped) == [LOSS_SCALE, LEARNING_RATE, GRADIENT]
    assert numbers(skipped)[LOSS_SCALE] == 8.0
    assert numbers(taken) == {LOSS_SCALE: 4.0, LEARNING_RATE: 0.5, GRADIENT: 4.0, UNSCALED: 1.0, UPDATED: 1.5}


def test_what_is_recorded_is_the_trajectory_of_the_reference() -> None:
    for given in [case for case in cases() if case.made is None][::6]:
        for call, record in zip(stages(given), reference.run(given), strict=False):
            pairs = [(AVERAGE, "averages"), (VELOCITY, "velocities"), (ACCUMULATOR, "accumulators")]
            pairs.append((OVERWRITTEN if OVERWRITTEN in call else UPDATED, "variables"))
            for stage, quantity in pairs:
                for array, kept in zip(call.get(stage, ()), record[quantity], strict=False):
                    assert array is not None
                    assert array.tobytes() == kept.tobytes(), (given.id, stage)


def test_stages_of_a_deviation_are_its_own() -> None:
    name = "decay-reassociated"
    deviating = stages(_case_with("decay"), DEVIATIONS[name].optimizer)
    assert any(
        found.tobytes() != wanted.tobytes()
        for call, other in zip(stages(_case_with("decay")), deviating, strict=True)
        for wanted, found in zip(call[DECAYED], other[DECAYED], strict=True)
        if wanted is not None and found is not None
    )


def _case_with(value: str) -> Case:
    wanted = {"update": "plain", "weight_decay": value, "settings": "decimal"}
    return next(c for c in cases() if wanted.items() <= (c.features or {}).items())


def test_same_bits_do_not_part() -> None:
    given = cases()[0]
    assert parting(given, reference.run(given)) is None
    assert set(partings(given, reference.run(given))) == {None}


@on(
    ("quantity", "stages_in_question"),
    [
        ("learning_rate", (LEARNING_RATE,)),
        ("accumulators", (UNSCALED, ACCUMULATOR)),
        ("variables", ()),
        ("averages", ()),
        ("velocities", ()),
        ("iterations", (COUNTING,)),
    ],
)
def test_difference_in_a_call_that_accumulates(quantity: str, stages_in_question: tuple[str, ...]) -> None:
    settings = {"momentum": 0.5, "use_ema": True, "loss_scale_factor": 2.0, "gradient_accumulation_steps": 2}
    given = case(one(2.0), one(4.0), **settings)
    found = parting(given, _changed(given, 0, quantity))
    assert found is not None
    assert (found.difference.call, found.difference.quantity) == (0, quantity)
    assert found.stages == stages_in_question


@on(
    ("changed", "quantity", "stages_in_question"),
    [
        (["accumulators", "velocities", "variables"], "accumulators", (ACCUMULATOR,)),
        (["velocities", "variables", "averages"], "velocities", (MEAN, CLIPPED, VELOCITY)),
        (["variables", "averages"], "variables", (DECAYED, UPDATED)),
        (["averages"], "averages", (AVERAGE,)),
    ],
)
def test_what_comes_first_in_a_call_that_updates(
    changed: list[str], quantity: str, stages_in_question: tuple[str, ...]
) -> None:
    settings = {"momentum": 0.5, "use_ema": True, "weight_decay": 0.5, "clipvalue": 1.0}
    given = case(one(2.0), one(4.0), **settings, gradient_accumulation_steps=2)
    found = parting(given, _changed(given, 1, *changed))
    assert found is not None
    assert (found.difference.call, found.difference.quantity) == (1, quantity)
    assert found.stages == stages_in_question


def test_averages_come_before_the_variables_that_they_overwrite() -> None:
    given = case(one(2.0), use_ema=True, ema_overwrite_frequency=1)
    found = parting(given, _changed(given, 0, "variables", "averages"))
    assert found is not None
    assert found.stages == (UPDATED, AVERAGE, OVERWRITTEN)
    found = parting(given, _changed(given, 0, "variables"))
    assert found is not None
    assert found.stages == (OVERWRITTEN,)


def test_variable_without_a_gradient_is_to_be_left_alone() -> None:
    config = SGD(0.5, momentum=0.5).get_config()
    given = Case("none", config, ("a", "b"), (one(1.0), one(2.0)), ((None, one(1.0)),))
    observed = reference.run(given)
    observed[0]["variables"][0] = one(9.0)
    found = parting(given, observed)
    assert found is not None
    assert found.stages == ()
    assert found.where == "this call is to leave it alone"


def test_growth_and_finalization() -> None:
    given = replace(case(one(2.0), use_ema=True), loss_scaling=LossScaling(2.0, 1), finalize=True)
    observed = reference.run(given)
    observed[0]["loss_scale"] = np.float32(3.0)
    found = parting(given, observed)
    assert found is not None
    assert found.stages == (GROWTH,)
    found = parting(given, _changed(given, 1, "variables"))
    assert found is not None
    assert (found.difference.call, found.stages) == (1, (FINALIZATION,))
    assert partings(given, _changed(given, 1, "variables"))[1] == found


def test_each_call_by_itself_starts_from_what_was_observed() -> None:
    given = case(one(2.0), one(4.0), one(8.0), momentum=0.5)
    observed = _changed(given, 0, "velocities")
    first, second, third = partings(given, observed)
    assert first is not None
    assert first.difference.quantity == "velocities"
    assert second is not None
    assert second.difference.call == 1
    assert third is None


def _changed(given: Case, call: int, *quantities: str) -> list[dict[str, Any]]:
    """Return the trajectory of the reference with some quantities of one record changed."""
    observed = reference.run(given)
    for quantity in quantities:
        value = observed[call][quantity]
        observed[call][quantity] = [array + 1 for array in value] if isinstance(value, list) else value + 1
    return observed


STAGES_OF_METHODS = {
    "unscale": {UNSCALED},
    "accumulate": {ACCUMULATOR},
    "mean": {MEAN, ACCUMULATOR},
    "norm": {NORM, NORM_OF_ALL},
    "clip": {CLIPPED},
    "clip_by_norm": {CLIPPED},
    "clip_by_value": {CLIPPED},
    "clip_by_global_norm": {CLIPPED},
    "decay": {DECAYED},
    "update": {UPDATED, VELOCITY},
    "average": {AVERAGE},
    "overwrite": {OVERWRITTEN},
}

# A deviation that undoes the result of another stage than the one whose method it overrides.
UNDONE = {"only-averages-move": {UPDATED}}


def _overridden(deviation: Deviation) -> set[str]:
    names = (name for name in vars(deviation.optimizer) if not name.startswith("__"))
    return {name for name in names if callable(getattr(SGD, name, None))}


def _of_one_stage() -> Iterator[str]:
    for name, deviation in DEVIATIONS.items():
        overridden = _overridden(deviation)
        is_plain = deviation.optimizer.__mro__[1] is SGD and deviation.wrapper is LossScaleOptimizer
        if is_plain and len(overridden) == 1 and overridden <= STAGES_OF_METHODS.keys():
            yield name


OF_ONE_STAGE = list(_of_one_stage())


@pytest.mark.share(3)
@on("name", OF_ONE_STAGE[:: max(len(OF_ONE_STAGE) // 20, 1)])
def test_the_stage_that_a_deviation_overrides_is_among_those_in_question(name: str) -> None:
    deviation = DEVIATIONS[name]
    (method,) = _overridden(deviation)
    expected = UNDONE.get(name, STAGES_OF_METHODS[method])
    for given in (case for case in cases() if case.made is None):
        observed = reference.run(given, deviation.optimizer, deviation.wrapper)
        if compare(given, reference.run(given), observed).equal:
            continue
        found = parting(given, observed)
        assert found is not None
        taken = stages(given)[found.difference.call] if found.difference.call < len(given.gradients) else {}
        # Some deviations lie in a stage that does not take place in the reference.
        if not expected & taken.keys():
            continue
        # What a call is to leave alone can be touched by any stage.
        assert not found.stages or expected & set(found.stages), (given.id, found)
        return
    pytest.skip("it shows only where its stage does not take place in the reference")
