"""Text is printed as it is: nothing that a user or an implementation writes is read as markup."""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

import numba_kernels
import sgd_ref
from numba_kernels.selfcheck import runner
from numba_kernels.selfcheck.result import Result
from numba_kernels.selfcheck.runner import Outcome
from sgd_ref.command import main as cli
from sgd_ref.command import printing
from sgd_ref.command.printing import PlainConsole, say
from sgd_ref.conformance import data_folder
from sgd_ref.conformance.golden.tools import writing
from sgd_ref.conformance.golden.tools.verifying import Verification

TEXT = "[red]x[/red]:boom:"
EMOJI = "\N{COLLISION SYMBOL}"

PRINTING = "sgd_ref/command/printing.py"
BAR = "sgd_ref/conformance/grading/progress.py"

GOLDEN = str(data_folder.folder())

GIVEN: dict[str, list[list[str]]] = {
    "conform": [
        ["{}"],
        ["good:boom", "--ledger", "{}"],
        ["good:boom", "--json", "{}"],
        ["good:boom", "--junit", "{}"],
        ["good:boom", "--html", "{}"],
        ["good:boom", "-k", "{}"],
        ["good:boom", "--time-limit", "{}"],
        ["good:boom", "--start-limit", "{}"],
        ["good:boom", "--tier", "{}"],
        ["good:boom", "--offers", "{}"],
        ["good:boom", "--rule", "{}"],
        ["good:boom", "--scheduler", "{}", "--resume", "journal"],
        ["good:boom", "--cluster", "--workers", "{}"],
        ["good:boom", "--resume", "{}/journal"],
        ["good:boom", "--by-design", "{}"],
        ["good:boom", "--backend", "{}"],
        ["good:boom", "--mode", "{}"],
        ["good:boom", "--variant", "{}"],
        ["--", "{}"],
    ],
    "explain": [
        ["{}"],
        ["first/plain", "{}"],
        ["first/plain", "--call", "{}"],
        ["first/plain", "--element", "{}[0]"],
        ["first/plain", "--rule", "{}"],
        ["first/plain", "good:boom", "--by-design", "{}"],
        ["first/plain", "--backend", "{}"],
        ["first/plain", "--mode", "{}"],
        ["first/plain", "--variant", "{}"],
    ],
    "golden write": [["{}"]],
    "golden verify": [["{}"]],
    "golden diff": [["{}", "."], [GOLDEN, "{}"]],
    "golden list": [["-k", "{}"], ["--folder", "{}"]],
    "golden show": [["{}"], ["x", "--folder", "{}"]],
    "history": [
        ["{}"],
        ["torch", "--versions", "{}"],
        ["torch", "--backend", "{}"],
        ["torch", "--mode", "{}"],
        ["torch", "--variant", "{}"],
    ],
    "report-bug": [
        ["{}"],
        ["torch", "{}"],
        ["torch", "--backend", "{}"],
        ["torch", "--mode", "{}"],
        ["torch", "--variant", "{}"],
    ],
    "regenerate": [["--only", "{}"], ["--without", "{}"]],
    "reproduce": [
        ["{}"],
        ["torch", "{}"],
        ["torch", "--backend", "{}"],
        ["torch", "--mode", "{}"],
        ["torch", "--variant", "{}"],
        ["torch", "{}.json"],
        ["torch", "clip-adds-epsilon", "--optimizer", "{}"],
    ],
    "targets": [["{}"], ["install", "{}"], ["--html", "{}"]],
    "summary": [["{}"], ["report.json", "--badge", "{}"]],
    "check": [
        ["-k", "{}"],
        ["--seed", "{}"],
        ["--processes", "{}"],
        ["--device", "{}"],
        ["--scheduler", "{}", "--resume", "journal"],
        ["--cluster", "--workers", "{}"],
        ["--resume", "{}/journal"],
        ["--dump", "{}"],
    ],
    "bench": [["-k", "{}"], ["--output", "{}"], ["--against", "{}"], ["--device", "{}"]],
}
"""Arguments of each subcommand, one of them a text that rich would read."""

ANSWERS_IN_MARKUP = f"def boom(case):\n    raise ValueError('{TEXT}')\n"


@pytest.fixture(autouse=True)
def seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be computed, and the text be the name of a file in the folder of a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "good", raising=False)
    (tmp_path / "good.py").write_text(ANSWERS_IN_MARKUP)
    (tmp_path / "report.json").write_text('{"runs": []}')
    (tmp_path / TEXT).parent.touch()
    monkeypatch.setattr(writing, "write", lambda folder, progress: None)
    monkeypatch.setattr("sgd_ref.command.golden.verify", lambda *given: Verification())
    monkeypatch.setattr("sgd_ref.command.targets.page.kept_to_html", lambda: "")
    monkeypatch.setattr(runner, "run", lambda extent, advance: Outcome([Result("sizes")], []))


