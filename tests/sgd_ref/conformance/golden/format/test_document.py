"""The text of golden files, its canonical form, and its version."""

from __future__ import annotations

import hashlib

from sgd_ref.conformance.golden.format import document


def test_the_format_is_the_first_number_of_the_version_of_the_data() -> None:
    assert document.DATA_VERSION.split(".")[0] == str(document.FORMAT)


def test_the_hash_is_that_of_the_canonical_form_without_the_hash() -> None:
    entry = {"b": [1.5, None], "a": "é", "sha256": "anything"}
    expected = hashlib.sha256('{"a":"é","b":[1.5,null]}'.encode()).hexdigest()
    assert document.content_hash(entry) == expected
    assert document.hashed({"b": [1.5, None], "a": "é"})["sha256"] == expected
