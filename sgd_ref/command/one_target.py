"""One target on the command line: its word, with one value of each of its options."""

from __future__ import annotations

import argparse

from sgd_ref.command.options import WrongUsage
from sgd_ref.conformance.targets import registry


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of all targets to a parser, without the value that stands for all of them."""
    for name, option in registry.options().items():
        values = [value for value in option.values if value != registry.ALL]
        command.add_argument(f"--{name}", choices=values, help=option.help)


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
