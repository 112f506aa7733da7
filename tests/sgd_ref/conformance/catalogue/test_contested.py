"""Contested ground: each question concerns the cases that depend on its answer, and no near misses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref import SparseRows
from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.conformance import Case, LossScaling, State, cases, check
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.contested import QUESTIONS, contested
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.trajectories import reference

Gradient = Array | SparseRows | None

PLAIN = make_case(PLAINEST)
CALLS = len(PLAIN.gradients)
KERNEL, TABLE = 0, 2
INFINITE = np.full((7, 5), math.inf, np.float32)
CYCLE = {
    "class_name": "PolynomialDecay",
    "config": {"initial_learning_rate": 0.5, "decay_steps": 7, "cycle": True},
}
RESTARTS = {
    "class_name": "CosineDecayRestarts",
    "config": {"initial_learning_rate": 0.5, "first_decay_steps": 3, "m_mul": 0.5, "alpha": 0.125},
}


def with_settings(case: Case = PLAIN, **settings: Any) -> Case:
    return replace(case, config=case.config | settings)


def with_gradients(position: int, changed: dict[int, Gradient], case: Case = PLAIN) -> Case:
    """The case with other gradients of one variable in some calls."""
    calls = [list(gradients) for gradients in case.gradients]
    for call, gradient in changed.items():
        calls[call][position] = gradient
    return replace(case, gradients=tuple(tuple(gradients) for gradients in calls))


def missing(*calls: int) -> Case:
    return with_settings(with_gradients(KERNEL, dict.fromkeys(calls)), gradient_accumulation_steps=3)


def in_dtype(dtype: Any, case: Case = PLAIN) -> Case:
    return replace(case, variables=tuple(variable.astype(dtype) for variable in case.variables))


def scheduled(schedule: dict[str, Any], resumed_at: int | None = None, **config: Any) -> Case:
    state = None if resumed_at is None else State(calls=resumed_at)
    changed = schedule | {"config": schedule["config"] | config}
    return replace(with_settings(learning_rate=changed), state=state)


def rows(indices: Sequence[int], dtype: Any = np.float32) -> SparseRows:
    return SparseRows(indices, np.ones((len(indices), 4), dtype), (17, 4))


def scaled(scale: float, steps: int, not_finite: Sequence[int] = (), state: State | None = None) -> Case:
    changed = with_gradients(KERNEL, dict.fromkeys(not_finite, INFINITE))
    return replace(changed, loss_scaling=LossScaling(scale, steps), state=state)


def dynamic(case: Case) -> Case:
    return replace(case, loss_scaling=LossScaling(8.0, 3))


def accumulated(value: float) -> State:
    kernel = np.full((7, 5), value, np.float32)
    return State(calls=2, accumulators=(kernel, *(np.zeros_like(v) for v in PLAIN.variables[1:])))


# Cases that depend on the question, then cases that nearly do.
CONCERNED: dict[str, tuple[dict[str, Case], dict[str, Case]]] = {
    "missing-on-update-call": (
        {
            "at the end of the first window": missing(2),
            "after one of two gradients": missing(6, 8),
            "where a skipped call puts off the end of a window": dynamic(
                with_gradients(KERNEL, {1: INFINITE, 3: None}, missing())
            ),
            "in a window that began before the case": replace(missing(0), state=accumulated(1.0)),
            "where a NaN was accumulated": replace(missing(0), state=accumulated(math.nan)),
        },
        {
            "inside of windows": missing(0, 1, 3, 7),
            "in whole windows": missing(3, 4, 5),
            "in all windows": missing(*range(CALLS)),
            "without accumulation": with_settings(missing(2), gradient_accumulation_steps=None),
            "where the end of the window is skipped": dynamic(
                with_gradients(KERNEL, {1: INFINITE, 2: None}, missing())
            ),
            "after nothing was accumulated before the case": replace(missing(0), state=accumulated(0.0)),
            "where a resumed window ends earlier": replace(missing(2), state=State(calls=1)),
        },
    ),
    "polynomial-cycle-at-multiple": (
        {
            "in the middle": scheduled(CYCLE),
            "at the last step": scheduled(CYCLE, decay_steps=8),
            "at the first step after resuming": scheduled(CYCLE, resumed_at=14, decay_steps=14),
            "at a broken period": scheduled(CYCLE, decay_steps=2.5),
        },
        {
            "at step 0 only": scheduled(CYCLE, decay_steps=9),
            "between multiples": scheduled(CYCLE, resumed_at=21, decay_steps=20),
            "without a cycle": scheduled(CYCLE, cycle=False),
            "without saying so": scheduled(
                {"class_name": "PolynomialDecay", "config": {"initial_learning_rate": 0.5, "decay_steps": 7}}
            ),
            "another schedule": scheduled(
                {
                    "class_name": "ExponentialDecay",
                    "config": {"initial_learning_rate": 0.5, "decay_steps": 7, "decay_rate": 0.5},
                }
            ),
        },
    ),
    "restarts-lowered-to-a-minimum": (
        {"both": scheduled(RESTARTS)},
        {
            "no minimum": scheduled(RESTARTS, alpha=0.0),
            "the default minimum": scheduled(
                {
                    "class_name": "CosineDecayRestarts",
                    "config": {"initial_learning_rate": 0.5, "first_decay_steps": 3, "m_mul": 0.5},
                }
            ),
            "no factor": scheduled(RESTARTS, m_mul=1.0),
            "no restarts": scheduled(
                {
                    "class_name": "CosineDecay",
                    "config": {"initial_learning_rate": 0.5, "decay_steps": 3, "alpha": 0.125},
                }
            ),
        },
    ),
    "wide-global-norm": (
        {"mixed dtypes": with_settings(make_case(PLAINEST | {"dtype": "mixed"}), global_clipnorm=3.0)},
        {
            "one dtype": with_settings(global_clipnorm=3.0),
            "norms of each gradient": with_settings(make_case(PLAINEST | {"dtype": "mixed"}), clipnorm=3.0),
            "no clipping": make_case(PLAINEST | {"dtype": "mixed"}),
        },
    ),
    "narrow-gradient-of-float64": (
        {
            "a fixed scale": with_settings(in_dtype(np.float64), loss_scale_factor=96.0),
            "a dynamic scale": dynamic(in_dtype(np.float64)),
        },
        {
            "no scale": in_dtype(np.float64),
            "as wide": with_settings(make_case(PLAINEST | {"dtype": "float64"}), loss_scale_factor=96.0),
            "narrow gradients of float32": with_settings(
                with_gradients(KERNEL, {0: np.ones((7, 5), np.float16)}), loss_scale_factor=96.0
            ),
            "only missing ones": with_settings(
                with_gradients(KERNEL, {0: None}, make_case(PLAINEST | {"dtype": "float64"})),
                loss_scale_factor=96.0,
            ),
        },
    ),
    "narrow-duplicate-rows": (
        {"in float16": with_gradients(TABLE, {5: rows([3, 1, 3], np.float16)})},
        {
            "in the dtype of the variable": with_gradients(TABLE, {5: rows([3, 1, 3])}),
            "no duplicates": with_gradients(TABLE, {5: rows([3, 1, 2], np.float16)}),
        },
    ),
    "loss-scale-at-a-limit": (
        {
            "doubling to infinity": scaled(2.0**127, 9),
            "doubling again and again": scaled(2.0**119, 1),
            "halving below the smallest normal number": scaled(2.0**-126, 3, not_finite=[4]),
            "halving again and again": scaled(2.0**-124, 3, not_finite=[1, 3, 8]),
            "from the state": scaled(8.0, 9, state=State(calls=3, loss_scale=2.0**127)),
            "with the counter of the state": scaled(
                2.0**127, 10, state=State(calls=3, loss_scale=2.0**127, growth_counter=1)
            ),
        },
        {
            "up to the largest power of two": scaled(2.0**126, 9),
            "no time to double": scaled(2.0**127, 10),
            "down to the smallest normal number": scaled(2.0**-126, 3),
            "halving to the smallest normal number": scaled(2.0**-124, 3, not_finite=[1, 3]),
            "the state is moderate": scaled(2.0**127, 9, state=State(calls=3, loss_scale=8.0)),
            "no scaling": PLAIN,
        },
    ),
    "growth-counter-past-its-end": (
        {
            "at the number": scaled(8.0, 3, state=State(calls=3, loss_scale=8.0, growth_counter=3)),
            "above it": scaled(8.0, 3, state=State(calls=9, loss_scale=8.0, growth_counter=7)),
            "until a call is skipped": scaled(
                8.0, 3, not_finite=[1], state=State(calls=3, loss_scale=8.0, growth_counter=3)
            ),
        },
        {
            "one below": scaled(8.0, 3, state=State(calls=3, loss_scale=8.0, growth_counter=2)),
            "before a call that is skipped": scaled(
                8.0, 3, not_finite=[0], state=State(calls=3, loss_scale=8.0, growth_counter=3)
            ),
            "no counter": scaled(8.0, 3, state=State(calls=9)),
        },
    ),
}


def rows_of(position: int) -> list[Any]:
    return [
        pytest.param(name, case, id=f"{name}: {what}")
        for name, both in CONCERNED.items()
        for what, case in both[position].items()
    ]


def test_every_question_has_its_cases() -> None:
    assert list(CONCERNED) == [question.name for question in QUESTIONS]


@pytest.mark.parametrize(("name", "case"), rows_of(0))
def test_a_question_concerns_a_case(name: str, case: Case) -> None:
    assert contested(case) == (name,)
    concerns: dict[str, Callable[[Case], Any]] = {q.name: q.concerns for q in QUESTIONS}
    assert concerns[name](case) is True


@pytest.mark.parametrize(("name", "case"), rows_of(1))
def test_a_question_does_not_concern_a_near_miss(name: str, case: Case) -> None:
    assert contested(case) == ()


def test_questions_say_what_they_are() -> None:
    for question in QUESTIONS:
        assert question.concerns.__doc__


def test_a_case_may_depend_on_several_questions() -> None:
    case = with_settings(missing(2), learning_rate=CYCLE)
    assert contested(case) == ("missing-on-update-call", "polynomial-cycle-at-multiple")


def test_a_gradient_with_signalling_nans_is_not_finite() -> None:
    signalling = np.full((7, 5), 0x7F81, np.uint16).view(BFLOAT16)
    case = with_gradients(KERNEL, {4: signalling}, make_case(PLAINEST | {"dtype": "bfloat16"}))
    assert contested(replace(case, loss_scaling=LossScaling(2.0**-126, 3))) == ("loss-scale-at-a-limit",)


def test_less_than_a_quarter_is_contested() -> None:
    standard = cases("standard")
    assert sum(bool(contested(case)) for case in standard) / len(standard) < 0.25


def test_a_report_says_which_cases_are_contested() -> None:
    some = [case for case in cases("standard") if case.made is None][::5]
    concerned = {case.id for case in some if contested(case)}
    report = check(reference.run, some)
    assert report.contested_share == len(concerned) / len(some) > 0
    assert {name for name, verdict in report.verdicts.items() if verdict.contested} == concerned


def test_standard_cases_show_every_question_that_the_axes_or_named_cases_raise() -> None:
    raised = {name for case in cases() for name in contested(case)}
    assert {"missing-on-update-call", "wide-global-norm", "loss-scale-at-a-limit"} <= raised
