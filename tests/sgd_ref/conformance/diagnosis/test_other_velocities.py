"""Velocities that are kept in another form, and not declared, hide no other mistake."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance import Case, Profile
from sgd_ref.conformance.catalogue.case import Trajectory
from sgd_ref.conformance.diagnosis.matching import ALL_BUT_VELOCITIES, diagnose
from sgd_ref.conformance.dialects.dialect import Dialect
from sgd_ref.conformance.targets.running import named_together

CHANGING = "axes/momentum/callable"
CONSTANT = "exact/momentum/float32"
OFFERED = ("float32", "momentum", "learning_rate")


def trained(
    case: Case, keeps_look_ahead: bool = False
) -> Iterator[tuple[list[Array], list[Array], np.float32]]:
    """Yield variables, sums and rate of each call of a loop in which the rate multiplies the whole sum."""
    momentum = np.float32(case.config["momentum"])
    variables = [np.array(variable) for variable in case.variables]
    kept = [np.zeros_like(variable) for variable in variables]
    with np.errstate(all="ignore"):
        for call, gradients in enumerate(case.gradients):
            rate = np.float32(case.rate(call))
            for index, gradient in enumerate(gradients):
                kept[index] = momentum * kept[index] + np.asarray(gradient)
                if keeps_look_ahead:
                    kept[index] = np.asarray(gradient) + momentum * kept[index]
                variables[index] = variables[index] - rate * kept[index]
            yield list(variables), list(kept), rate


def without_rate(case: Case) -> Trajectory:
    """The loop of many frameworks, which reports its sums as it keeps them."""
    return [{"variables": variables, "velocities": kept} for variables, kept, _ in trained(case)]


def case_of(case_id: str) -> Case:
    (case,) = [case for case in conformance.cases() if case.id == case_id]
    return case


def test_the_rule_is_named_where_the_rate_changes() -> None:
    case = case_of(CHANGING)
    found = diagnose(case, without_rate(case))
    assert found.names == (("rate-outside-velocity",),)
    assert found.has_other_velocities
    assert "the velocities that it reports are not the documented ones" in str(found)


def test_where_the_rate_is_constant_all_else_is_as_defined() -> None:
    case = case_of(CONSTANT)
    found = diagnose(case, without_rate(case))
    assert (found.names, found.has_other_velocities) == ((), True)
    assert str(found) == ALL_BUT_VELOCITIES
    assert found.parting is not None


def test_a_whole_run_says_both() -> None:
    report = conformance.check(without_rate, [case_of(CHANGING), case_of(CONSTANT)], Profile(offers=OFFERED))
    found = report.diagnoses
    assert found[CHANGING].names == (("rate-outside-velocity",),)
    assert str(found[CONSTANT]) == ALL_BUT_VELOCITIES
    findings = named_together(report)
    assert findings.names == {CHANGING: ("rate-outside-velocity",)}
    assert list(map(str, findings.partly.values())) == [ALL_BUT_VELOCITIES]
    assert not report.ok


@pytest.mark.share(2)
@pytest.mark.parametrize("case_id", [CHANGING, CONSTANT])
def test_a_wrong_variable_is_not_excused(case_id: str) -> None:
    def wrong(case: Case) -> Trajectory:
        observed = without_rate(case)
        observed[-1]["variables"] = [variable * np.float32(1.25) for variable in observed[-1]["variables"]]
        return observed

    case = case_of(case_id)
    assert not diagnose(case, wrong(case), with_pairs=False).has_other_velocities
    (found,) = conformance.check(wrong, [case], Profile(offers=OFFERED)).diagnoses.values()
    assert not found.has_other_velocities


def kept_look_ahead(case: Case) -> Trajectory:
    """A loop of PyTorch's form whose buffer is overwritten by what it looks ahead to."""
    return [
        {"variables": variables, "velocities": [-(rate * sums) for sums in kept]}
        for variables, kept, rate in trained(case, keeps_look_ahead=True)
    ]


def test_a_kept_look_ahead_is_named_where_the_rate_is_outside() -> None:
    case = case_of("structure/calls-66/callable/nesterov/float32")
    found = diagnose(case, kept_look_ahead(case), basis=Dialect.of("pytorch").basis())
    assert found.names == (("look-ahead-stored-as-velocity",),)
