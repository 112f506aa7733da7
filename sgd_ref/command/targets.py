"""``sgd-ref targets``: the implementations that the kit can run by name, and the environments of some."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.table import Table

from sgd_ref.command.destinations import check_file
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, Command, WrongUsage
from sgd_ref.command.printing import complain, console, say
from sgd_ref.conformance.reports.html import page
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.environments import places
from sgd_ref.conformance.targets.environments.environment import CannotInstall, Environment

LIST, INSTALL, REMOVE = "list", "install", "remove"

ALL = "all"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    command.add_argument(
        "action",
        nargs="?",
        choices=(LIST, INSTALL, REMOVE),
        default=LIST,
        help=f"list the targets; install or remove environments (default: {LIST})",
    )
    command.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"targets with an environment of their own: {', '.join(environments())}; or {ALL}",
    )
    command.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="instead of the list, write the kept results of all targets as a page with plots",
    )


def environments() -> dict[str, Environment]:
    """Return the environments of targets that have one, by the name of the target."""
    return {
        name: family.environment
        for name, family in registry.FAMILIES.items()
        if family.environment is not None
    }


def run(options: argparse.Namespace) -> int:
    """List the targets, write their page, or install or remove environments, and return the exit status."""
    if options.html is not None:
        return _write(options)
    try:
        folder = places.folder()
    except ValueError as problem:
        raise WrongUsage(str(problem)) from problem
    if options.action == LIST:
        if options.names:
            raise WrongUsage(f"{LIST} takes no names, got {', '.join(options.names)}")
        _list()
        say(console(), f"environments are kept in {folder}; {places.VARIABLE} chooses another folder")
        return AS_EXPECTED
    try:
        for environment in _chosen(options.names):
            if options.action == INSTALL:
                environment.install(lambda command: say(console(), command))
                say(console(), f"{environment.name} is installed in {environment.folder}")
            else:
                environment.remove()
                say(console(), f"{environment.name} is not installed")
    except (CannotInstall, OSError) as problem:
        complain(problem)
        return COULD_NOT_RUN
    return AS_EXPECTED


def _write(options: argparse.Namespace) -> int:
    if options.action != LIST or options.names:
        raise WrongUsage(f"--html must go without another action than {LIST}, got {options.action}")
    check_file("--html", options.html)
    try:
        page.check_installed()
    except ValueError as problem:
        raise WrongUsage(str(problem)) from problem
    try:
        options.html.write_text(page.kept_to_html(), encoding="utf-8")
    except (OSError, ValueError) as problem:
        complain(problem)
        return COULD_NOT_RUN
    return AS_EXPECTED


def _chosen(names: list[str]) -> list[Environment]:
    known = environments()
    accepted = ", ".join((*known, ALL))
    if not names:
        raise WrongUsage(f"NAME must be some of {accepted}, got none")
    for name in names:
        if name not in (*known, ALL):
            raise WrongUsage(f"NAME must be some of {accepted}, got {name!r}")
    return list(known.values()) if ALL in names else [known[name] for name in dict.fromkeys(names)]


def _list() -> None:
    table = Table("target", "environment", "size")
    for name, family in registry.FAMILIES.items():
        environment = family.environment
        if environment is None:
            table.add_row(name, "that of sgd-ref", "")
        else:
            table.add_row(name, environment.state(), environment.size)
    console().print(table)


COMMAND = Command(
    help="list the targets, write their page, and install the environments that some of them need",
    description="List the implementations that sgd-ref can run by name. Some of them run in an environment "
    "of their own; this command installs and removes these environments, apart from everything else.",
    epilog="Exit status: 0 done, 2 wrong usage, 3 could not be installed or removed.",
    add_arguments=add_arguments,
    run=run,
)
