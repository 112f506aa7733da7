"""``sgd-ref conform``: run an implementation over the cases and compare it with the definition."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sgd_ref.command.destinations import check_distinct, check_file, check_folder
from sgd_ref.command.dialects import add_dialect, chosen_dialect
from sgd_ref.command.one_target import check_program
from sgd_ref.command.options import (
    AS_EXPECTED,
    COULD_NOT_RUN,
    DIVERGES,
    Command,
    WrongUsage,
    pattern,
    seconds,
    words,
)
from sgd_ref.command.printing import complain, console, error_console, say
from sgd_ref.command.sweeping import NotSwept, add_sweep, is_sweep
from sgd_ref.command.targets_swept import by_sweep
from sgd_ref.conformance import data_folder
from sgd_ref.conformance.catalogue.tiers import TIERS
from sgd_ref.conformance.catalogue.within import offered_by, offered_by_claims
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.protocol.handshake import Handshake
from sgd_ref.conformance.reports import files, tables
from sgd_ref.conformance.reports.html import page
from sgd_ref.conformance.reports.publishing import publish
from sgd_ref.conformance.targets import ledger, registry, running
from sgd_ref.conformance.targets.target import CannotRun, Target

CLAIMS = "claims"
"""The word for the claims in a program's own handshake."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    command.add_argument(
        "target",
        nargs="?",
        metavar="TARGET",
        help=f"the implementation to run: {', '.join(registry.FAMILIES)}; module:function for a function of "
        "yours that takes a case and returns a trajectory; or, after all options, -- PROGRAM [ARGUMENT ...] "
        "for a program of yours in any language",
    )
    command.add_argument(
        "--time-limit",
        type=seconds,
        metavar="SECONDS",
        help=f"how long the program may take for one case (default: {registry.TIME_LIMIT:g})",
    )
    command.add_argument(
        "--start-limit",
        type=seconds,
        metavar="SECONDS",
        help=f"how long the program may take to write its handshake (default: {registry.START_LIMIT:g})",
    )
    for name, option in registry.options().items():
        command.add_argument(f"--{name}", choices=option.values, help=option.help)
    add_dialect(command)
    command.add_argument(
        "--tier", choices=TIERS, default="standard", help="which cases (default: %(default)s)"
    )
    command.add_argument(
        "--offers",
        type=words,
        metavar="WORDS",
        help="run the cases that need only these features, such as float32,momentum,clipping, and further "
        f"cases for pairs of them; {CLAIMS} stands for the features in the handshake of a program",
    )
    command.add_argument(
        "-k",
        dest="pattern",
        metavar="PATTERN",
        type=pattern,
        help="only cases whose id contains a match of this regular expression",
    )
    command.add_argument(
        "--ledger",
        type=Path,
        metavar="FILE",
        help="the expected results; reports divergences that FILE does not list, and listed ones that do not "
        "occur (named targets, such as keras, have a ledger of their own)",
    )
    command.add_argument(
        "--update", action="store_true", help="write the results of this run into the ledger, or into FILE"
    )
    command.add_argument(
        "--page",
        action="store_true",
        help="write the page of all targets, and the findings of this run for sgd-ref reproduce",
    )
    add_sweep(command)
    command.add_argument("--json", type=Path, metavar="FILE", help="write all verdicts as JSON")
    command.add_argument("--junit", type=Path, metavar="FILE", help="write all verdicts as JUnit XML")
    command.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page with a plot of each divergence"
    )


