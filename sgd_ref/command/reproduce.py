"""``sgd-ref reproduce``: print a script that shows a contradiction, or the steps of a watched training."""

from __future__ import annotations

import argparse

from sgd_ref.command.lookup import find_recorded
from sgd_ref.command.one_target import add_options, name_of
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, Command, WrongUsage
from sgd_ref.command.printing import complain, write
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.findings.storage import kept
from sgd_ref.conformance.targets.scripts.of_finding import script_of
from sgd_ref.conformance.targets.scripts.of_watched import scripts_of
from sgd_ref.conformance.targets.scripts.showing import shown_by
from sgd_ref.conformance.targets.target import CannotRun


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    command.add_argument("target", choices=registry.FAMILIES, metavar="TARGET", help="%(choices)s")
    command.add_argument(
        "contradiction",
        nargs="?",
        metavar="CONTRADICTION",
        help="the contradiction to show; without it, the known contradictions of the target are listed. "
        "Or a file FILE.json that the report on a watched training has written: scripts with its steps are "
        "run, and the shortest that shows the wrong value is printed",
    )
    command.add_argument(
        "--optimizer",
        metavar="MODULE:NAME",
        help="with FILE.json: an optimizer of your own in this framework, in place of the framework's own",
    )
    add_options(command)


def run(options: argparse.Namespace) -> int:
    """Print the script, or a list of the known contradictions, and return the exit status."""
    try:
        name = name_of(options)
    except CannotRun as problem:
        complain(problem)
        return COULD_NOT_RUN
    is_file = options.contradiction is not None and options.contradiction.endswith(".json")
    if options.optimizer is not None and not is_file:
        raise WrongUsage(f"--optimizer must go with a file FILE.json, got {options.optimizer!r}")
    try:
        if is_file:
            write(_shown(options.contradiction, name, options.optimizer))
            return AS_EXPECTED
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
    except (CannotRun, OSError, ValueError) as problem:
        complain(problem)
        return COULD_NOT_RUN
    return AS_EXPECTED


def _shown(path: str, target: str, optimizer: str | None) -> str:
    """Return the shortest script that shows, here and now, what a file has recorded.

    Raises
    ------
    WrongUsage
        If the file cannot be read, or the target cannot take its case.
    CannotRun
        If no script shows it.
    """
    try:
        case, recorded = find_recorded(path)
        with recorded.start() as answer:
            scripts = list(scripts_of(case, answer(case), recorded.dialect, target, optimizer))
    except (TypeError, ValueError) as problem:
        raise WrongUsage(f"{path}: {str(problem).removeprefix('CASE: ')}") from problem
    error = ""
    for script in scripts:
        is_there, error = shown_by(script)
        if is_there:
            return script.text
    if error:
        raise CannotRun(f"{path}: the script ends with an error here: {error}")
    own = f"{optimizer} does" if optimizer else f"{target} itself does"
    hint = "" if optimizer else "; --optimizer MODULE:NAME runs an optimizer of your own"
    raise CannotRun(f"{path}: {own} what the rule of {recorded.dialect} says in these steps{hint}")


COMMAND = Command(
    help="print a script that shows where a known implementation contradicts the documentation",
    description="Print a self-contained script that runs one small case with a known implementation, and "
    "says whether its bits still differ from those that are documented. With the file of a watched training, "
    "the script runs its steps, and says whether their values are still outside of what the rule may give.",
    epilog="Exit status: 0 printed, 2 wrong usage, 3 could not run, or the steps of the file are right. The "
    "script exits with 1 as long as the implementation differs, and with 0 if every expected value is there.",
    add_arguments=add_arguments,
    run=run,
)
