"""Big cases: made by a rule, never rounded, judged by bits alone, sent to who answers with digests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance import Case, Unsupported
from sgd_ref.conformance.catalogue.made import made
from sgd_ref.conformance.catalogue.structure import big
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.grading.check import check, grade
from sgd_ref.conformance.protocol.digest import Digest, digested
from sgd_ref.conformance.protocol.encoding import case_to_json, to_line
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare

LONGEST_LINE = 10_000

CASES = {case.id: case for case in big.cases()}
MIDDLE = "structure/big-65536/momentum/float32"
LARGEST = "structure/big-1048577/plain/float32"


def test_they_are_what_they_say() -> None:
    sizes = {size for case in CASES.values() for size in (variable.size for variable in case.variables)}
    assert {511, 512, 513, 1023, 1024, 4095, 4096, 4097, 65535, 65536, 65537, 1048577} <= sizes
    for case in CASES.values():
        assert case.made is not None
        pairs = zip(case.made.variables, case.variables, strict=True)
        assert all((made(*pair, w.shape, w.dtype) == w).all() for pair, w in pairs)
        assert len(to_line(case_to_json(case))) < LONGEST_LINE + 200 * len(case.variables)


def test_no_result_has_more_bits_than_the_narrowest_dtype() -> None:
    for record in reference.run(CASES["structure/big-4096/nesterov/float32"]):
        for array in (*record["variables"], *record["velocities"]):
            assert np.array_equal(array * 16, np.round(array * 16))
            assert np.abs(array * 16).max() < 2**8


@pytest.mark.parametrize("name", ["nesterov-gradient-first", "everything-in-double", "update-fused"])
def test_faithful_variants_have_the_same_bits(name: str) -> None:
    for case in CASES.values():
        if "big-4096" in case.id:
            assert compare(case, reference.run(case), FAITHFUL[name].run(case)).equal, case.id


def test_one_element_off_diverges_wherever_it_is() -> None:
    case = CASES[MIDDLE]
    expected = reference.run(case)
    for position in (0, 777, 65534):
        run: Any = [
            {**record, "variables": [np.array(w) for w in record["variables"]]} for record in expected
        ]
        run[-1]["variables"][0][position] += 0.125
        for answer in (run, digested(run)):
            verdict = grade(lambda _, given=answer: given, case)
            assert verdict.grade == "diverges"
            assert verdict.violation is not None
            assert (verdict.violation.call, verdict.violation.variable) == (1, "size_65535")


def test_digests_are_as_good_as_arrays() -> None:
    report = check(lambda case: digested(reference.run(case)), list(CASES.values())[:10])
    assert report.ok
    assert all(verdict.grade == "exact" for verdict in report.verdicts.values())


def test_a_digest_of_another_shape_is_an_error() -> None:
    case = CASES[MIDDLE]
    run = digested(reference.run(case))
    first = run[0]["variables"][0]
    run[0]["variables"][0] = Digest(first.dtype, (3,), first.hash, first.window)
    assert grade(lambda _: run, case).grade == "error"


def test_indices_of_16_bits_are_seen() -> None:
    deviation = DEVIATIONS["indices-of-16-bits"]

    def run(case: Case) -> Any:
        return reference.run(case, deviation.optimizer)

    for given in (run, lambda case: digested(run(case))):
        verdict = grade(given, CASES[MIDDLE])
        assert verdict.grade == "diverges"
        assert verdict.diagnosis is not None
        assert "indices-of-16-bits" in str(verdict.diagnosis)
    assert grade(run, CASES[LARGEST]).grade == "diverges"
    assert grade(run, CASES["structure/big-4096/plain/float32"]).grade == "exact"


def test_who_cannot_answer_is_not_judged() -> None:
    def run(case: Case) -> Any:
        raise Unsupported("nothing that big")

    assert grade(run, CASES[LARGEST]).grade == "unsupported"