def subparsers(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield the words and the parser of each subcommand that has none below it."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield " ".join(path), parser
    for name, child in below[0].choices.items() if below else ():
        yield from subparsers(child, (*path, name))


def test_each_argument_of_each_subcommand_is_driven() -> None:
    for words, parser in subparsers(cli.parser_of(cli.commands_for([]))):
        driven = [argument for arguments in GIVEN[words] for argument in arguments]
        for action in parser._actions:
            if action.option_strings and action.nargs != 0:
                assert set(action.option_strings) & set(driven), (words, action.dest)
        positional = [action for action in parser._actions if not action.option_strings]
        places = {arguments.index("{}") for arguments in GIVEN[words] if "{}" in arguments}
        assert set(range(len(positional))) <= places, words


@pytest.mark.parametrize(
    "arguments", [[*words.split(), *given] for words, all_given in GIVEN.items() for given in all_given]
)
def test_arguments_are_shown_as_they_are(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = [argument.replace("{}", TEXT) for argument in arguments]
    # Wrong usage exits by itself.
    with contextlib.suppress(SystemExit):
        cli.main(given)
    printed = capsys.readouterr()
    shown = "".join((printed.out + printed.err).split("\n"))
    assert TEXT in shown
    assert EMOJI not in shown


@pytest.mark.parametrize(
    "arguments",
    [["conform", "good:boom", "-k", "^named/signed-zeros"], ["explain", "first/plain", "good:boom"]],
)
def test_answers_are_shown_as_they_are(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 1
    out = capsys.readouterr().out
    assert f"ValueError: {TEXT}" in out
    assert "good:boom" in out
    assert EMOJI not in out


def test_rules_and_cells_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(TEXT, title=TEXT)
    table.add_row(TEXT)
    out = PlainConsole(width=80)
    out.rule(TEXT)
    out.print(table)
    say(out, TEXT)
    assert capsys.readouterr().out.count(TEXT) == 5


def test_control_characters_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    say(PlainConsole(width=80), "\x1b[31mred\x07\tand\r\n\x9b1m")
    printing.complain("\x1b[31mred")
    printed = capsys.readouterr()
    assert printed.out.split() == [r"\x1b[31mred\x07", r"and\x0d", r"\x9b1m"]
    assert printed.err == "sgd-ref: \\x1b[31mred\n"


def test_what_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    printing.escape_what_cannot_be_encoded()
    say(PlainConsole(width=80), "caf\xe9")
    sys.stdout.flush()
    assert written.getvalue() == b"caf\\xe9\n"


MAKERS = {"Console", "Progress", "TextColumn", "print", "get_console", "escape"}


def made_from_rich(source: str) -> set[str]:
    """Return what a module takes from rich and calls or extends, of what may read text as markup."""
    nodes = list(ast.walk(ast.parse(source)))
    taken = {
        name.asname or name.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "rich"
        for name in node.names
        if name.name in MAKERS
    }
    used = [node.func for node in nodes if isinstance(node, ast.Call)]
    used += [base for node in nodes if isinstance(node, ast.ClassDef) for base in node.bases]
    modules = {
        name.name
        for node in nodes
        if isinstance(node, ast.Import)
        for name in node.names
        if name.name.partition(".")[0] == "rich"
    }
    return taken & {node.id for node in used if isinstance(node, ast.Name)} | modules


def test_makers_of_consoles_are_found() -> None:
    assert made_from_rich("from rich.console import Console as C\nC()") == {"C"}
    assert made_from_rich("from rich.console import Console\nclass A(Console): ...") == {"Console"}
    assert made_from_rich("from rich import print\nprint(1)") == {"print"}
    assert made_from_rich("import rich.console\nrich.console.Console()") == {"rich.console"}
    assert made_from_rich("from rich.console import Console\ndef f(out: Console) -> None: ...") == set()


def test_consoles_are_made_in_one_place() -> None:
    root = Path(str(sgd_ref.__file__)).parents[1]
    packages = [Path(str(package.__file__)).parent for package in (sgd_ref, numba_kernels)]
    found = {
        path.relative_to(root).as_posix(): made
        for package in packages
        for path in package.rglob("*.py")
        if (made := made_from_rich(path.read_text(encoding="utf-8")))
    }
    assert found == {PRINTING: {"Console"}, BAR: {"TextColumn", "Progress"}}
