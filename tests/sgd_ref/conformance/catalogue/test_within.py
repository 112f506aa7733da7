"""An implementation that offers a part still gets every pair of what it offers."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest

from sgd_ref.conformance import Unsupported, cases, check
from sgd_ref.conformance.catalogue.axes import AXES, every_pair, pairs
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.contested import CONTESTED_PAIRS, contested
from sgd_ref.conformance.catalogue.qualities import qualities
from sgd_ref.conformance.catalogue.suiting import OFFERABLE
from sgd_ref.conformance.catalogue.within import (
    AXES_OF_WORDS,
    cases_within,
    offered_by,
    offered_by_claims,
)
from sgd_ref.conformance.trajectories import reference

PLAIN_SGD = {
    "dtype": ["float32"],
    "update": ["plain", "momentum"],
    "weight_decay": ["none"],
    "clipping": ["none", "clipnorm", "clipvalue"],
    "averages": ["none", "averages"],
    "accumulation": ["none"],
    "loss_scaling": ["none"],
    "learning_rate": ["constant"],
    "gradients": ["dense"],
}


def run(case: Case) -> Any:
    config = case.config
    if config["nesterov"] and config["momentum"]:
        raise Unsupported("nesterov")
    if config["weight_decay"] is not None or config["gradient_accumulation_steps"] or case.loss_scaling:
        raise Unsupported("decay, accumulation, scaling")
    return reference.run(case)


def test_every_pair_of_what_is_offered_occurs() -> None:
    chosen = cases_within(PLAIN_SGD)
    axes = {axis: tuple(PLAIN_SGD.get(axis, values)) for axis, values in AXES.items()}
    features = [case.features for case in chosen if case.features]
    assert every_pair(features, axes) == []
    seen = {pair for combination in features for pair in pairs(combination)}
    assert (("clipping", "clipvalue"), ("averages", "averages")) in seen
    # In the standard tier they are not.
    answered = [case.features for case in cases() if case in chosen and case.features]
    assert every_pair(answered, axes) != []


def test_nothing_else_is_needed() -> None:
    chosen = cases_within(PLAIN_SGD)
    assert len({case.id for case in chosen}) == len(chosen)
    for case in chosen:
        for axis, values in PLAIN_SGD.items():
            assert qualities(case)[axis] <= set(values), case.id
    report = check(run, chosen[-12:])
    assert report.count("exact") == 12


def test_all_of_it_begins_with_the_standard_tier() -> None:
    everything = [case.id for case in cases_within({})]
    assert everything[: len(cases())] == [case.id for case in cases()]
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("offered", [PLAIN_SGD, offered_by(["float16", "nesterov", "sparse"]), {}])
def test_every_pair_is_in_three_cases_without_an_open_question(offered: Any) -> None:
    axes = {axis: tuple(offered.get(axis, values)) for axis, values in AXES.items()}
    counts: Counter[Any] = Counter()
    for case in cases_within(offered):
        if not contested(case):
            found = qualities(case)
            for first, second in itertools.combinations(axes, 2):
                counts.update(((first, a), (second, b)) for a in found[first] for b in found[second])
    for first, second in itertools.combinations(axes, 2):
        for pair in itertools.product(((first, a) for a in axes[first]), ((second, b) for b in axes[second])):
            assert counts[pair] >= 3 or pair in CONTESTED_PAIRS, pair


@pytest.mark.parametrize(
    ("offered", "message"),
    [
        ({"momentum": ["0.9"]}, "the axes of offered must be among dtype, update, .*, got 'momentum'"),
        (
            {"update": ["plain", "adam"]},
            r"offered\['update'\] must be a collection of some of plain, momentum",
        ),
        ({"update": "plain"}, r"offered\['update'\] must be a collection"),
        ({"dtype": []}, r"offered\['dtype'\] must be a collection of some of float32"),
    ],
)
def test_what_does_not_exist_cannot_be_offered(offered: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cases_within(offered)


def test_what_is_plainest_needs_no_word() -> None:
    offered = offered_by(["nesterov", "callable"])
    assert offered["update"] == ("plain", "nesterov")
    assert offered["learning_rate"] == ("constant", "callable")
    others = set(AXES) - {"update", "learning_rate", "values", "settings"}
    assert {axis: offered[axis] for axis in others} == {axis: AXES[axis][:1] for axis in others}


def test_a_dtype_with_a_word_is_alone_and_an_axis_stands_for_its_values() -> None:
    offered = offered_by(["bfloat16", "weight-decay", "loss_scaling", "ordinary"])
    assert offered["dtype"] == ("bfloat16",)
    assert offered["weight_decay"] == AXES["weight_decay"]
    assert offered["loss_scaling"] == AXES["loss_scaling"]
    assert offered["values"] == ("ordinary",)


def test_every_value_has_a_word_of_its_own() -> None:
    counts = [value for values in OFFERABLE.values() for value in values if value != "none"]
    assert len(AXES_OF_WORDS) == len(counts)
    assert offered_by(AXES_OF_WORDS) == OFFERABLE


def test_a_word_that_stands_for_nothing_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"a word for what is offered must be one of float32, .*, got 'adam'"
    ):
        offered_by(["momentum", "adam"])


def test_claims_offer_what_is_plainest_besides() -> None:
    assert offered_by_claims(None, {}) == {}
    assert offered_by_claims(None, {"clipping": ["clipnorm"], "dtype": ["mixed"]}) == {
        "clipping": ("none", "clipnorm"),
        "dtype": ("mixed",),
    }
    assert offered_by_claims(["float64", "float16"], {})["dtype"] == ("float16", "float64")
