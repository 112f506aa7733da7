"""Where no known deviation explains an answer, the rule with another number may."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance import Case, cases, check
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.deviations import DEFINITION
from sgd_ref.conformance.diagnosis import other_settings
from sgd_ref.conformance.diagnosis.matching import diagnose
from sgd_ref.conformance.diagnosis.other_settings import GRADIENTS, RATES, OtherNumber, other_number
from sgd_ref.conformance.reports.files import to_json
from sgd_ref.conformance.targets.running import named_together
from sgd_ref.conformance.trajectories import reference

BY_ID = {case.id: case for case in cases()}
DECAY = BY_ID["axes/momentum/decay"]
CALLABLE = BY_ID["axes/momentum/callable"]


def loop(case: Case, decay: float = 0.0, gradients: float = 1.0, rates: float = 1.0) -> Trajectory:
    """Return what a loop gives whose sums are not rounded to the dtype before they are stored."""
    w = [np.array(variable) for variable in case.variables]
    v = [np.zeros_like(variable) for variable in case.variables]
    records = []
    for call, given in enumerate(case.gradients):
        rate = np.float64(rates * case.rate(call))
        for i, g in enumerate(given):
            if g is None:
                continue
            w[i] = (w[i] - decay * rate * w[i].astype(float)).astype(w[i].dtype)
            step = case.config["momentum"] * v[i].astype(float) - rate * gradients * np.asarray(g, float)
            v[i] = step.astype(v[i].dtype)
            w[i] = w[i] + v[i]
        records.append({"variables": [*map(np.array, w)], "velocities": [*map(np.array, v)]})
    return records


def test_the_loop_itself_is_right() -> None:
    for case, decay in ((DECAY, DECAY.config["weight_decay"]), (CALLABLE, 0.0)):
        assert check(lambda _, case=case, decay=decay: loop(case, decay), [case]).count("diverges") == 0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("case", "settings", "name", "used"),
    [
        (DECAY, {"decay": 0.25}, "weight_decay", 0.25),
        (CALLABLE, {"gradients": 1 / 7}, GRADIENTS, 1 / 7),
        (CALLABLE, {"rates": 3.0}, RATES, 3.0),
    ],
)
def test_another_number_is_found(case: Case, settings: dict[str, float], name: str, used: float) -> None:
    found = diagnose(case, loop(case, **settings))
    assert found.names == ()
    assert found.number is not None
    assert found.number.used == pytest.approx(used, rel=1e-4)
    # A factor of the gradients and one of the rates are the same without clipping.
    assert found.number.name == name or {found.number.name, name} == {GRADIENTS, RATES}
    assert str(found) == str(found.number)


def violation_of(case: Case, observed: Trajectory) -> Any:
    return check(lambda _: observed, [case]).verdicts[case.id].violation


def test_a_few_elements_could_be_explained_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    one = np.ones(1, np.float32)
    case = replace(DECAY, names=("w",), variables=(one,), gradients=((one,),), excluded_from_weight_decay=())
    wrong = DEFINITION.run(replace(case, config={**case.config, "weight_decay": 0.75}))
    alone = [{"variables": record["variables"]} for record in wrong]
    assert other_number(case, alone, violation_of(case, alone)) is None
    monkeypatch.setattr(other_settings, "LEAST_DIFFERING", 1)
    assert other_number(case, alone, violation_of(case, alone)) is not None


def test_noise_is_no_other_number() -> None:
    noise = np.random.default_rng(5)
    observed = reference.run(DECAY)
    for record in observed:
        for array in record["variables"]:
            array[...] = array * noise.uniform(0.5, 2, array.shape)
    found = diagnose(DECAY, observed, candidates=[])
    assert found.number is None


def test_a_given_number_of_zero_is_left_alone() -> None:
    case = replace(DECAY, config={**DECAY.config, "weight_decay": 0.0})
    observed = DEFINITION.run(replace(case, config={**case.config, "weight_decay": 0.5}))
    found = other_number(case, observed, violation_of(case, observed))
    assert found is None or found.name != "weight_decay"


def test_a_whole_run_says_it_and_its_json() -> None:
    wrong = loop(DECAY, 0.25)
    report = check(lambda _: wrong, [DECAY])
    found = report.diagnoses[DECAY.id]
    assert isinstance(found.number, OtherNumber)
    assert str(found.number) in to_json([named_together(report)])
