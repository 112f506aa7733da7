"""The text of golden files, its canonical form, and their versions."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

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
