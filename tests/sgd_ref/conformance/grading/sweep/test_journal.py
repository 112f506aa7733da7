"""The journal: whole lines count, torn ones do not, and what was asked must be the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance.grading.sweep.journal import Journal, default_path, journal_at
from sgd_ref.conformance.grading.sweep.unit import Done

ASKED = {"tier": "full", "numpy": "2.4.6"}


def done(unit: str, cases: int = 1) -> Done:
    return Done(unit, {"cases": cases}, {"name": "0", "host": "here"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with the units a and b."""
    with Journal(tmp_path / "journal", ASKED) as journal:
        journal.add(done("a", 1))
        journal.add(done("b", 2))
    return tmp_path / "journal"


def test_each_unit_is_a_line_that_is_found_again(path: Path) -> None:
    with Journal(path, ASKED) as journal:
        assert [journal.result(unit) for unit in "ab"] == [{"cases": 1}, {"cases": 2}]
        assert journal.worker("b") == {"name": "0", "host": "here"}
        assert "c" not in journal
    assert path.read_bytes().count(b"\n") == 3


def test_a_unit_that_is_done_twice_counts_once(path: Path) -> None:
    with Journal(path, ASKED) as journal:
        journal.add(done("a", 5))
        assert journal.result("a") == {"cases": 1}
    # Two processes that did not see each other's lines.
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, lines[1].replace(b'"cases":1', b'"cases":7')]))
    with Journal(path, ASKED) as journal:
        assert journal.result("a") == {"cases": 1}
        assert len(journal) == 2


def test_a_torn_last_line_is_done_again(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(whole.rindex(b'{"unit":"b"') + 1, len(whole)):
        path.write_bytes(whole[:length])
        with Journal(path, ASKED) as journal:
            assert "a" in journal
            assert "b" not in journal
            journal.add(done("b", 2))
        assert path.read_bytes() == whole


@pytest.mark.parametrize("length", [0, 1, 10, 20])
def test_a_torn_first_line_is_an_empty_journal(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with Journal(path, ASKED) as journal:
        assert len(journal) == 0
        journal.add(done("a"))
    with Journal(path, ASKED) as journal:
        assert len(journal) == 1


def test_a_journal_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"numpy is 2\.3\.0 instead of 2\.4\.6, rule is keras instead of missing"
    ):
        Journal(path, {"tier": "full", "numpy": "2.3.0", "rule": "keras"})
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["notes of mine\n", "notes of mine", '{"runs": []}\n', "[]\n", "3\n"])
def test_another_file_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes"
    path.write_text(text)
    with pytest.raises(ValueError, match="no journal of a sweep"):
        Journal(path, ASKED)
    assert path.read_text() == text


def test_a_damaged_line_is_named(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b'{"unit":"a"\n', lines[2]]))
    with pytest.raises(ValueError, match=r"line 2 of the journal .* is damaged"):
        Journal(path, ASKED)


def test_one_process_at_a_time_has_a_journal(path: Path) -> None:
    pytest.importorskip("fcntl")
    with Journal(path, ASKED) as journal:
        with pytest.raises(OSError, match="in use by another process"):
            Journal(path, ASKED)
        assert len(journal) == 2


def test_without_a_name_each_sweep_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with journal_at(None, ASKED) as journal:
        assert journal.path == default_path(ASKED)
        assert journal.path.is_relative_to(tmp_path)
    assert default_path(ASKED) != default_path({**ASKED, "tier": "smoke"})
