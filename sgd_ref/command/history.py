"""``sgd-ref history``: since which release each contradiction of a target is there."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rich.table import Table

from sgd_ref.command.one_target import add_options, name_of
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, Command, WrongUsage, words
from sgd_ref.command.printing import complain, console, error_console, say
from sgd_ref.conformance.reports.publishing import write_page
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.history import storage, table
from sgd_ref.conformance.targets.history.asking import Ask, in_environment
from sgd_ref.conformance.targets.history.programs import programs
from sgd_ref.conformance.targets.history.releases import Releases, check_release
from sgd_ref.conformance.targets.history.running import extended
from sgd_ref.conformance.targets.history.storage import Asked
from sgd_ref.conformance.targets.target import CannotRun


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    command.add_argument(
        "target",
        metavar="TARGET",
        help=f"{', '.join(with_releases())}; or {registry.ALL}, for each target that has a history",
    )
    command.add_argument(
        "--versions",
        type=words,
        default=(),
        metavar="RELEASES",
        help="the releases to run, with commas between them, such as 3.0,3.4,3.15.1; 3.4 stands for the "
        "newest release 3.4.x; without this option, the kept results are shown",
    )
    command.add_argument(
        "--again",
        action="store_true",
        help="run also releases whose results are kept; without --versions, all of these",
    )
    add_options(command)


def with_releases() -> list[str]:
    """Return the families whose releases can be asked.

    >>> with_releases()
    ['keras', 'torch', 'optax', 'sklearn', 'jax', 'tinygrad', 'mlx', 'paddle', 'pytorch_optimizer']
    """
    return [word for word, family in registry.FAMILIES.items() if family.releases is not None]


def run(options: argparse.Namespace) -> int:
    """Ask the releases that are wanted and not known, show what is known, and return the exit status."""
    try:
        for release in options.versions:
            check_release(release)
    except ValueError as problem:
        raise WrongUsage(str(problem)) from problem
    if options.target == registry.ALL:
        if options.versions:
            raise WrongUsage(f"{registry.ALL} must go without --versions, since each target has its own")
        statuses = [_of_target(name, options) for name in registry.names() if storage.path_of(name).exists()]
        return max(statuses, default=AS_EXPECTED)
    if options.target not in with_releases():
        accepted = ", ".join((*with_releases(), registry.ALL))
        raise WrongUsage(f"the target must be one of {accepted}, got {options.target!r}")
    try:
        name = name_of(options)
    except CannotRun as problem:
        complain(problem)
        return COULD_NOT_RUN
    return _of_target(name, options)


def _of_target(name: str, options: argparse.Namespace) -> int:
    try:
        asked = storage.kept(name)
        if options.versions or options.again:
            asked = _extended(name, asked, options)
            write_page()
    except (OSError, ValueError) as problem:
        complain(problem)
        return COULD_NOT_RUN
    _show(name, asked)
    return AS_EXPECTED


def _extended(name: str, known: list[Asked], options: argparse.Namespace) -> list[Asked]:
    values = registry.options_of(name)
    family = values.pop("target")
    of = registry.FAMILIES[family].releases
    assert of is not None
    releases = of(**values)
    return extended(
        known,
        options.versions or [one.release for one in known],
        releases,
        programs(name),
        runner(releases, family, values),
        lambda asked: storage.write(name, asked),
        options.again,
    )


def runner(releases: Releases, target: str, values: dict[str, str]) -> Callable[[str], Ask]:
    """Return what runs scripts with a release; those of one backend are installed in one place."""
    folder = "-".join(filter(None, (target, values.get("backend"))))
    progress = error_console()
    return lambda release: in_environment(releases, folder, release, lambda line: say(progress, line))


def _show(name: str, asked: list[Asked]) -> None:
    out = console()
    if not asked:
        say(out, f"no release of {name} was run yet; give some with --versions")
        return
    shown = Table(*table.header(asked), title=f"{name}: contradictions by release", title_justify="left")
    # A name that is cut off in a narrow terminal could not be typed.
    shown.columns[0].overflow = "fold"
    for row in table.rows(asked):
        shown.add_row(*row)
    out.print(shown)
    say(out, table.legend())
    for line in table.installed_with(asked):
        say(out, f"installed with {line}")
    for line in table.obstacles(asked):
        say(out, f"could not be run: {line}")


COMMAND = Command(
    help="run releases of a framework to find out since when its contradictions are there",
    description="Run the smallest case of each contradiction of a target with releases of its framework, "
    "each in an environment of its own, in which only the framework is installed. The results are kept with "
    "the findings, and a release with kept results is not run again.",
    epilog="Exit status: 0 shown, 2 wrong usage, 3 could not run.",
    add_arguments=add_arguments,
    run=run,
)
