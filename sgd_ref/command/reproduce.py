"""``sgd-ref reproduce``: print a script that shows one contradiction of a known implementation."""

from __future__ import annotations

import argparse

from sgd_ref.command.one_target import add_options, name_of
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, Command, WrongUsage
from sgd_ref.command.printing import complain, write
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.findings.storage import kept
from sgd_ref.conformance.targets.scripts.of_finding import script_of
from sgd_ref.conformance.targets.target import CannotRun


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    command.add_argument("target", choices=registry.FAMILIES, metavar="TARGET", help="%(choices)s")
    command.add_argument(
        "contradiction",
        nargs="?",
        metavar="CONTRADICTION",
        help="the contradiction to show; without it, the known contradictions of the target are listed",
    )
    add_options(command)


def run(options: argparse.Namespace) -> int:
    """Print the script, or a list of the known contradictions, and return the exit status."""
    try:
        name = name_of(options)
    except CannotRun as problem:
        complain(problem)
        return COULD_NOT_RUN
    try:
        known = kept(name)
        if options.contradiction is None:
            write("".join(f"{contradiction}\n" for contradiction in known))
        elif options.contradiction in known:
            write(script_of(known[options.contradiction], name))
        else:
            accepted = ", ".join(known) or "(none is known)"
            raise WrongUsage(
                f"the contradiction of {name} must be one of {accepted}, got {options.contradiction!r}"
            )
    except (OSError, ValueError) as problem:
        complain(problem)
        return COULD_NOT_RUN
    return AS_EXPECTED


COMMAND = Command(
    help="print a script that shows where a known implementation contradicts the documentation",
    description="Print a self-contained script that runs one small case with a known implementation, and "
    "says whether its bits still differ from those that are documented.",
    epilog="Exit status: 0 printed, 2 wrong usage, 3 could not run. The script exits with 1 as long as the "
    "implementation differs, and with 0 if every expected bit is there.",
    add_arguments=add_arguments,
    run=run,
)
