"""``sgd-ref check`` from the outside: what it prints and its exit status."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from numba_kernels.selfcheck import command, page, product, runner
from numba_kernels.selfcheck.extent import QUICK, Extent
from numba_kernels.selfcheck.machine_code import compiling
from numba_kernels.selfcheck.result import Result
from numba_kernels.selfcheck.runner import Outcome
from sgd_ref.command import main as cli
from sgd_ref.command.printing import PlainConsole

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
    assert output.splitlines()[-1].startswith("PASSED: the same bits as the definition. 0 of ")
    assert "kernels compiled" not in output


def test_a_dump_needs_executed_code_and_an_empty_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "something").touch()
    for arguments, wanted in (
        ([], "--dump must go with --device ptx"),
        (["--device", "ptx"], f"--dump must name a folder that is empty or not there, got {str(tmp_path)!r}"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(["check", "--quick", "--dump", str(tmp_path), *arguments])
        assert ended.value.code == 2
        assert wanted in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["something"]


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
    assert "SKIPPED: 2 cases of sizes, memory layouts: no reason" in lines
    assert lines[-1] == (
        "FAILED: other bits than the definition. 4 of 10 values differ in 3 cases; 4 cases were skipped."
    )


def test_what_could_not_run_is_exit_status_3(
    capsys: pytest.CaptureFixture[str], found: Callable[[Outcome], None]
) -> None:
    found(Outcome([Result("sizes", cases=3, compared=10)], ["norms: a process died"]))
    assert cli.main(["check"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert "NOT RUN: norms: a process died" in lines
    assert lines[-1].startswith("INCOMPLETE: not everything could be run, so this proves nothing. 0 of 10 ")
    assert lines[-1].endswith("0 cases were skipped, 1 part could not be run.")


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
    with pytest.raises(SystemExit) as refused:
        cli.main(["check", "-k", "nothing"])
    assert refused.value.code == 2
    assert "sgd-ref check: error: -k must match the id of a case, got 'nothing'" in capsys.readouterr().err


def test_a_check_that_fails_is_told_and_the_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(extent: Extent) -> Result:
        raise OSError("on purpose")

    monkeypatch.setattr(runner, "CHECKS", {"a": fails, "b": lambda extent: Result("b", cases=1)})
    monkeypatch.setattr(runner.product, "shares", lambda extent: iter(()))
    monkeypatch.setattr(runner, "_parts_to_compile", lambda *given: [])
    outcome = runner.run(Extent(QUICK))
    assert outcome.not_run == ["a: OSError: on purpose"]
    assert [result.cases for result in outcome.results] == [0, 1]
    assert command.status(outcome) == 3


def test_a_check_without_cases_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHECKS", {"a": lambda extent: Result("a")})
    monkeypatch.setattr(runner.product, "shares", lambda extent: iter(()))
    monkeypatch.setattr(runner, "_parts_to_compile", lambda *given: [])
    assert runner.run(Extent(QUICK)).not_run == ["a: it had no cases"]


def test_a_process_that_dies_is_told() -> None:
    outcome = Outcome([], [])
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        runner.run_parts([("a", partial(os._exit, 1))], outcome, pool, lambda done: None)
    assert len(outcome.not_run) == 1
    assert outcome.not_run[0].startswith("a: BrokenProcessPool")
    assert command.status(outcome) == 3


def test_the_page_is_short_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Callable[[Outcome], None]
) -> None:
    names = [compiling.NAME, *runner.CHECKS, product.NAME]
    found(Outcome([Result(name, 9_999, 99_999_999, 0, 9_999, 999.0) for name in names], []))
    monkeypatch.setattr(command, "console", lambda: PlainConsole(width=80))
    assert cli.main(["check", "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == page.PURPOSE
    table = [line for line in lines if line[:1] in set("┏┃┡│├└")]
    assert len(table) == len(names) + 6 <= 30
    assert max(map(len, table)) <= 80
    assert lines[-1].startswith("PASSED: ")
    assert len(lines) <= 30


def test_one_labelled_bar_goes_from_nothing_to_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_parts_to_compile", lambda *given: [("a", lambda: Result("a", cases=1))] * 2)
    monkeypatch.setattr(runner, "_parts_to_check", lambda extent: [("b", lambda: Result("b", cases=1))])
    told: list[tuple[str, int, int]] = []
    runner.run(Extent(QUICK), lambda *given: told.append(given))
    compiled = [("compiling kernels", done, 3) for done in range(3)]
    assert told == [*compiled, ("comparing bits", 2, 3), ("comparing bits", 3, 3)]


def test_the_bar_is_seen_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(extent: Extent, advance: runner.Advance) -> Outcome:
        advance("compiling kernels", 7, 9)
        return Outcome([Result("sizes", cases=1)], [])

    monkeypatch.setattr(runner, "run", run)
    assert cli.main(["check", "--quick"]) == 0
    assert capsys.readouterr().err == ""
    terminal = io.StringIO()
    monkeypatch.setattr(
        command, "error_console", lambda: Console(file=terminal, force_terminal=True, width=80)
    )
    assert cli.main(["check", "--quick"]) == 0
    assert "compiling kernels" in terminal.getvalue()
    assert "7/9" in terminal.getvalue()


def test_processes_leave_ctrl_c_to_the_one_that_started_them() -> None:
    outcome = Outcome([], [])
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        parts = [("a", partial(signal.raise_signal, signal.SIGINT))]
        try:
            runner.run_parts(parts, outcome, pool, lambda done: None)
        except KeyboardInterrupt:
            pytest.fail("the process was interrupted")
    # What came back is no result, so that the part failed otherwise.
    assert outcome.not_run[0].startswith("a: AttributeError")


INTERRUPTED = """
import signal, sys, time
from functools import partial
from pathlib import Path

from numba_kernels.selfcheck import runner
from sgd_ref.command.main import main

if __name__ == "__main__":
    # What a shell starts in the background ignores Ctrl-C, and so does what that starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runner._parts_to_compile = lambda *given: []
    runner._parts_to_check = lambda extent: [
        *(("a", partial(Path.touch, Path(name))) for name in "123"), ("b", partial(time.sleep, 600))
    ]
    sys.exit(main(["check", "--processes", "4"]))
"""
"""Of its processes one works, and the others wait for work or still start."""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no groups of processes here")
def test_ctrl_c_ends_all_processes_quietly(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED)
    with subprocess.Popen(
        [sys.executable, "script.py"], stderr=subprocess.PIPE, cwd=tmp_path, start_new_session=True
    ) as process:
        try:
            while not all((tmp_path / name).exists() for name in "123"):
                assert process.poll() is None
                time.sleep(0.1)
            # Of a terminal, every process of the command gets it.
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert errors == b""
    assert process.returncode == 130
