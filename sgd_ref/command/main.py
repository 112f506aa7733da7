"""The command ``sgd-ref``."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from sgd_ref.command import explain
from sgd_ref.command import golden as golden_command
from sgd_ref.conformance.cases.catalogue import TIERS
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.reports import files, tables
from sgd_ref.conformance.reports.publishing import publish
from sgd_ref.conformance.targets import ledger, running
from sgd_ref.validation import positive_real

AS_EXPECTED, DIVERGES, WRONG_USAGE, COULD_NOT_RUN = 0, 1, 2, 3

PIPE_WIDTH = 240

TIME_LIMIT, START_LIMIT = 60.0, 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    0: as expected. 1: something diverges, or fails, that is not known. 2: wrong usage. 3: something
    could not be run.
    """
    parser = _parser()
    own, program = _split(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(own)
    options.program = program
    if options.command == "explain":
        return _explain(parser, options)
    if options.command == "golden":
        return golden_command.run(options, _console())
    if options.command == "bench":
        return _bench(parser, options)
    if options.command == "check":
        return _check(options)
    return _conform(parser, options)


def _check(options: argparse.Namespace) -> int:
    # As for the benchmark, Numba is for those who want it.
    from numba_kernels.selfcheck import command  # noqa: PLC0415

    return command.run(options, _console())


def _bench(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    # Numba takes a while to be imported, and no other command needs it.
    name = "numba_kernels.benchmarks.device" if options.device == "cuda" else "numba_kernels.benchmarks"
    command = importlib.import_module(f"{name}.command")

    if options.page and (options.quick or options.pattern is not None):
        parser.error("--page must go with the whole benchmark, without --quick and -k")
    try:
        plan = command.plan(options.quick, options.pattern)
    except ValueError as problem:
        parser.error(str(problem))
    reason = command.why_not() if options.device == "cuda" else None
    if reason is not None:
        print(f"sgd-ref: nothing was timed: {reason}", file=sys.stderr)
        return COULD_NOT_RUN
    try:
        print(command.run(plan, command.PAGES if options.page else options.output, Console(stderr=True)))
    except OSError as problem:
        print(f"sgd-ref: {problem}", file=sys.stderr)
        return COULD_NOT_RUN
    return AS_EXPECTED


def _conform(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    _check_target(parser, options)
    _check_files(parser, options)
    try:
        targets = _targets(options)
        cases = running.matching(options.tier, options.pattern)
    except ValueError as problem:
        parser.error(str(problem))
    except running.CannotRun as problem:
        print(f"sgd-ref: {problem}", file=sys.stderr)
        return COULD_NOT_RUN
    if options.ledger is not None and len(targets) > 1:
        parser.error(f"--ledger must go with one implementation, got {len(targets)}")
    findings, not_run = running.run_all(targets, cases, Console(stderr=True))
    _print(findings, not_run)
    try:
        problems = _written(options, targets, findings)
    except (OSError, ValueError) as problem:
        print(f"sgd-ref: {problem}", file=sys.stderr)
        return COULD_NOT_RUN
    for line in problems:
        print(f"NOT AS IN THE LEDGER: {line}")
    if problems or not all(found.as_expected for found in findings):
        return DIVERGES
    return COULD_NOT_RUN if not_run or not findings else AS_EXPECTED


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Return the arguments of ``conform`` up to ``--``, and the program after it, which has its own."""
    own = list(arguments)
    if own[:1] != ["conform"] or "--" not in own:
        return own, None
    position = own.index("--")
    return own[:position], own[position + 1 :]


def _check_target(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.program is None:
        if options.target is None:
            parser.error("the following arguments are required: target")
        for name in ("time_limit", "start_limit"):
            if getattr(options, name) is not None:
                parser.error(f"--{name.replace('_', '-')} must go with a program after --")
        if options.update and options.ledger is None and options.target not in running.FAMILIES:
            parser.error(f"--update must go with --ledger for {options.target}")
        return
    if not options.program:
        parser.error("-- must be followed by a program and its arguments")
    for name in ("target", "backend", "mode", "variant"):
        if getattr(options, name) is not None:
            parser.error(f"{name} must be left out for a program after --, got {getattr(options, name)!r}")
    if options.update and options.ledger is None:
        parser.error("--update must go with --ledger for a program after --")


def _targets(options: argparse.Namespace) -> list[running.Target]:
    if options.program is None:
        return running.targets(options.target, options.backend, options.mode, options.variant)
    time_limit, start_limit = options.time_limit or TIME_LIMIT, options.start_limit or START_LIMIT
    return [running.program(options.program, time_limit, start_limit)]


def _check_files(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    for name in ("json", "junit"):
        path: Path | None = getattr(options, name)
        if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
            parser.error(f"--{name} must be a file in a folder that exists, got {path}")
    for name in ("update", "page"):
        if getattr(options, name) and (options.tier != "standard" or options.pattern is not None):
            parser.error(f"--{name} must go with the whole standard tier, without --tier and -k")
    if options.page and options.target not in running.FAMILIES:
        parser.error(f"--page must go with {', '.join(running.FAMILIES)}, got {options.target}")


def _written(
    options: argparse.Namespace, targets: Sequence[running.Target], findings: Sequence[Findings]
) -> list[str]:
    """Write what is asked for, and return what is not as in the ledgers."""
    if options.update:
        _update(findings, targets, options.ledger)
    if options.page:
        publish(findings, targets)
    if options.json is not None:
        options.json.write_text(files.to_json(findings), encoding="utf-8")
    if options.junit is not None:
        options.junit.write_text(files.to_junit(findings), encoding="utf-8")
    return [line for found in findings for line in _problems(found, options.ledger)]


def _problems(found: Findings, path: Path | None) -> list[str]:
    expected = ledger.of_run(found, path)
    lines = [] if expected is None else ledger.problems(expected, found)
    return [f"{found.report.name}: {line}" for line in lines]


def _update(findings: Sequence[Findings], targets: Sequence[running.Target], path: Path | None) -> None:
    """Write the ledgers."""
    evidence = {target.name: target.evidence for target in targets}
    for found in findings:
        text = ledger.to_json(found, evidence[found.report.name])
        (path or ledger.path_of(found.report.name)).write_text(text, encoding="utf-8")


def _explain(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    try:
        try:
            case, target = explain.chosen(options)
        except ValueError as problem:
            parser.error(str(problem))
        return explain.run(options, case, target, _console())
    except running.CannotRun as problem:
        print(f"sgd-ref: {problem}", file=sys.stderr)
        return COULD_NOT_RUN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sgd-ref",
        description="What SGD is, to the last bit, and whether an implementation does it.",
        epilog="Exit status: 0 as expected, 1 diverges, 2 wrong usage, 3 could not run.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    explain.add_arguments(
        commands.add_parser(
            "explain",
            help="show a case step by step, and where an implementation parts from it",
            description="Show a case step by step, and where an implementation parts from it: the call, the "
            "stage, the element, the bits, and the known deviation that gives them.",
            epilog="Exit status: 0 shown (and the same bits, or different in a known way), 1 diverges, "
            "2 wrong usage, 3 could not run.",
        )
    )
    golden_command.add_arguments(
        commands.add_parser(
            "golden",
            help="write, verify and read the golden data: cases with their answers as text",
            description="Write, verify and read the golden data: cases with their answers as text.",
            epilog=golden_command.EPILOG,
        )
    )
    _add_check(
        commands.add_parser(
            "check",
            help="compare the kernels with the definition on this machine, bit by bit",
            description="Compare the kernels with the definition on this machine, bit by bit: every "
            "combination of features that changes what they do, sizes, places in memory, special values, "
            "norms, threads, machine code and the golden data.",
            epilog="Exit status: 0 the same bits, 1 something differs, 2 wrong usage, 3 could not run.",
        )
    )
    _add_bench(
        commands.add_parser(
            "bench",
            help="time the kernels beside other libraries and beside the speed of memory",
            description="Time the kernels beside other libraries and beside the speed of memory, a "
            "quarter of an hour on an idle machine, and print what was found as a page of Markdown.",
            epilog="Exit status: 0 measured, 2 wrong usage, 3 no device, or the page could not be written.",
        )
    )
    command = commands.add_parser(
        "conform",
        help="run an implementation over the cases and compare it with the definition",
        description="Run an implementation over the cases and compare it with the definition, bit by bit.",
        epilog="Exit status: 0 as expected (every mismatch is known by name or contested), 1 diverges, "
        "2 wrong usage, 3 could not run.",
    )
    command.add_argument(
        "target",
        nargs="?",
        help="keras, torch, optax, or module:function for a function of yours from a case to a trajectory; "
        "or, as the last arguments, -- PROGRAM [ARGUMENT ...] for a program of yours in any language",
    )
    command.add_argument(
        "--time-limit",
        type=_seconds,
        metavar="SECONDS",
        help=f"how long the program may take for one case (default: {TIME_LIMIT:g})",
    )
    command.add_argument(
        "--start-limit",
        type=_seconds,
        metavar="SECONDS",
        help=f"how long the program may take until its handshake (default: {START_LIMIT:g})",
    )
    command.add_argument(
        "--backend",
        choices=running.option_values("backend"),
        help="what Keras runs on (default: jax)",
    )
    command.add_argument(
        "--mode",
        choices=running.option_values("mode"),
        help="called as it is, or compiled as Keras' fit compiles it, or jitted with Optax (default: eager)",
    )
    command.add_argument(
        "--variant",
        choices=running.option_values("variant"),
        help="how torch.optim.SGD goes through the parameters (default: loop)",
    )
    command.add_argument(
        "--tier", choices=TIERS, default="standard", help="which cases (default: %(default)s)"
    )
    command.add_argument(
        "-k",
        dest="pattern",
        metavar="PATTERN",
        type=_pattern,
        help="only cases whose id this regular expression matches somewhere",
    )
    command.add_argument(
        "--ledger",
        type=Path,
        metavar="FILE",
        help="what is expected of each case; of keras, torch and optax it is known (strict both ways)",
    )
    command.add_argument(
        "--update", action="store_true", help="write the ledger, with --ledger that one, from this run"
    )
    command.add_argument(
        "--page",
        action="store_true",
        help="write the page of all targets, and reproducers of what was found",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write all verdicts as JSON")
    command.add_argument("--junit", type=Path, metavar="FILE", help="write all verdicts as JUnit XML")
    return parser


def _add_check(command: argparse.ArgumentParser) -> None:
    tier = command.add_mutually_exclusive_group()
    for name, text in (
        ("quick", "a minute's worth: a share of the kernels, every triple of features that they allow"),
        ("full", "every combination of features, also of those that only change numbers; takes hours"),
    ):
        tier.add_argument(f"--{name}", dest="tier", action="store_const", const=name, help=text)
    command.add_argument("--seed", type=_whole_number, metavar="NUMBER", help="of all random numbers")
    command.add_argument(
        "-k",
        dest="pattern",
        metavar="PATTERN",
        type=_pattern,
        help="only cases whose id this regular expression matches somewhere",
    )
    command.add_argument(
        "--processes",
        type=_whole_number,
        metavar="NUMBER",
        help="how many work at once (default: one for each processor, at most 8)",
    )
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")


def _add_bench(command: argparse.ArgumentParser) -> None:
    command.add_argument("--quick", action="store_true", help="a minute's worth of it")
    command.add_argument(
        "-k",
        dest="pattern",
        metavar="PATTERN",
        type=_pattern,
        help="only workloads whose name, such as 'ResNet-50, momentum, float32', this matches somewhere",
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument("--page", action="store_true", help="write the page of the repository")
    where.add_argument(
        "--output", type=Path, metavar="FOLDER", help="write the page, all samples and the plots there"
    )
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as problem:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {problem}") from problem


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        return positive_real("the limit", float(text))
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0") from problem


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def _print(findings: Sequence[Findings], not_run: Sequence[str]) -> None:
    console = _console()
    for found in findings:
        console.rule(found.report.name, align="left")
        for line in tables.mismatch_lines(found):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(tables.feature_table(findings))
    console.print(tables.deviation_table(findings))
    for reason in not_run:
        console.print(f"NOT RUN: {reason}", markup=False, highlight=False, soft_wrap=True)
    for found in findings:
        for axis, value in found.report.unproven_claims():
            console.print(f"NOT GRADED, though claimed: {axis} {value}", markup=False, highlight=False)
    for found in findings:
        versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
        line = f"{tables.summary_line(found)} ({versions})" if versions else tables.summary_line(found)
        console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
