"""The command that appends combinations to the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance.audit import combinations as command
from sgd_ref.conformance.catalogue import combinations


def test_nothing_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    assert capsys.readouterr().out == ""


def test_missing_combinations_are_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = combinations.kept_combinations()[:-20]
    monkeypatch.setattr(command, "kept_combinations", lambda: kept)
    monkeypatch.setattr(command, "DATA", tmp_path / "combinations.json")
    assert command.main([]) == int(bool(combinations.missing_combinations(kept)))
    monkeypatch.setattr(command, "kept_combinations", lambda: kept[:60])
    assert command.main([]) == 1
    ids = capsys.readouterr().out.split()
    assert command.main(["--append"]) == 0
    written = (tmp_path / "combinations.json").read_text(encoding="utf-8")
    assert written.count('"seed"') == 60 + len(combinations.missing_combinations(kept[:60]))
    assert all(identifier.startswith("axes/") for identifier in ids)
