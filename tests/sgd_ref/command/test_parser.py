"""Help and errors are those of the subcommand that was meant."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import pytest

from sgd_ref.command import main as cli
from sgd_ref.command.options import WrongUsage
from sgd_ref.command.parser import Parser, refuse


def paths(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Yield the words that lead to each parser, the outermost one included."""
    yield list(path)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from paths(child, (*path, name))


ALL = list(paths(cli.parser_of(cli.commands_for([]))))


def test_there_are_subcommands_in_subcommands() -> None:
    assert ["golden", "list"] in ALL
    assert ["check"] in ALL
    assert len(ALL) == 17


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_and_errors_have_the_usage_of_the_subcommand(
    path: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    program = " ".join(["sgd-ref", *path])
    with pytest.raises(SystemExit) as stopped:
        cli.main([*path, "--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {program} [-h]")
    for wrong in (["--nosuch"], ["x", "y", "z"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main([*path, *wrong])
        assert stopped.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith(f"usage: {program} [-h]")
        assert lines[-1].startswith(f"{program}: error: ")


def test_arguments_that_make_no_sense_together_are_refused_with_that_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["golden", "list", "-k", "no such entry"])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("usage: sgd-ref golden list [-h] [-k PATTERN]")
    assert lines[-1].startswith("sgd-ref golden list: error: -k must match")


def test_positional_arguments_may_stand_behind_options() -> None:
    parser = Parser(prog="a")
    below = parser.add_subparsers().add_parser("b")
    below.add_argument("one")
    below.add_argument("two", nargs="?")
    below.add_argument("--option")
    for arguments in (["b", "1", "2", "--option", "3"], ["b", "--option", "3", "1", "2"]):
        assert vars(parser.parse_args(arguments)) == {"one": "1", "two": "2", "option": "3", "parser": below}
    found = parser.parse_args(["b", "1", "--option", "3", "2"])
    assert (found.one, found.two, found.option) == ("1", "2", "3")
    with pytest.raises(SystemExit):
        refuse(found, WrongUsage("no"))
