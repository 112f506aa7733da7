"""Another value of a setting explains some steps, and is found from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.watching.other_settings import OtherSetting, other_settings
from sgd_ref.conformance.watching.settings import rule_of
from sgd_ref.conformance.watching.window import Seen

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
    return Seen(case, answer, basis, 0)


@pytest.mark.parametrize("rule", ["keras", "pytorch"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(
    ("name", "used"),
    [("learning_rate", 0.0125), ("learning_rate", 0.0), ("momentum", 0.95), ("weight_decay", 0.025)],
)
def test_the_value_that_was_used_is_found(name: str, used: float, rule: str, dtype: str) -> None:
    found = other_settings(seen_of({name: used}, rule=rule, dtype=dtype))
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
    (found,) = [one for one in other_settings(seen_of({name: used}, settings)) if one.name == name]
    assert found == OtherSetting(name, given, pytest.approx(used, rel=1e-4))


def test_what_no_value_explains_has_none() -> None:
    seen = seen_of({"momentum": 0.5})
    assert other_settings(seen)
    seen.trajectory[1]["variables"][0][2, 3] += 1
    assert other_settings(seen) == ()
    assert other_settings(seen_of({})) == ()
    # Some value of the rate explains any value of few elements.
    few = seen_of({})
    case = replace(few.case, variables=(few.case.variables[1][:2],), names=("a",))
    case = replace(case, gradients=tuple((call[1][:2],) for call in case.gradients))
    wrong = seen_of({}).basis.run(replace(case, config={**case.config, "learning_rate": 0.25}))[:1]
    wrong = [{"variables": wrong[0]["variables"]}]
    assert other_settings(Seen(replace(case, gradients=case.gradients[:1]), wrong, few.basis, 0)) == ()


def test_a_value_may_explain_the_first_wrong_steps_alone() -> None:
    seen = seen_of({})
    plain = {**seen.case.config, "momentum": 0.0}
    first = replace(seen.case, config=plain)
    start = seen.basis.run(replace(first, config={**plain, "weight_decay": 0.5}))[:1]
    case = replace(first, variables=tuple(start[0]["variables"]), gradients=first.gradients[1:])
    rest = seen.basis.run(case)
    trajectory = [{"variables": record["variables"]} for record in (*start, *rest)]
    found = other_settings(Seen(first, trajectory, seen.basis, 0))
    assert OtherSetting("weight_decay", 0.1, 0.5, calls=1) in found
    assert str(found[0]).endswith(" up to call 0")


def test_rates_of_single_calls_are_multiplied() -> None:
    seen = seen_of({})
    rates = (0.05, 0.04, 0.03, 0.02, 0.01)
    case = replace(seen.case, config={**seen.case.config, "learning_rate": None}, learning_rate_calls=rates)
    halved = replace(case, learning_rate_calls=tuple(rate / 2 for rate in rates))
    answer = [{"variables": record["variables"]} for record in seen.basis.run(halved)]
    assert OtherSetting("learning_rate", None, 0.5) in other_settings(
        replace(seen, case=case, trajectory=answer)
    )
