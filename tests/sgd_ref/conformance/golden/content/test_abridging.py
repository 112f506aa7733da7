"""Stored trajectories: what is left out, and that mistakes are found all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.conformance.golden.content.abridging import SHORT, abridged, kept_records
from sgd_ref.conformance.golden.content.bounds import first_outside
from sgd_ref.conformance.golden.content.deviations import is_outside
from sgd_ref.conformance.golden.format.entries import Entry, entry_from_json, entry_to_json, made
from sgd_ref.conformance.protocol.encoding import trajectory_to_json
from sgd_ref.conformance.trajectories import reference
from tests.conftest import Sweep

COUNTS = (*range(1, 2 * SHORT), 66, 260, 1002)


def of_standard(identifier: str) -> Entry:
    entry = made(next(case for case in conformance.cases() if case.id == identifier), "here")
    expected, bounds = abridged(entry.expected, entry.bounds)
    return replace(entry, expected=expected, bounds=bounds)


@pytest.mark.parametrize("count", COUNTS)
def test_both_ends_are_kept_and_never_more_than_one_in_a_row_is_left_out_of_a_short_run(count: int) -> None:
    kept = kept_records(count)
    assert kept == sorted(set(kept))
    assert kept[0] == 0
    assert kept[-1] == count - 1
    steps = np.diff(kept)
    assert (steps[:2] == 1).all()
    assert count > SHORT or (steps <= 2).all()


def test_a_long_run_keeps_what_counts_of_few_bits_would_show() -> None:
    kept = kept_records(1002)
    assert {0, 1, 2, 3, 127, 128, 255, 256, 511, 512, 1000, 1001} <= set(kept)
    assert len(kept) < 30


def test_what_is_kept_is_what_the_reference_gives() -> None:
    entry = of_standard("axes/nesterov/decay/overwrite/fixed/piecewise")
    whole = reference.run(entry.case)
    left_out, without_state = 0, 0
    for record, answer in zip(entry.expected, whole, strict=True):
        left_out += not record
        without_state += bool(record) and "velocities" not in record
        for key, value in record.items():
            written = trajectory_to_json([{"variables": [], key: value}])
            assert written == trajectory_to_json([{"variables": [], key: answer[key]}])
    kept = kept_records(len(whole))
    assert (left_out, without_state) == (len(whole) - len(kept), len(kept) - 2)
    assert first_outside(entry.expected, entry.bounds, whole) is None


def test_an_abridged_entry_comes_back() -> None:
    entry = of_standard("axes/nesterov/decay/overwrite/fixed/piecewise")
    document = entry_to_json(entry)
    assert {} in document["expected"]
    assert {} in document["bounds"]
    assert entry_to_json(entry_from_json(document)) == document


def test_mistakes_that_cases_are_for_are_outside_of_what_is_stored(sweep: Sweep) -> None:
    pairs = [(case, name) for case in conformance.cases() for name in case.exposes if case.made is None]
    chosen = sweep.generator.permutation(len(pairs))[: sweep.count(1000, share=100)]
    inside = []
    for index in chosen:
        case, name = pairs[index]
        entry = made(case, "here")
        expected, bounds = abridged(entry.expected, entry.bounds)
        if not is_outside(replace(entry, expected=expected, bounds=bounds), name):
            inside.append((case.id, name))
    # A few show in a record that is left out alone.
    assert len(inside) <= max(len(chosen) // 20, 1), inside
