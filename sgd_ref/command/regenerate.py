"""``sgd-ref regenerate``: write all kept data anew, or say what would differ."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sgd_ref.base.installing import PROJECT
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, DIVERGES, Command, WrongUsage
from sgd_ref.command.printing import complain
from sgd_ref.command.recipes.of_the_kit import recipes
from sgd_ref.command.recipes.recipe import Recipe
from sgd_ref.command.recipes.running import CONTENT, Outcome, copied, follow, why_not


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--only", nargs="+", metavar="NAME", help="only these parts of the data, as --list names them"
    )
    which.add_argument("--without", nargs="+", metavar="NAME", default=(), help="all but these parts")
    what = command.add_mutually_exclusive_group()
    what.add_argument(
        "--list", action="store_true", help="say what each part writes, how long it takes, and if it can run"
    )
    what.add_argument(
        "--check",
        action="store_true",
        help="write nothing: make the data in a copy of the checkout, and say which files differ",
    )


def run(options: argparse.Namespace) -> int:
    """Make the chosen data, print the outcome of each part, and return the exit status."""
    chosen = _chosen(list(recipes()), options.only, options.without)
    absent = [name for name in CONTENT if not (PROJECT / name).exists()]
    if absent:
        complain(f"data are written in a checkout only, and {PROJECT} has no {absent[0]}")
        return COULD_NOT_RUN
    if options.list:
        for line in _listing(chosen, PROJECT):
            print(line)
        return AS_EXPECTED
    return _checked(chosen) if options.check else _written(chosen)


def _chosen(known: Sequence[Recipe], only: Sequence[str] | None, without: Sequence[str]) -> list[Recipe]:
    """Return the requested recipes, each after the recipes whose files it reads."""
    names = [recipe.name for recipe in known]
    for option, given in (("--only", only or ()), ("--without", without)):
        for name in given:
            if name not in names:
                raise WrongUsage(f"{option} must be among {', '.join(names)}, got {name!r}")
    wanted = set(names if only is None else only).difference(without)
    return [recipe for recipe in known if recipe.name in wanted]


def _listing(chosen: Sequence[Recipe], checkout: Path) -> Iterator[str]:
    for recipe in chosen:
        yield f"{recipe.name} ({recipe.duration})"
        yield f"  writes {', '.join(recipe.writes)}"
        yield f"  runs python {' '.join(recipe.command)}"
        reason = why_not(recipe, checkout)
        if reason is not None:
            yield f"  CANNOT RUN HERE: {reason}"


def _written(chosen: Sequence[Recipe]) -> int:
    outcomes = []
    for outcome in follow(chosen, PROJECT, _announce):
        _show(outcome, "written")
        outcomes.append(outcome)
    return _status(outcomes, is_wrong=False)


def _checked(chosen: Sequence[Recipe]) -> int:
    outcomes = []
    comparable = [recipe for recipe in chosen if not recipe.is_measured]
    with copied(PROJECT) as copy:
        for outcome in follow(comparable, copy, _announce, is_alone=True):
            _show(outcome, "differs")
            outcomes.append(outcome)
    for recipe in chosen:
        if recipe.is_measured:
            print(f"{recipe.name}: NOT COMPARED, since times are never the same twice")
    return _status(outcomes, is_wrong=any(outcome.changed for outcome in outcomes))


def _announce(name: str) -> None:
    print(f"{name} ...", file=sys.stderr, flush=True)


def _show(outcome: Outcome, word: str) -> None:
    for path in outcome.changed:
        print(f"{outcome.name}: {word}: {path}")
    if outcome.skipped is not None:
        print(f"{outcome.name}: SKIPPED: {outcome.skipped}")
    if outcome.failure is not None:
        print(f"{outcome.name}: FAILED: {outcome.failure}")
    if outcome == Outcome(outcome.name):
        print(f"{outcome.name}: as it was")
    sys.stdout.flush()


def _status(outcomes: Sequence[Outcome], is_wrong: bool) -> int:
    if is_wrong or any(outcome.failure is not None for outcome in outcomes):
        return DIVERGES
    return COULD_NOT_RUN if any(outcome.skipped is not None for outcome in outcomes) else AS_EXPECTED


COMMAND = Command(
    help="write anew all data that the repository keeps, or say what would differ",
    description="Write anew all data that the repository keeps, in an order in which no part is read before "
    "it is written. Parts for which this machine lacks something are left as they are, with the reason.",
    epilog="Exit status: 0 all written, or with --check nothing differs; 1 something failed, or differs; "
    "2 wrong usage; 3 something was skipped.",
    add_arguments=add_arguments,
    run=run,
)
