"""The software that decides results: other code is other software, whatever its version says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sgd_ref.conformance.grading.sweep.software import KERNELS, differences, fingerprint, software


def test_other_code_has_another_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    package = tmp_path / "some_package_of_a_test"
    (package / "below").mkdir(parents=True)
    seen = set()
    for name, text in [
        ("__init__.py", ""),
        ("below/__init__.py", ""),
        ("below/rule.py", "w - g"),
        ("below/rule.py", "w + g"),
        ("below/combinations.json", "{}"),
    ]:
        (package / name).write_text(text)
        fingerprint.cache_clear()
        seen.add(fingerprint(package.name))
        (package / "notes.md").write_text(text)
        (package / "golden").mkdir(exist_ok=True)
        (package / "golden" / f"{text}.json").write_text(text)
        fingerprint.cache_clear()
        seen.add(fingerprint(package.name))
    assert len(seen) == 5


def test_a_missing_package_is_said() -> None:
    assert fingerprint("no_such_package") == "not installed"


def test_the_kernels_depend_on_their_compiler() -> None:
    assert {"numba", "llvmlite", "code of numba_kernels"} == software(KERNELS).keys() - software().keys()


def test_differences_are_named_both_ways() -> None:
    assert differences({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == (
        "a is missing instead of 1, b is 3 instead of 2, c is 4 instead of missing"
    )
    assert not differences({"a": "1"}, {"a": "1"})
