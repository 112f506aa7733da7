"""Runs are remembered in their order, each day and commit once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from numba_kernels.benchmarks import history, page, plots, runner, suite
from numba_kernels.benchmarks.history import Run
from numba_kernels.benchmarks.measurements import Measurements
from tests.numba_kernels.benchmarks.test_page import found

WORDS = "ResNet-50, momentum, float32: speed over that of the faster one of PyTorch"
FIRST = Run("2026-01-01", "aaaa", "abacus", {WORDS: 1.5})
SECOND = Run("2026-01-02", "bbbb", "abacus", {WORDS: 2.0, "another": 3.0})


def test_what_was_measured_is_kept_with_three_digits() -> None:
    run = history.run_of(found(0.0123456), "cccc")
    assert (run.commit, run.processor) == ("cccc", "abacus")
    assert run.values[WORDS] == 1.62
    # What was not measured is left out.
    assert not any("32 M" in words for words in run.values)


def test_runs_are_added_and_one_of_the_same_day_and_commit_is_replaced(tmp_path: Path) -> None:
    assert history.remembered(tmp_path) == []
    assert history.remember(tmp_path, FIRST) == [FIRST]
    assert history.remember(tmp_path, SECOND) == [FIRST, SECOND]
    again = Run(*list(vars(FIRST).values())[:3], {WORDS: 9.0})
    assert history.remember(tmp_path, again) == [SECOND, again]
    assert history.remembered(tmp_path) == [SECOND, again]


@pytest.mark.parametrize("content", ["", "{}", "[1]", '[{"date": 1}]'])
def test_another_file_of_this_name_is_refused_before_anything_is_timed(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / history.NAME).write_text(content)
    monkeypatch.setattr(runner, "contest", lambda *given: pytest.fail("it was timed"))
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / history.NAME} must be a list of runs")):
        runner.run(suite.quick(), tmp_path, runner.Console(quiet=True))


def test_the_page_shows_runs_beside_one_another() -> None:
    text = page.render(found(0.01), runs=[FIRST, SECOND])
    assert "|  | 2026-01-01 aaaa, abacus | 2026-01-02 bbbb, abacus |" in text
    assert f"| {WORDS} | 1.5 | 2.0 |" in text
    assert "| another |  | 3.0 |" in text
    assert "Over time" not in page.render(found(0.01), runs=[FIRST])


def test_the_runs_on_each_processor_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    alone = Run("2026-01-03", "cccc", "slide rule", {WORDS: 1.0})
    names = plots.draw(Measurements({}), tmp_path, [FIRST, SECOND, alone])
    assert names == ["benchmarks-history-0.svg"]
    assert "abacus" in (tmp_path / names[0]).read_text()


def test_only_a_whole_benchmark_is_remembered() -> None:
    assert suite.full().is_whole
    assert not suite.quick().is_whole
    assert not suite.full().only(re.compile("ResNet")).is_whole


def test_the_kept_history_can_be_read() -> None:
    runs = history.remembered(runner.PAGES)
    assert len(runs) >= 2
    assert all(run.date and run.processor and run.values for run in runs)
