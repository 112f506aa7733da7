"""One target on the command line: its word, with one value of each of its options; or a program after --."""

from __future__ import annotations

import argparse

from sgd_ref.command.options import WrongUsage
from sgd_ref.conformance.targets import registry


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of all targets to a parser, without the value that stands for all of them."""
    for name, option in registry.options().items():
        values = [value for value in option.values if value != registry.ALL]
        command.add_argument(f"--{name}", choices=values, help=option.help)


def check_program(options: argparse.Namespace) -> None:
    """Check that a program is given after ``--``, without a target or its options.

    Raises
    ------
    ValueError
        If there is no program, or a target or an option beside it.
    """
    if not options.program:
        raise ValueError("-- must be followed by a program and its arguments")
    for name in ("target", *registry.options()):
        given = getattr(options, name)
        if given is not None:
            argument = "TARGET" if name == "target" else f"--{name}"
            raise ValueError(f"{argument} must be left out for a program after --, got {given!r}")


def name_of(options: argparse.Namespace) -> str:
    """Return the name of the target that the arguments choose, such as ``keras jax eager``.

    Raises
    ------
    WrongUsage
        If an option is not one of this target.
    CannotRun
        If there is no such target.
    """
    given = {name: getattr(options, name) for name in registry.options()}
    try:
        return registry.targets(options.target, **given)[0].name
    except ValueError as problem:
        raise WrongUsage(str(problem)) from problem
