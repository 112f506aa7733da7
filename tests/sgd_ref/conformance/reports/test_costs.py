"""What runs cost: sizes as the disk has them, files as they were written, and the table of the page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sgd_ref.conformance.reports import costs
from sgd_ref.conformance.reports.costs import Cost
from sgd_ref.conformance.targets.environments.places import VARIABLE

MINE = Cost(83, 40, 1.2, "x86_64: avx2", 1234)


def test_a_file_of_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    whole = tmp_path / "folder" / "whole"
    whole.write_bytes(os.urandom(3 * costs.MEGABYTE))
    os.link(whole, tmp_path / "other")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    assert costs.size_of(tmp_path) == 3


def test_a_target_without_an_environment_has_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "wheel").write_bytes(os.urandom(2 * costs.MEGABYTE))
    assert costs.of_run("sklearn", 82.6).megabytes == 2
    assert costs.of_run("torch loop", 82.6).megabytes is None
    assert costs.of_run("mine:run", 82.6).seconds == 83


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / costs.FILE
    path.write_text(costs.to_text(MINE))
    assert costs.read(path) == MINE
    path.write_text('{"seconds": 1}')
    with pytest.raises(ValueError, match=r"cost\.json holds no cost: .*load"):
        costs.read(path)


def test_the_table_says_what_is_not_known() -> None:
    given = {"sklearn": MINE, "torch loop": Cost(1200, None, None, None, None)}
    assert list(costs.rows(given)) == [
        ["sklearn", "83 s", "40 s", "1.2", "1,234 MB", "x86_64: avx2"],
        ["torch loop", "1,200 s", "unknown", "unknown", "that of sgd-ref", "unknown"],
    ]
    assert costs.in_all(given) == "1 environments take 1.2 GB together, the largest 1.2 GB."
    assert costs.in_all({}) == "0 environments take 0.0 GB together, the largest 0.0 GB."
