"""The command ``sgd-ref``: its own subcommands, and the subcommands that other packages register."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, entry_points
from importlib.metadata import version as version_of

from sgd_ref.base.installing import DISTRIBUTION
from sgd_ref.command import (
    conform,
    explain,
    golden,
    history,
    regenerate,
    report_bug,
    reproduce,
    summary,
    targets,
)
from sgd_ref.command.options import GROUP, INTERRUPTED, PIPE_CLOSED, Command, WrongUsage
from sgd_ref.command.parser import Parser, refuse
from sgd_ref.command.printing import OutputClosed, abandon_standard_output, escape_what_cannot_be_encoded
from sgd_ref.definition import DEFINITION_VERSION

OWN: Mapping[str, Command] = {
    "conform": conform.COMMAND,
    "explain": explain.COMMAND,
    "golden": golden.COMMAND,
    "history": history.COMMAND,
    "regenerate": regenerate.COMMAND,
    "report-bug": report_bug.COMMAND,
    "reproduce": reproduce.COMMAND,
    "summary": summary.COMMAND,
    "targets": targets.COMMAND,
}


WITH_PROGRAMS = {"conform", "explain"}
"""Subcommands whose arguments may end with ``--`` and a program."""

VERSION = "--version"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    0: as expected. 1: an unexpected divergence or failure. 2: wrong usage. 3: something could not be run.
    130: interrupted by Ctrl-C. 141: the reader of the output has gone.
    """
    escape_what_cannot_be_encoded()
    try:
        try:
            return _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            # The output is flushed here, since a pipe that is found closed when Python ends gives a
            # traceback.
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OutputClosed, BrokenPipeError):
        abandon_standard_output()
        return PIPE_CLOSED


def version() -> str:
    """Return the versions of this distribution, its definition and the packages that it computes with.

    >>> version().startswith("sgd-ref ")
    True
    """
    packages = ", ".join(f"{name} {_version(name)}" for name in ("numpy", "numba"))
    own = f"{DISTRIBUTION} {_version(DISTRIBUTION)}"
    return f"{own} (definition {DEFINITION_VERSION}, {packages}, Python {platform.python_version()})"


def _version(distribution: str) -> str:
    try:
        return version_of(distribution)
    # The packages may lie somewhere on the path, without having been installed.
    except PackageNotFoundError:
        return "(not installed)"


def parser_of(commands: Mapping[str, Command]) -> Parser:
    """Return the parser of the command line, with a subparser for each subcommand."""
    parser = Parser(
        prog="sgd-ref",
        description="An exact definition of SGD, to the last bit, and tests of any SGD against it.",
        epilog="sgd-ref COMMAND --help explains a command. Exit status: 0 as expected, 1 diverges, 2 wrong "
        "usage, 3 could not run.",
    )
    parser.add_argument(VERSION, action="version", version=version())
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name, command in commands.items():
        command.add_arguments(
            subparsers.add_parser(
                name, help=command.help, description=command.description, epilog=command.epilog
            )
        )
    return parser


def _run(given: list[str]) -> int:
    own, program = _split(given)
    commands = commands_for(given[:1])
    options = parser_of(commands).parse_args(own)
    options.program = program
    try:
        return commands[options.command].run(options)
    except WrongUsage as problem:
        refuse(options, problem)


def commands_for(first: Sequence[str]) -> dict[str, Command]:
    """Return the subcommands among which the first argument chooses.

    Registered subcommands take a while to import. They are not imported if the argument names a subcommand of
    this package.
    """
    commands = dict(OWN)
    if not set(first) & {VERSION, *OWN}:
        commands |= {entry.name: entry.load() for entry in entry_points(group=GROUP)}
    return commands


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return the arguments before ``--``, and the program with its own arguments after ``--``."""
    own = list(arguments)
    if not set(own[:1]) & WITH_PROGRAMS or "--" not in own:
        return own, None
    position = own.index("--")
    return own[:position], own[position + 1 :]


if __name__ == "__main__":
    sys.exit(main())
