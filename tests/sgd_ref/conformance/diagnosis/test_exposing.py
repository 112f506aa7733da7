"""What the kill matrix has on record of a case spares running it."""

from __future__ import annotations

from dataclasses import replace

from sgd_ref.conformance import cases
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.diagnosis.exposing import cases_that_expose, has_other_bits

BY_ID = {case.id: case for case in cases()}
SILENT = "clip-adds-epsilon"


def test_what_is_on_record_to_change_nothing_is_left_out() -> None:
    assert not has_other_bits(SILENT, BY_ID["axes/plain"])
    exposing = next(iter(sorted(cases_that_expose(SILENT))))
    assert has_other_bits(SILENT, BY_ID[exposing])


def test_a_changed_case_of_a_known_id_is_not_on_record() -> None:
    assert has_other_bits(SILENT, replace(BY_ID["axes/plain"]))


def test_a_deviation_that_is_not_on_record_may_act_anywhere() -> None:
    # The matrix is about contradictions.
    assert has_other_bits("update-fused", BY_ID["axes/plain"])


def test_in_contested_cases_other_bits_may_be_an_answer() -> None:
    open_ground = next(case for case in cases() if contested(case) and case.made is None)
    assert has_other_bits(SILENT, open_ground)
