"""An implementation that offers a part still gets every pair of what it offers."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref.conformance import Unsupported, cases, check
from sgd_ref.conformance.catalogue.axes import AXES, every_pair, pairs
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.qualities import qualities
from sgd_ref.conformance.catalogue.within import cases_within
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


def test_all_of_it_is_the_standard_tier() -> None:
    everything = {case.id for case in cases_within({})}
    assert everything == {case.id for case in cases()}


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