def run(options: argparse.Namespace) -> int:
    """Run the chosen targets, print the results, and return the exit status."""
    _check_target(options)
    _check_extent(options)
    try:
        targets = _targets(options)
        held_to = chosen_dialect(options, targets[0].rule)
        _check_rule(options, targets, held_to)
        offered = _offered(options, targets)
        swept = is_sweep(options)
        cases = () if swept else running.matching(options.tier, options.pattern, offered)
        _check_files(options, targets)
        if swept:
            findings, not_run = by_sweep(options, targets, offered, held_to)
    except ValueError as problem:
        raise WrongUsage(str(problem)) from problem
    except (CannotRun, NotSwept, OSError) as problem:
        complain(problem)
        return COULD_NOT_RUN
    if not swept:
        findings, not_run = running.run_all(targets, cases, error_console(), held_to)
    if not findings:
        for reason in not_run:
            complain(reason)
        return COULD_NOT_RUN
    try:
        if options.update:
            _update(findings, targets, options.ledger)
        findings = [_listed(found, options.ledger) for found in findings]
        # Files would not say that cases are missing.
        problems = [] if swept and not_run else _written(options, targets, findings)
        _print(findings, not_run)
    except (OSError, ValueError) as problem:
        complain(problem)
        return COULD_NOT_RUN
    for line in problems:
        say(console(), f"NOT AS IN THE LEDGER: {line}")
    if problems or not all(found.as_expected for found in findings):
        return DIVERGES
    return COULD_NOT_RUN if not_run else AS_EXPECTED


def _check_target(options: argparse.Namespace) -> None:
    if options.program is None:
        if options.target is None:
            raise WrongUsage("the following arguments are required: TARGET")
        for name in ("time_limit", "start_limit"):
            if getattr(options, name) is not None:
                raise WrongUsage(f"--{name.replace('_', '-')} must go with a program after --")
        if options.update and options.ledger is None and options.target not in registry.FAMILIES:
            raise WrongUsage(f"--update must go with --ledger for {options.target}")
        return
    try:
        check_program(options)
    except ValueError as problem:
        raise WrongUsage(str(problem)) from problem
    if options.update and options.ledger is None:
        raise WrongUsage("--update must go with --ledger for a program after --")


def _targets(options: argparse.Namespace) -> list[Target]:
    if options.program is None:
        return registry.targets(
            options.target, **{name: getattr(options, name) for name in registry.options()}
        )
    time_limit = options.time_limit or registry.TIME_LIMIT
    start_limit = options.start_limit or registry.START_LIMIT
    return [registry.program(options.program, time_limit, start_limit)]


def _offered(options: argparse.Namespace, targets: Sequence[Target]) -> Mapping[str, Collection[str]] | None:
    """Return the offered features, from words, from a target, or from the handshake of a started program."""
    given = options.offers
    if given is None:
        declared = targets[0].offers
        # The full tier has every combination already.
        return None if declared is None or options.tier == "full" else offered_by(declared)
    if tuple(given) != (CLAIMS,):
        return offered_by(given)
    with targets[0].start() as run:
        handshake: Handshake = getattr(run, "handshake")  # noqa: B009 - a program has one
    if handshake.offers is not None:
        return offered_by(handshake.offers)
    return offered_by_claims(handshake.dtypes, handshake.features)


def _check_extent(options: argparse.Namespace) -> None:
    if options.offers is not None and options.tier == "full":
        raise WrongUsage("--offers must go with another tier than full, which has every combination already")
    if options.offers == (CLAIMS,) and options.program is None:
        raise WrongUsage(f"--offers {CLAIMS} must go with a program after --")
    for name in ("update", "page"):
        if getattr(options, name) and is_sweep(options):
            raise WrongUsage(f"--{name} must go without --cluster, --scheduler and --resume")
        if getattr(options, name) and options.offers is not None:
            raise WrongUsage(f"--{name} must go with the whole standard tier, without --offers")
        if getattr(options, name) and (options.tier != "standard" or options.pattern is not None):
            raise WrongUsage(f"--{name} must go with the whole standard tier, without --tier and -k")
    if options.page and options.target not in registry.FAMILIES:
        raise WrongUsage(f"--page must go with {', '.join(registry.FAMILIES)}, got {options.target}")


def _check_rule(options: argparse.Namespace, targets: Sequence[Target], held_to: Dialect | None) -> None:
    """Check that the kept files of a target are written only under the rule of the target."""
    if held_to is None or held_to == targets[0].dialect or options.target not in registry.FAMILIES:
        return
    for name in ("update", "page"):
        if getattr(options, name) and not (name == "update" and options.ledger is not None):
            raise WrongUsage(f"--{name} must go with the rule of {options.target}, {targets[0].dialect}")


