"""A large case is cut to the elements around its first violation, and the diagnosis says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.conformance import check
from sgd_ref.conformance.catalogue.case import Case, LossScaling, Trajectory
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.diagnosis import window
from sgd_ref.conformance.diagnosis.elements import MOST_ELEMENTS, size_of
from sgd_ref.conformance.diagnosis.matching import diagnose
from sgd_ref.conformance.diagnosis.window import around_violation
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import are_equal
from sgd_ref.gradients import SparseRows

GENERATOR = np.random.default_rng(7)


def numbers(*shape: int) -> np.ndarray:
    return GENERATOR.standard_normal(shape).astype("f4")


def large(**settings: object) -> Case:
    """Three variables, one of them with 60,000 elements and sparse gradients, in four calls."""
    config = SGD(0.1, momentum=0.9).get_config() | settings
    shapes = ((300, 200), (7,), ())
    rows = [SparseRows([299, 4, 250, 4], numbers(4, 200), shapes[0]) for _ in range(2)]
    calls = [[numbers(*shape) for shape in shapes] for _ in range(2)]
    calls += [[one, numbers(7), None] for one in rows]
    variables = tuple(numbers(*shape) for shape in shapes)
    return Case("large", config, ("w", "v", "u"), variables, tuple(map(tuple, calls)))


LARGE = large()


def wrong_at(row: int, column: int) -> Trajectory:
    observed = reference.run(LARGE)
    observed[2]["variables"][0][row, column] += 5
    return observed


@pytest.mark.parametrize(("row", "rows"), [(0, (0, 4)), (150, (148, 152)), (299, (296, 300))])
def test_the_elements_that_are_looked_at(row: int, rows: tuple[int, int]) -> None:
    observed = wrong_at(row, 150)
    cut = around_violation(LARGE, observed)
    assert cut.elements == (size_of(cut.case), 60_008)
    assert size_of(cut.case) <= MOST_ELEMENTS
    assert [variable.shape for variable in cut.case.variables] == [(4, 200), (7,), ()]
    shown = [record["variables"][0] for record in cut.observed]
    assert all(
        np.array_equal(part, record["variables"][0][slice(*rows)])
        for part, record in zip(shown, observed, strict=True)
    )
    # The rule gives the other elements of the records, so that gradients and state were cut as they were.
    assert are_equal(cut.case, reference.run(cut.case)[:2], cut.observed[:2])


def test_a_case_with_a_norm_is_not_cut() -> None:
    clipped = large(global_clipnorm=1.0)
    observed = reference.run(clipped)
    observed[2]["variables"][0][0, 0] += 5
    assert around_violation(clipped, observed).is_all


def test_a_case_whose_rule_needs_all_elements_is_not_cut() -> None:
    gradients = np.ones((300, 200), "f4")
    gradients[250, 150] = np.inf
    case = replace(
        LARGE,
        gradients=((gradients, *LARGE.gradients[0][1:]), *LARGE.gradients[1:]),
        loss_scaling=LossScaling(2.0, 10),
    )
    observed = reference.run(case)
    observed[2]["variables"][0][0, 0] += 5
    assert around_violation(case, observed).is_all
    observed[2]["variables"][0][250, 150] += 50
    observed[2]["variables"][0][0, 0] -= 5
    assert around_violation(case, observed).elements == (808, 60_008)


def test_a_mistake_is_named_in_a_large_case() -> None:
    observed = reference.run(LARGE, *compose(["rate-outside-velocity"]))
    found = diagnose(LARGE, observed)
    assert ("rate-outside-velocity",) in found.names


def test_how_many_elements_were_looked_at_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WORK_ON_WHOLE", 0)
    observed = reference.run(LARGE, *compose(["ascends"]))
    said = "it equals ascends; of this large case, 808 of 60,008 elements were looked at"
    assert str(diagnose(LARGE, observed)) == said
    report = check(lambda _: observed, [LARGE])
    assert list(map(str, report.diagnoses.values())) == [said]
