"""Histories are written in one form, as a whole, and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance.targets.history import storage
from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.storage import Asked
from sgd_ref.conformance.targets.registry import names

ASKED = [
    Asked(
        "0.9.2", {"python": "3.11.7", "mine": "0.9.2"}, {"b": Outcome("absent"), "a": Outcome("there", "1")}
    ),
    Asked("0.10.0", obstacle="no wheel"),
]


def test_what_is_written_is_read_with_the_oldest_release_first(tmp_path: Path) -> None:
    path = tmp_path / "new" / "history.json"
    storage.write("mine", ASKED[::-1], path)
    assert storage.read(path, "mine") == ASKED
    # Nothing that was begun stays behind.
    assert [one.name for one in path.parent.iterdir()] == ["history.json"]
    before = path.read_bytes()
    storage.write("mine", storage.read(path, "mine"), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"format": 1, "target": "other", "releases": []}',
        '{"format": 2, "target": "mine", "releases": []}',
        '{"format": 1, "target": "mine", "releases": [{"release": "1.0"}]}',
        '{"format": 1, "target": "mine", "releases": [{"release": "1.0", "versions": {}, "obstacle": "", '
        '"outcomes": {"a": {"name": "gone", "detail": ""}}}]}',
    ],
)
def test_malformed_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"history\.json holds no history"):
        storage.read(path, "mine")


@pytest.mark.parametrize("target", [name for name in names() if storage.path_of(name).exists()])
def test_kept_histories_are_in_the_form_that_is_written(target: str, tmp_path: Path) -> None:
    kept = storage.kept(target)
    assert kept
    storage.write(target, kept, tmp_path / "history.json")
    assert (tmp_path / "history.json").read_bytes() == storage.path_of(target).read_bytes()
    assert all(bool(one.outcomes) != bool(one.obstacle) for one in kept)


def test_a_target_without_a_history_has_none() -> None:
    assert storage.kept("libtorch") == []
