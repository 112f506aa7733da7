"""What git says of a checkout, and what is said where there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from numba_kernels.benchmarks.repository import commit_here, git


def test_the_commit_is_that_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit_here(tmp_path) == ""
    assert re.fullmatch("[0-9a-f]*", commit_here())


def test_without_git_there_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git(tmp_path, "version") is None
