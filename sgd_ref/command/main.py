"""The command ``sgd-ref``: its subcommands, and those that other packages register."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points

from sgd_ref.command import conform, explain, golden, regenerate, reproduce
from sgd_ref.command.options import GROUP, Command, WrongUsage

OWN: Mapping[str, Command] = {
    "conform": conform.COMMAND,
    "explain": explain.COMMAND,
    "golden": golden.COMMAND,
    "regenerate": regenerate.COMMAND,
    "reproduce": reproduce.COMMAND,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    0: as expected. 1: something diverges, or fails, that is not known. 2: wrong usage. 3: something
    could not be run.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    own, program = _split(given)
    parser = argparse.ArgumentParser(
        prog="sgd-ref",
        description="What SGD is, to the last bit, and whether an implementation does it.",
        epilog="Exit status: 0 as expected, 1 diverges, 2 wrong usage, 3 could not run.",
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    commands = _commands(given[:1])
    parsers = {}
    for name, command in commands.items():
        parsers[name] = subparsers.add_parser(
            name, help=command.help, description=command.description, epilog=command.epilog
        )
        command.add_arguments(parsers[name])
    options = parser.parse_args(own)
    options.program = program
    try:
        return commands[options.command].run(options)
    except WrongUsage as problem:
        parsers[options.command].error(str(problem))


def _commands(first: Sequence[str]) -> dict[str, Command]:
    """Return the subcommands. The registered ones take a while to import; one's own is found without them."""
    commands = dict(OWN)
    if not set(first) & OWN.keys():
        commands |= {entry.name: entry.load() for entry in entry_points(group=GROUP)}
    return commands


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return the arguments of ``conform`` up to ``--``, and the program after it, which has its own."""
    own = list(arguments)
    if own[:1] != ["conform"] or "--" not in own:
        return own, None
    position = own.index("--")
    return own[:position], own[position + 1 :]


if __name__ == "__main__":
    sys.exit(main())