def _check_files(options: argparse.Namespace, targets: Sequence[Target]) -> None:
    """Check, before the run, the files that are read and written after the run."""
    if options.ledger is not None and len(targets) > 1:
        raise WrongUsage(f"--ledger must go with one implementation, got {len(targets)}")
    if options.ledger is not None and not options.update:
        _check_ledger(options.ledger)
    written = {name: getattr(options, name) for name in ("json", "junit", "html")}
    if options.html is not None:
        page.check_installed()
    written["ledger"] = options.ledger if options.update else None
    for name, path in written.items():
        if path is not None:
            check_file(f"--{name}", path)
    check_distinct(**written)
    if options.page or (options.update and options.ledger is None):
        check_folder("--page" if options.page else "--update", data_folder.folder() / "targets")


def _check_ledger(path: Path) -> None:
    try:
        ledger.read(path)
    except OSError as problem:
        raise WrongUsage(
            f"--ledger must be a file that can be read, got {path}: {problem.strerror}"
        ) from problem
    except ValueError as problem:
        raise WrongUsage(f"--ledger must be a file that --update wrote, got {path}: {problem}") from problem


def _written(
    options: argparse.Namespace, targets: Sequence[Target], findings: Sequence[Findings]
) -> list[str]:
    """Write the requested files, and return the differences from the ledgers."""
    if options.page:
        publish(findings, targets)
    if options.json is not None:
        options.json.write_text(files.to_json(findings), encoding="utf-8")
    if options.junit is not None:
        options.junit.write_text(files.to_junit(findings), encoding="utf-8")
    if options.html is not None:
        options.html.write_text(page.to_html(findings), encoding="utf-8")
    return [line for found in findings for line in _problems(found, options.ledger)]


def _listed(found: Findings, path: Path | None) -> Findings:
    """Return findings with the entries of a ledger; only these excuse a user's own implementation."""
    expected = ledger.of_run(found, path) if path is not None or not found.excuses else None
    return found if expected is None else ledger.listed(expected, found)


def _problems(found: Findings, path: Path | None) -> list[str]:
    expected = ledger.of_run(found, path)
    lines = [] if expected is None else ledger.problems(expected, found)
    return [f"{found.report.name}: {line}" for line in lines]


def _update(findings: Sequence[Findings], targets: Sequence[Target], path: Path | None) -> None:
    """Write the ledgers."""
    evidence = {target.name: target.evidence for target in targets}
    for found in findings:
        text = ledger.to_json(found, evidence[found.report.name])
        place = path or ledger.path_of(found.report.name)
        # The folder of a target is made by its first run.
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _print(findings: Sequence[Findings], not_run: Sequence[str]) -> None:
    out = console()
    for found in findings:
        out.rule(found.report.name, align="left")
        for line in tables.rule_lines(found):
            say(out, line)
        for line in tables.mismatch_lines(found):
            say(out, line)
        for line in tables.answer_lines(found):
            say(out, line)
    out.print(tables.feature_table(findings))
    out.print(tables.deviation_table(findings))
    for reason in not_run:
        say(out, f"NOT RUN: {reason}")
    for found in findings:
        for axis, value in found.report.unproven_claims():
            say(out, f"NOT GRADED, though claimed: {axis} {value}")
    for found in findings:
        versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
        say(out, f"{tables.summary_line(found)} ({versions})" if versions else tables.summary_line(found))


COMMAND = Command(
    help="run an implementation on the test cases and compare its results with the definition",
    description="Run an implementation on the test cases and compare its results with the definition, bit by "
    "bit.",
    epilog="Exit status: 0 as expected (every mismatch is known by name), 1 diverges, "
    "2 wrong usage, 3 could not run.",
    add_arguments=add_arguments,
    run=run,
)
