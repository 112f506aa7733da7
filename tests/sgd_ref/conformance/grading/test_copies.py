"""A copy that an adapter forgot is named as such, and what only looks like one is not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance import Case
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.protocol import encoding
from sgd_ref.conformance.protocol.answer import trajectory_of
from sgd_ref.conformance.trajectories import reference

Records = list[dict[str, Any]]

CASE = make_case(PLAINEST | {"update": "momentum"})
ACCUMULATING = make_case(PLAINEST | {"accumulation": "3"})


def without_copies(quantity: str, case: Case) -> Records:
    """Return the arrays of the optimizer itself, which the next call overwrites."""
    records = reference.run(case)
    own = [np.array(array) for array in records[0][quantity]]
    for record in records:
        for array, value in zip(own, record[quantity], strict=True):
            array[...] = value
        record[quantity] = list(own)
    return records


def views(case: Case) -> Records:
    """Return views of one buffer that holds all variables."""
    records = reference.run(case)
    buffer = np.zeros(sum(variable.size for variable in case.variables), np.float32)
    for record in records:
        start, parts = 0, []
        for variable in record["variables"]:
            part = buffer[start : start + variable.size].reshape(variable.shape)
            part[...] = variable
            parts.append(part)
            start += variable.size
        record["variables"] = parts
    return records


@pytest.mark.parametrize("quantity", ["variables", "velocities"])
def test_a_forgotten_copy_is_named(quantity: str) -> None:
    verdict = grade(lambda case: without_copies(quantity, case), CASE)
    assert verdict.grade == "diverges"
    assert verdict.message == (
        f"{quantity} of kernel are the same memory in records 0 and 1: a copy was forgotten"
    )


def test_views_of_one_buffer_are_named() -> None:
    assert "are the same memory" in grade(views, CASE).message


def test_a_program_that_writes_all_records_at_the_end_is_asked() -> None:
    records = without_copies("variables", CASE)
    line = encoding.to_line({"id": CASE.id, "trajectory": encoding.trajectory_to_json(records)})
    verdict = grade(lambda case: trajectory_of(case, line), CASE)
    assert verdict.grade == "diverges"
    assert "variables of kernel are the same in all records" in verdict.message


def test_what_may_be_shared_is_no_forgotten_copy() -> None:
    def shares_what_stays(case: Case) -> Records:
        """Variables do not change while gradients are accumulated, so one copy serves several records."""
        records = reference.run(case)
        for before, record in pairwise(records):
            if record["iterations"] == before["iterations"]:
                record["variables"] = before["variables"]
        return records

    assert grade(shares_what_stays, ACCUMULATING).grade == "exact"

    def and_is_wrong(case: Case) -> Records:
        records = shares_what_stays(case)
        records[-1]["variables"][0][0, 0] += 1
        return records

    verdict = grade(and_is_wrong, ACCUMULATING)
    assert (verdict.grade, verdict.message) == ("diverges", "")


@pytest.mark.parametrize("name", ["ascends", "velocity-not-kept"])
def test_a_mistake_is_no_forgotten_copy(name: str) -> None:
    verdict = grade(lambda case: reference.run(case, *compose([name])), CASE)
    assert (verdict.grade, verdict.message) == ("diverges", "")


def test_variables_that_are_never_updated_are_no_forgotten_copy() -> None:
    verdict = grade(
        lambda case: [{"variables": [np.array(v) for v in CASE.variables]} for _ in range(9)], CASE
    )
    assert (verdict.grade, verdict.message) == ("diverges", "")
