"""The hooks that pytest calls: tests are made from cases, judged one by one, and joined into a report."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.pytest_plugin.decorator import ARGUMENT, Asked, asked_of
from sgd_ref.conformance.pytest_plugin.judging import Outcome, graded_alone, outcome
from sgd_ref.conformance.pytest_plugin.whole_run import Answered, WholeRun, as_bytes, joined, received
from sgd_ref.conformance.reports import files
from sgd_ref.conformance.reports.html import page
from sgd_ref.conformance.targets import ledger
from sgd_ref.conformance.targets.ledger import Ledger

OPTION = "--sgd-ref-report"

WRITERS = {".json": files.to_json, ".xml": files.to_junit, ".html": page.to_html}
"""The function that writes each kind of report, by the ending of the file name."""

ANSWERS = pytest.StashKey[list[Answered]]()
RUNS = pytest.StashKey[list[WholeRun]]()
LEDGERS = pytest.StashKey[dict[tuple[Path, str], Ledger]]()

FROM_WORKER = "sgd_ref_answers"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the report."""
    parser.getgroup("sgd-ref", "conformance of SGD").addoption(
        OPTION,
        action="append",
        default=[],
        metavar="FILE",
        help="write the verdicts on all cases as FILE.json, as JUnit to FILE.xml, or as a page to FILE.html",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin without answers, and see whether the reports can be written."""
    config.stash[ANSWERS], config.stash[RUNS], config.stash[LEDGERS] = [], [], {}
    for path in _reports(config):
        if path.suffix not in WRITERS:
            raise pytest.UsageError(
                f"{OPTION} must be a file that ends in {' or '.join(WRITERS)}, got {path}"
            )
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise pytest.UsageError(f"{OPTION} must be a file in a folder that is there, got {path}")
        if path.suffix == ".html":
            _check_engine()


def _check_engine() -> None:
    try:
        page.check_installed()
    except ValueError as problem:
        raise pytest.UsageError(f"{OPTION}: {problem}") from problem


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make the tests of a function that `parametrize_with_cases` decorates."""
    asked = asked_of(metafunc.function)
    if asked is None:
        return
    if ARGUMENT not in metafunc.fixturenames:
        pytest.fail(
            f"a test function with parametrize_with_cases must take the argument {ARGUMENT!r}, "
            f"got {metafunc.definition.nodeid}",
            pytrace=False,
        )
    cases = asked.cases()
    metafunc.parametrize(ARGUMENT, cases, ids=[case.id for case in cases])


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Judge what the test function returns."""
    function = pyfuncitem.obj
    asked = asked_of(function)
    if asked is None:
        return (yield)

    def judged(**arguments: Any) -> None:
        case = arguments.pop(ARGUMENT)

        def run(given: Case) -> Trajectory:
            found: Trajectory = function(**{ARGUMENT: given}, **arguments)
            return found

        _judge(pyfuncitem, run, case, asked)

    pyfuncitem.obj = judged
    try:
        return (yield)
    finally:
        pyfuncitem.obj = function


def _judge(item: pytest.Function, run: Any, case: Case, asked: Asked) -> None:
    started = time.perf_counter()
    expected = _ledger(item, asked)
    verdict = graded_alone(run, case, asked.profile)
    found = outcome(verdict, expected)
    seconds = time.perf_counter() - started
    name, position = _function_of(item, case), item.callspec.indices[ARGUMENT]
    item.config.stash[ANSWERS].append(
        Answered(name, verdict, found, asked.profile, expected, seconds, position)
    )
    _end(found)


def _end(found: Outcome) -> None:
    """End a test in the way of pytest."""
    if found.kind == "skipped":
        pytest.skip(found.message)
    if found.kind == "xfailed":
        # With --runxfail this does nothing, and the test fails as any other.
        pytest.xfail(found.message)
    if found.kind != "passed":
        pytest.fail(found.message, pytrace=False)


def _ledger(item: pytest.Function, asked: Asked) -> Ledger | None:
    if asked.ledger is None:
        return None
    place = item.path.parent / asked.ledger, str(asked.profile.dialect)
    known = item.config.stash[LEDGERS]
    if place not in known:
        try:
            known[place] = ledger.read_for(*place)
        except (OSError, ValueError) as problem:
            pytest.fail(
                f"ledger must be a file that sgd-ref conform --update wrote: {problem}", pytrace=False
            )
    return known[place]


def _function_of(item: pytest.Function, case: Case) -> str:
    """Return the id of a test without that of its case."""
    base, _, parameters = item.nodeid.partition("[")
    others = [part for part in parameters.removesuffix("]").replace(case.id, "", 1).split("-") if part]
    return f"{base}[{'-'.join(others)}]" if others else base


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over the results of the tests of a worker of pytest-xdist."""
    sent = getattr(node, "workeroutput", {}).get(FROM_WORKER)
    if sent is not None:
        node.config.stash[ANSWERS].extend(received(sent))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Judge all tests of each function together, and write the reports."""
    config = session.config
    answers = config.stash[ANSWERS]
    if hasattr(config, "workeroutput"):
        config.workeroutput[FROM_WORKER] = as_bytes(answers)
        return
    config.stash[RUNS] = runs = joined(answers)
    if any(run.problems for run in runs) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    paths = _reports(config)
    findings = [run.findings() for run in runs] if paths else []
    for path in paths:
        path.write_text(WRITERS[path.suffix](findings), encoding="utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show one line for each function, and the problems that no single test could show."""
    runs = config.stash[RUNS]
    if not runs:
        return
    terminalreporter.section("sgd-ref")
    for run in runs:
        terminalreporter.line(str(run.report))
        for problem in run.problems:
            terminalreporter.line(f"FAILED {problem}", red=True)


def _reports(config: pytest.Config) -> Sequence[Path]:
    """Return the files of the reports; a worker of pytest-xdist writes none."""
    return [] if hasattr(config, "workerinput") else [Path(path) for path in config.getoption(OPTION)]
