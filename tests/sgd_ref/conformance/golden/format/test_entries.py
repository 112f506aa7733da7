"""Entries: there and back, with decimals for human readers that say the same numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.first import first_cases
from sgd_ref.conformance.golden.content.stages import special_values
from sgd_ref.conformance.golden.format.document import content_hash
from sgd_ref.conformance.golden.format.entries import Entry, decimals, entry_from_json, entry_to_json
from sgd_ref.conformance.golden.format.location import Place
from sgd_ref.conformance.golden.format.schemas import SMOKE, STANDARD, TRAJECTORY
from sgd_ref.conformance.protocol.encoding import case_to_json
from sgd_ref.conformance.trajectories.comparison import compare, equal_bits
from sgd_ref.definition import DEFINITION_VERSION


def test_an_entry_comes_back(entries: list[Entry]) -> None:
    for entry in entries[::7]:
        document = json.loads(json.dumps(entry_to_json(entry)))
        again = entry_from_json(document)
        assert case_to_json(again.case) == case_to_json(entry.case)
        assert compare(entry.case, entry.expected, again.expected).equal
        assert entry_to_json(again) == document


def test_every_nan_of_an_answer_is_written_alike(entries: list[Entry]) -> None:
    # Which NaN an operation gives depends on the instructions that the processor has.
    def with_nan(sign: float) -> Entry:
        records = [{**record, "learning_rate": np.float32(sign * np.nan)} for record in entries[0].expected]
        for record in records:
            record["variables"] = [np.full_like(array, sign * np.nan) for array in record["variables"]]
        return replace(entries[0], expected=records)

    one, other = (json.dumps(entry_to_json(with_nan(sign))) for sign in (1.0, -1.0))
    assert one == other


def test_decimals_are_left_out_when_an_entry_is_read(entries: list[Entry]) -> None:
    entry = entries[0]
    assert entry_to_json(entry_from_json(entry_to_json(entry, with_decimals=True))) == entry_to_json(entry)


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_decimals_round_to_the_same_numbers_and_none_is_longer_than_needed(dtype: np.dtype) -> None:
    generator = np.random.default_rng(3)
    bits = generator.integers(0, 2 ** (8 * dtype.itemsize), 300, f"u{dtype.itemsize}")
    array = np.concatenate([bits.view(dtype), convert(np.array(special_values(dtype)), dtype)])
    texts = decimals(array).split(" ")
    assert len(texts) == array.size
    again = convert(np.array([float(text) for text in texts]), dtype)
    assert equal_bits(array, again).all()
    for text, number in zip(texts, array, strict=True):
        digits = len(text.lstrip("-").split("e")[0].replace(".", "").strip("0"))
        if digits > 1 and np.isfinite(number):
            shorter = convert(np.array(float(f"{float(text):.{digits - 1}g}")), dtype)
            assert shorter != number, text


def test_decimals_of_a_half_type_are_short() -> None:
    assert decimals(np.array([0.1, 3e38], ml_dtypes.bfloat16)) == "0.1 3e+38"


@pytest.mark.parametrize("key", ["case", "expected", "bounds", "contested", "provenance", "sha256"])
def test_an_entry_without_a_part_is_refused(entries: list[Entry], key: str) -> None:
    document = entry_to_json(entries[0])
    del document[key]
    with pytest.raises(ValueError, match="the keys of an entry must be"):
        entry_from_json(document)


def test_every_entry_has_its_hash_and_its_provenance(places: list[Place]) -> None:
    for place in places:
        assert place.entry["sha256"] == content_hash(place.entry)
        assert place.entry["provenance"]["definition_version"] == DEFINITION_VERSION
        if place.kind == TRAJECTORY:
            assert place.entry["provenance"]["seed"] == place.entry["case"]["id"]
            # Not every standard case is for a known mistake.
            is_standard = place.tier in (SMOKE, STANDARD)
            assert is_standard or place.entry["case"]["exposes"], place.entry["case"]["id"]


def test_smoke_cases_are_small_and_stand_for_every_dtype_and_feature() -> None:
    cases = list(first_cases())
    assert all(variable.size <= 4 for case in cases for variable in case.variables)
    dtypes = {variable.dtype for case in cases for variable in case.variables}
    assert dtypes == set(FORMATS)
    used = {key for case in cases for key, value in case.config.items() if value not in (None, False, 0.0)}
    assert used == set(cases[0].config)


def test_the_smoke_tier_fits_into_a_program(contents: dict[str, bytes]) -> None:
    assert len(contents["first.json"]) < 100_000
