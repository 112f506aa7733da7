"""``sgd-ref report-bug``: print what a project can be told of one contradiction of its optimizer."""

from __future__ import annotations

import argparse
from itertools import groupby

from sgd_ref.command.history import runner
from sgd_ref.command.one_target import add_options, name_of
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, DIVERGES, Command, WrongUsage
from sgd_ref.command.printing import complain, console, say, write
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.bugs import checking
from sgd_ref.conformance.targets.bugs.bug import Bug, bugs, bugs_of, folder
from sgd_ref.conformance.targets.bugs.page import page
from sgd_ref.conformance.targets.bugs.reporting import contradictions, releases_of, report
from sgd_ref.conformance.targets.history.asking import CannotAsk
from sgd_ref.conformance.targets.target import CannotRun

PAGE = "README.md"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    command.add_argument(
        "target",
        choices=(*registry.FAMILIES, registry.ALL),
        metavar="TARGET",
        help=f"%(choices)s; {registry.ALL} only together with --check",
    )
    command.add_argument(
        "contradiction",
        nargs="?",
        metavar="CONTRADICTION",
        help="the contradiction to report; without it, the contradictions that can be reported are listed",
    )
    command.add_argument(
        "--check",
        action="store_true",
        help="run the scripts of the target, or only that of CONTRADICTION, in an environment with the "
        "framework alone, keep their results, and write the page of all bugs",
    )
    add_options(command)


def run(options: argparse.Namespace) -> int:
    """Print a report, or what there is to report, or check scripts, and return the exit status."""
    if options.target == registry.ALL:
        return _check_all(options)
    try:
        name = name_of(options)
    except CannotRun as problem:
        complain(problem)
        return COULD_NOT_RUN
    try:
        known = contradictions(name)
        if options.contradiction not in (None, *known):
            accepted = ", ".join(known) or "(none is known)"
            raise WrongUsage(
                f"the contradiction of {name} must be one of {accepted}, got {options.contradiction!r}"
            )
        if options.check:
            return _check(name, options.contradiction)
        if options.contradiction is None:
            write("".join(f"{contradiction}\n" for contradiction in known))
        else:
            write(report(name, options.contradiction))
    except (CannotAsk, OSError, ValueError) as problem:
        complain(problem)
        return COULD_NOT_RUN
    return AS_EXPECTED


def _check_all(options: argparse.Namespace) -> int:
    """Check the scripts of every target, and return the worst exit status."""
    if options.contradiction is not None or not options.check:
        raise WrongUsage(f"{registry.ALL} must go with --check, and without CONTRADICTION")
    worst = AS_EXPECTED
    try:
        for target in dict.fromkeys(bug.target for bug in bugs()):
            try:
                status = _check(target, None)
            except CannotAsk as problem:
                # The frameworks of the other targets may be there.
                complain(f"{target}: {problem}")
                status = COULD_NOT_RUN
            worst = max(worst, status)
    except (OSError, ValueError) as problem:
        complain(problem)
        return COULD_NOT_RUN
    return worst


def _check(target: str, contradiction: str | None) -> int:
    """Run scripts, keep what they do, and return whether all show their bugs."""
    chosen = [
        bug for name, bug in bugs_of(target).items() if bug.target == target and contradiction in (None, name)
    ]
    if not chosen:
        raise WrongUsage(f"{target} has no script of its own for {contradiction or 'any contradiction'}")
    done: dict[str, checking.Checked] = {}
    for release, of_release in groupby(sorted(chosen, key=_release), _release):
        done |= _checked(target, release, list(of_release))
    checking.keep(done)
    (folder() / PAGE).write_text(page(bugs(), checking.kept()), encoding="utf-8")
    for name, one in done.items():
        say(console(), f"{name}: {one.ended}")
    return AS_EXPECTED if all(one.shows_the_bug for one in done.values()) else DIVERGES


def _checked(target: str, release: str, chosen: list[Bug]) -> dict[str, checking.Checked]:
    releases = releases_of(target)
    if releases is None:
        raise CannotAsk(f"{target} has no releases that can be installed")
    values = registry.options_of(target)
    return checking.checked(chosen, runner(releases, values.pop("target"), values)(release))


def _release(bug: Bug) -> str:
    return bug.release


COMMAND = Command(
    help="print a bug report about a contradiction, for the project of the framework",
    description="Print, in Markdown, a bug report about one contradiction of an optimizer, for its project: "
    "the sentence of the documentation, about ten lines that show the bug with the framework alone, the "
    "releases that have the bug, the cause, and the project's threads about it.",
    epilog="Exit status: 0 printed, or each script that was run shows its bug, 1 one does not, 2 wrong "
    "usage, 3 could not run.",
    add_arguments=add_arguments,
    run=run,
)
