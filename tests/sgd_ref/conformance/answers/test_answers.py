"""Each answer to an open question accepts its own trajectories, however evaluated, and no mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, SparseRows, conformance
from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance import Case, LossScaling, State
from sgd_ref.conformance.answers import ANSWERS, Answer, combinations, composed
from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.case import Record
from sgd_ref.conformance.catalogue.contested import QUESTIONS, contested
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference

PLAIN = make_case(PLAINEST)
DECIMAL = PLAINEST | {"settings": "decimal"}
TABLE = 2


def scheduled(name: str, **config: Any) -> Case:
    schedule = {"class_name": name, "config": {"initial_learning_rate": 0.3, **config}}
    return replace(PLAIN, config=PLAIN.config | {"learning_rate": schedule}, learning_rate_units=4)


def with_narrow_rows() -> Case:
    rows = SparseRows([3, 1, 3], np.full((3, 4), [[0.1], [0.2], [0.3]], np.float16), (17, 4))
    calls = [tuple(rows if index == TABLE else g for index, g in enumerate(call)) for call in PLAIN.gradients]
    return replace(PLAIN, gradients=tuple(calls))


def with_large_gradients() -> Case:
    calls = [tuple(np.asarray(g) * np.float32(2.0**120) for g in call) for call in PLAIN.gradients]
    return replace(PLAIN, gradients=tuple(calls))


def begun(case: Case) -> Case:
    """Return the first calls of a case whose bounds take long."""
    return replace(case, gradients=case.gradients[:4])


CASES = {
    "missing-on-update-call": make_case(
        DECIMAL | {"update": "momentum", "gradients": "missing", "accumulation": "3"}
    ),
    "polynomial-cycle-at-multiple": scheduled("PolynomialDecay", decay_steps=3, cycle=True),
    "restarts-lowered-to-a-minimum": scheduled(
        "CosineDecayRestarts", first_decay_steps=3, m_mul=0.5, alpha=0.125, t_mul=1.0
    ),
    "wide-global-norm": begun(make_case(DECIMAL | {"dtype": "mixed", "clipping": "global_clipnorm"})),
    "narrow-gradient-of-float64": replace(
        PLAIN,
        variables=tuple(variable.astype(np.float64) for variable in PLAIN.variables),
        config=PLAIN.config | {"loss_scale_factor": 96.0},
    ),
    "narrow-duplicate-rows": with_narrow_rows(),
    "loss-scale-at-a-limit": replace(with_large_gradients(), loss_scaling=LossScaling(2.0**126, 2)),
    "growth-counter-past-its-end": replace(
        PLAIN, loss_scaling=LossScaling(8.0, 3), state=State(calls=4, loss_scale=8.0, growth_counter=4)
    ),
}

EVALUATIONS = (
    "update-fused",
    "mean-of-quotients",
    "running-mean",
    "rate-factored-velocity",
    "norm-from-left",
    "global-clip-normalised",
    "unscale-by-wide-reciprocal",
    "rows-added-backwards",
)


def rows() -> list[Any]:
    return [
        pytest.param(answer, id=f"{answer.question}: {answer.name}")
        for answers in ANSWERS.values()
        for answer in answers
    ]


def is_right(answer: Answer, observed: Any) -> bool:
    case, answering = CASES[answer.question], composed([answer])
    expected = reference.run(case, answering.optimizer, answering.wrapper)
    return judge(case, expected, observed, walk=answering.walk).is_faithful


def test_every_question_has_answers_of_distinct_names() -> None:
    assert list(ANSWERS) == [question.name for question in QUESTIONS]
    for question, answers in ANSWERS.items():
        assert contested(CASES[question]) == (question,)
        assert len({answer.name for answer in answers}) == len(answers) >= 2
        assert composed([answers[0]]) == composed([])


@pytest.mark.share(2)
@pytest.mark.parametrize("answer", rows())
@pytest.mark.parametrize("is_all_reported", [True, False])
def test_an_answer_accepts_itself_and_the_reference_no_other(answer: Answer, is_all_reported: bool) -> None:
    answering = composed([answer])
    observed = reference.run(CASES[answer.question], answering.optimizer, answering.wrapper)
    if not is_all_reported:
        observed = [{"variables": record["variables"]} for record in observed]
    assert is_right(answer, observed)
    # A scale this large may overflow in a faithful evaluation, too, where it meets the rate first.
    # And one answer parts from the reference at the other limit alone.
    if answer.name != "limited-above" and (is_all_reported or answer.question != "loss-scale-at-a-limit"):
        that_of_the_reference = ANSWERS[answer.question][0]
        assert is_right(that_of_the_reference, observed) == (answer is that_of_the_reference)


@pytest.mark.share(4)
@pytest.mark.parametrize("answer", rows())
@pytest.mark.parametrize("name", EVALUATIONS)
def test_an_answer_accepts_other_evaluations_of_itself(answer: Answer, name: str) -> None:
    if (answer.name, name) == ("kept", "running-mean"):
        pytest.skip("a mean that runs over one window cannot be kept for the next one")
    variant, answering, case = FAITHFUL[name], composed([answer]), CASES[answer.question]
    classes = (variant.optimizer,) if answering.optimizer is SGD else (answering.optimizer, variant.optimizer)
    optimizer = type("Evaluated", classes, {})
    observed = reference.run(case, optimizer, answering.wrapper)
    shown = [{key: record[key] for key in record if key not in variant.unreported} for record in observed]
    assert is_right(answer, shown)


@pytest.mark.parametrize("answer", rows())
def test_an_answer_is_no_excuse(answer: Answer) -> None:
    case, answering = CASES[answer.question], composed([answer])
    ascending, _ = compose(["ascends"], answering.optimizer)
    assert not is_right(answer, reference.run(case, ascending, answering.wrapper))


def test_several_questions_have_every_combination_of_answers() -> None:
    found = combinations(["missing-on-update-call", "wide-global-norm"])
    assert len(found) == 6
    assert [answer.name for answer in found[0]] == ["dropped", "widest-dtype"]


def _of_all(case: Case, made: Callable[[Array], Array]) -> list[Record]:
    records = len(case.gradients) + case.finalize
    return [{"variables": [made(variable) for variable in case.variables]} for _ in range(records)]


NONSENSE: dict[str, Callable[[Array], Array]] = {
    "the first variables": np.array,
    "zeros": np.zeros_like,
    "negated": np.negative,
    "NaN": lambda variable: np.full_like(variable, np.nan),
    "infinity": lambda variable: np.full_like(variable, np.inf),
    "another shape": lambda variable: np.zeros((*variable.shape, 1), variable.dtype),
    "another dtype": lambda variable: np.zeros_like(variable, np.int64),
}


@pytest.mark.parametrize("made", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_on_contested_ground_is_no_answer(made: Callable[[Array], Array], sweep: Any) -> None:
    cases = [case for case in conformance.cases() if contested(case)]
    for index in sweep.generator.choice(len(cases), sweep.count(len(cases)), replace=False):
        report = conformance.check(lambda given: _of_all(given, made), [cases[index]])
        assert not report.ok, cases[index].id
        assert report.verdicts[cases[index].id].grade in ("diverges", "error")
