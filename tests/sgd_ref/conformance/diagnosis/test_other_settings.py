"""Another value of a setting explains a divergence, and is found from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.conformance import Case, cases, check
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.deviations import DEFINITION, Basis
from sgd_ref.conformance.diagnosis import other_settings as module
from sgd_ref.conformance.diagnosis.matching import diagnose
from sgd_ref.conformance.diagnosis.other_settings import OtherSetting, other_settings
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.reports.files import to_json
from sgd_ref.conformance.targets.running import named_together
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.watching.settings import rule_of

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
        (CALLABLE, {"gradients": 1 / 7}, "loss_scale_factor", 7.0),
        (CALLABLE, {"rates": 3.0}, "learning_rate", 3.0),
    ],
)
def test_another_setting_is_found(case: Case, settings: dict[str, float], name: str, used: float) -> None:
    wrong = loop(case, **settings)
    found = [setting for setting in other_settings(case, wrong) if setting.name == name]
    assert [setting.used for setting in found] == [pytest.approx(used, rel=1e-4)]
    diagnosis = diagnose(case, wrong)
    assert diagnosis.names == ()
    # A factor of the gradients and one of the rates are the same without clipping.
    assert diagnosis.setting in other_settings(case, wrong)
    assert str(diagnosis) == f"it equals no known deviation, but the rule with {diagnosis.setting}"


def test_a_few_elements_could_be_explained_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    one = np.ones(1, np.float32)
    case = replace(DECAY, names=("w",), variables=(one,), gradients=((one,),), excluded_from_weight_decay=())
    wrong = DEFINITION.run(replace(case, config={**case.config, "weight_decay": 0.75}))
    alone = [{"variables": record["variables"]} for record in wrong]
    assert other_settings(case, alone) == ()
    monkeypatch.setattr(module, "FEWEST_ELEMENTS", 1)
    assert other_settings(case, alone) != ()


def test_noise_is_no_other_number() -> None:
    noise = np.random.default_rng(5)
    observed = reference.run(DECAY)
    for record in observed:
        for array in record["variables"]:
            array[...] = array * noise.uniform(0.5, 2, array.shape)
    found = diagnose(DECAY, observed, candidates=[])
    assert found.setting is None


def test_a_setting_of_zero_may_have_been_another() -> None:
    case = replace(DECAY, config={**DECAY.config, "weight_decay": 0.0})
    observed = DEFINITION.run(replace(case, config={**case.config, "weight_decay": 0.5}))
    assert OtherSetting("weight_decay", 0.0, 0.5) in other_settings(case, observed)


def test_a_whole_run_says_it_and_its_json() -> None:
    wrong = loop(DECAY, 0.25)
    report = check(lambda _: wrong, [DECAY])
    found = report.diagnoses[DECAY.id]
    assert isinstance(found.setting, OtherSetting)
    assert str(found.setting) in to_json([named_together(report)])


@dataclass(frozen=True)
class Seen:
    """What an optimizer did in a case, and the rule that it is held to."""

    case: Case
    trajectory: Trajectory
    basis: Basis


def found_in(seen: Seen) -> tuple[OtherSetting, ...]:
    return other_settings(seen.case, seen.trajectory, basis=seen.basis, share_left=math.inf)


GIVEN: dict[str, Any] = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1}


def seen_of(
    used: dict[str, Any], given: dict[str, Any] = GIVEN, rule: str = "keras", dtype: str = "float32"
) -> Seen:
    """Return what is seen of an optimizer that uses other settings than are given."""
    generator = np.random.default_rng(2)

    def arrays() -> tuple[Any, ...]:
        return tuple(generator.standard_normal(shape).astype(dtype) for shape in ((5, 8), (6,)))

    basis = rule_of(Dialect(rule), None).basis
    case = Case("a", SGD(**given).get_config(), ("a", "b"), arrays(), tuple(arrays() for _ in range(5)))
    other = replace(case, config=SGD(**{**given, **used}).get_config())
    kept = ("variables", "velocities") if given.get("momentum") else ("variables",)
    answer = [{quantity: record[quantity] for quantity in kept} for record in basis.run(other)]
    return Seen(case, answer, basis)


@pytest.mark.parametrize("rule", ["keras", "pytorch"])
@pytest.mark.parametrize(
    ("dtype", "name", "used"),
    [
        (dtype, name, used)
        for dtype in ("float32", "float64", "bfloat16")
        for name, used in (
            ("learning_rate", 0.0125),
            ("learning_rate", 0.0),
            # In bfloat16, smaller changes could be roundings.
            ("momentum", 0.25 if dtype == "bfloat16" else 0.95),
            ("weight_decay", 2.0 if dtype == "bfloat16" else 0.025),
        )
    ],
)
def test_the_value_that_was_used_is_found(name: str, used: float, rule: str, dtype: str) -> None:
    found = found_in(seen_of({name: used}, rule=rule, dtype=dtype))
    (one,) = [setting for setting in found if setting.name == name]
    # In bfloat16, many values explain the same, and the shortest is named.
    tolerance = {"rel": 0.25} if dtype == "bfloat16" else {"rel": 1e-6}
    assert one == OtherSetting(name, float(np.float32(GIVEN[name])), pytest.approx(used, **tolerance)) or (
        one == OtherSetting(name, GIVEN[name], pytest.approx(used, **tolerance))
    ), found


@pytest.mark.parametrize(
    ("name", "given", "used"),
    [
        ("clipvalue", 0.5, 0.25),
        ("clipnorm", 0.5, 0.5 / 1024),
        ("global_clipnorm", 0.5, 0.5 / 1024),
        ("loss_scale_factor", None, 4.0),
        ("loss_scale_factor", 8.0, 2.0),
        ("weight_decay", None, 0.1),
        ("momentum", 0.0, 0.5),
    ],
)
def test_each_of_the_settings_is_looked_at(name: str, given: Any, used: float) -> None:
    settings = {"learning_rate": 0.05, "momentum": 0.9} | {name: given}
    (found,) = [one for one in found_in(seen_of({name: used}, settings)) if one.name == name]
    assert found == OtherSetting(name, given, pytest.approx(used, rel=1e-4))


def test_what_no_value_explains_has_none() -> None:
    seen = seen_of({"momentum": 0.5})
    assert found_in(seen)
    seen.trajectory[1]["variables"][0][2, 3] += 1
    assert found_in(seen) == ()
    assert found_in(seen_of({})) == ()
    # Some value of the rate explains any value of few elements.
    few = seen_of({})
    case = replace(few.case, variables=(few.case.variables[1][:2],), names=("a",))
    case = replace(case, gradients=tuple((call[1][:2],) for call in case.gradients))
    wrong = seen_of({}).basis.run(replace(case, config={**case.config, "learning_rate": 0.25}))[:1]
    wrong = [{"variables": wrong[0]["variables"]}]
    assert found_in(Seen(replace(case, gradients=case.gradients[:1]), wrong, few.basis)) == ()


def test_a_value_may_explain_the_first_wrong_steps_alone() -> None:
    seen = seen_of({})
    plain = {**seen.case.config, "momentum": 0.0}
    first = replace(seen.case, config=plain)
    start = seen.basis.run(replace(first, config={**plain, "weight_decay": 0.5}))[:1]
    case = replace(first, variables=tuple(start[0]["variables"]), gradients=first.gradients[1:])
    rest = seen.basis.run(case)
    trajectory = [{"variables": record["variables"]} for record in (*start, *rest)]
    found = found_in(Seen(first, trajectory, seen.basis))
    assert OtherSetting("weight_decay", 0.1, 0.5, calls=1) in found
    assert str(found[0]).endswith(" up to call 0")


def test_rates_of_single_calls_are_multiplied() -> None:
    seen = seen_of({})
    rates = (0.05, 0.04, 0.03, 0.02, 0.01)
    case = replace(seen.case, config={**seen.case.config, "learning_rate": None}, learning_rate_calls=rates)
    halved = replace(case, learning_rate_calls=tuple(rate / 2 for rate in rates))
    answer = [{"variables": record["variables"]} for record in seen.basis.run(halved)]
    assert OtherSetting("learning_rate", None, 0.5) in found_in(replace(seen, case=case, trajectory=answer))
