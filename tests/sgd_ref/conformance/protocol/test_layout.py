"""JSON files: the layout is another form of the same, and a file is written as a whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.conformance.protocol.layout import laid_out, write_at_once


@pytest.mark.parametrize(
    "value", [{"a": {}, "b": []}, {"a": [[1, 2], {"b": "c d"}]}, {"text": "é\n", "number": 1e-07}]
)
@pytest.mark.parametrize("levels", range(5))
def test_the_layout_is_json_that_says_the_same(value: Any, levels: int) -> None:
    text = laid_out(value, levels)
    assert json.loads(text) == value
    assert text.endswith(b"\n")
    assert b"\r" not in text


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        laid_out({"a": float("nan")}, 2)


def test_a_file_is_written_as_a_whole(tmp_path: Path) -> None:
    write_at_once(tmp_path / "kept.json", b"old")
    write_at_once(tmp_path / "kept.json", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("kept.json", b"new")]


def test_what_cannot_be_written_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(f"{target} is in use")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="in use"):
        write_at_once(path, b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("kept.json", b"old")]
