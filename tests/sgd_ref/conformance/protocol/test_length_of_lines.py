"""No line of the protocol is so long that a program must take care."""

from __future__ import annotations

from sgd_ref import conformance
from sgd_ref.conformance.protocol.digest import digested
from sgd_ref.conformance.protocol.encoding import case_to_json, to_line, trajectory_to_json
from sgd_ref.conformance.trajectories import reference
from tests.conftest import Sweep

LONGEST_LINE = 1_000_000
"""Bytes that a program must be ready to read at once."""


def test_no_standard_case_is_a_long_line_and_no_answer_to_one(sweep: Sweep) -> None:
    every = conformance.cases()
    for index in sweep.generator.permutation(len(every))[: sweep.count(len(every), 4)]:
        case = every[index]
        assert len(to_line(case_to_json(case))) < LONGEST_LINE, case.id
        answer = reference.run(case)
        told = trajectory_to_json(answer if case.made is None else digested(answer))
        assert len(to_line({"id": case.id, "trajectory": told})) < LONGEST_LINE, case.id
