"""The text of golden files, its canonical form, and their versions."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.conformance.golden.format import document

ROOT = Path(__file__).parents[5]


def test_the_version_of_the_definition_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == document.DEFINITION_VERSION


def test_the_hash_is_that_of_the_canonical_form_without_the_hash() -> None:
    entry = {"b": [1.5, None], "a": "é", "sha256": "anything"}
    expected = hashlib.sha256('{"a":"é","b":[1.5,null]}'.encode()).hexdigest()
    assert document.content_hash(entry) == expected
    assert document.hashed({"b": [1.5, None], "a": "é"})["sha256"] == expected


@pytest.mark.parametrize(
    "value", [{"a": {}, "b": []}, {"a": [[1, 2], {"b": "c d"}]}, {"text": "é\n", "number": 1e-07}]
)
@pytest.mark.parametrize("levels", range(5))
def test_the_layout_is_json_that_says_the_same(value: Any, levels: int) -> None:
    text = document.laid_out(value, levels)
    assert json.loads(text) == value
    assert text.endswith(b"\n")
    assert b"\r" not in text


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        document.laid_out({"a": float("nan")}, 2)
