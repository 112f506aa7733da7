"""``sgd-ref check`` from the outside: what it prints and its exit status."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest

from numba_kernels.selfcheck import command, runner
from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.result import Result
from numba_kernels.selfcheck.runner import Outcome
from sgd_ref.command import main as cli

ONE_CASE = [
    "check",
    "--quick",
    "-k",
    "^sizes/float32/no_momentum_plain/small-and-middle$|^golden/first/plain$",
]


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[Outcome], None]:
    """Return a function that sets what the checks find."""
    return lambda outcome: monkeypatch.setattr(runner, "run", lambda extent, advance: outcome)


def test_a_case_that_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(ONE_CASE) == 0
    output = capsys.readouterr().out
    assert "compiler: LLVM" in output
    assert output.splitlines()[-1].startswith("the same bits: 0 of ")
    assert "kernels compiled" not in output


def test_a_difference_is_exit_status_1(
    capsys: pytest.CaptureFixture[str], found: Callable[[Outcome], None]
) -> None:
    result = Result("sizes", cases=3, compared=10, skipped=2)
    result.differs("sizes/a\n  call 0", 4)
    result.skips("no reason", 2)
    found(Outcome([result], []))
    assert cli.main(["check", "--quick"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "DIFFERS: sizes/a" in lines
    assert "SKIPPED: 2 cases of sizes: no reason" in lines
    assert lines[-1] == "DIFFERENT BITS: 4 of 10 values differ in 3 cases, 4 cases skipped"


def test_what_could_not_run_is_exit_status_3(
    capsys: pytest.CaptureFixture[str], found: Callable[[Outcome], None]
) -> None:
    found(Outcome([Result("sizes", cases=3, compared=10)], ["norms: a process died"]))
    assert cli.main(["check"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert "NOT RUN: norms: a process died" in lines
    assert lines[-1].startswith("NOT ALL WAS RUN, 1 failure: 0 of 10 values differ")


@pytest.mark.parametrize(
    "arguments",
    [["--quick", "--full"], ["-k", "("], ["--processes", "0"], ["--seed", "x"], ["--device", "tpu"]],
)
def test_wrong_usage_is_exit_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        cli.main(["check", *arguments])
    assert refused.value.code == 2


def test_a_pattern_that_matches_nothing_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], found: Callable[[Outcome], None]
) -> None:
    found(Outcome([Result("sizes")], []))
    assert cli.main(["check", "-k", "nothing"]) == 2
    assert "'nothing'" in capsys.readouterr().err


def test_a_check_that_fails_is_told_and_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(extent: Extent) -> Result:
        raise OSError("on purpose")

    monkeypatch.setattr(runner, "CHECKS", {"a": fails, "b": lambda extent: Result("b", cases=1)})
    monkeypatch.setattr(runner.product, "shares", lambda extent: iter(()))
    monkeypatch.setattr(runner, "_compile", lambda *given: None)
    outcome = runner.run(Extent(QUICK))
    assert outcome.not_run == ["a: OSError: on purpose"]
    assert [result.cases for result in outcome.results] == [0, 1]
    assert command.status(outcome) == 3


def test_a_check_without_cases_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHECKS", {"a": lambda extent: Result("a")})
    monkeypatch.setattr(runner.product, "shares", lambda extent: iter(()))
    monkeypatch.setattr(runner, "_compile", lambda *given: None)
    assert runner.run(Extent(QUICK)).not_run == ["a: it had no cases"]


def test_a_process_that_dies_is_told() -> None:
    outcome = Outcome([], [])
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        runner.run_parts([("a", partial(os._exit, 1))], outcome, pool, lambda done, parts: None)
    assert len(outcome.not_run) == 1
    assert outcome.not_run[0].startswith("a: BrokenProcessPool")
    assert command.status(outcome) == 3
