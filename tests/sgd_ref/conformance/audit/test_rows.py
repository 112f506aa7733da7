"""The command that appends rows to the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance.audit import rows as command
from sgd_ref.conformance.catalogue import rows


def test_nothing_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    assert capsys.readouterr().out == ""


def test_missing_rows_are_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = rows.rows()[:-20]
    monkeypatch.setattr(command, "rows", lambda: kept)
    monkeypatch.setattr(command, "DATA", tmp_path / "rows.json")
    assert command.main([]) == int(bool(rows.missing_rows(kept)))
    monkeypatch.setattr(command, "rows", lambda: kept[:60])
    assert command.main([]) == 1
    ids = capsys.readouterr().out.split()
    assert command.main(["--append"]) == 0
    written = (tmp_path / "rows.json").read_text(encoding="utf-8")
    assert written.count('"seed"') == 60 + len(rows.missing_rows(kept[:60]))
    assert all(identifier.startswith("axes/") for identifier in ids)
