"""``sgd-ref check``: compare the kernels with the definition on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llvmlite import binding
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from numba_kernels import machine
from numba_kernels.cpu.target import converts_half_in_hardware, target
from numba_kernels.selfcheck import runner
from numba_kernels.selfcheck.device.availability import is_simulated, why_no_device
from numba_kernels.selfcheck.extent import SEED, STANDARD, Extent, usable_processors
from numba_kernels.selfcheck.result import Result
from numba_kernels.selfcheck.runner import Outcome
from numba_kernels.selfcheck.threads_check import COUNTS
from sgd_ref.command.options import (
    AS_EXPECTED,
    COULD_NOT_RUN,
    DIVERGES,
    WRONG_USAGE,
    Command,
    pattern,
    whole_number,
)
from sgd_ref.command.options import console as command_console

SHOWN = ("processor", "system", "Python", "numba", "llvmlite", "numpy", "ml_dtypes")

VECTORS = (
    "sse2",
    "avx",
    "avx2",
    "avx512f",
    "fma",
    "f16c",
    "avx512fp16",
    "neon",
    "sve",
    "fullfp16",
    "fp-armv8",
)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    tier = command.add_mutually_exclusive_group()
    for name, text in (
        ("quick", "a minute's worth: a share of the kernels, every triple of features that they allow"),
        ("full", "every combination of features, also of those that only change numbers; takes hours"),
    ):
        tier.add_argument(f"--{name}", dest="tier", action="store_const", const=name, help=text)
    command.add_argument("--seed", type=whole_number, metavar="NUMBER", help="of all random numbers")
    command.add_argument(
        "-k",
        dest="pattern",
        metavar="PATTERN",
        type=pattern,
        help="only cases whose id this regular expression matches somewhere",
    )
    command.add_argument(
        "--processes",
        type=whole_number,
        metavar="NUMBER",
        help="how many work at once (default: one for each processor, at most 8)",
    )
    command.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Run the checks, print their results, and return the exit status."""
    console = command_console()
    extent = _extent(options)
    if options.device == "cuda":
        reason = why_no_device()
        if reason is not None:
            print(f"sgd-ref: nothing was checked: {reason}", file=sys.stderr)
            return COULD_NOT_RUN
        described, run_checks = _on_device(extent)
    else:
        described, run_checks = description(extent), runner.run
    for line in described:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    with _progress() as advance:
        outcome = run_checks(extent, advance)
    if not outcome.not_run and not any(result.cases or result.skipped for result in outcome.results):
        print(f"sgd-ref: -k must match the id of a case, got {options.pattern.pattern!r}", file=sys.stderr)
        return WRONG_USAGE
    for line in _details(outcome):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(table(outcome.results))
    last = last_line(outcome)
    if options.device == "cuda" and is_simulated():
        last = f"in the simulator, {last}"
    console.print(last, markup=False, highlight=False, soft_wrap=True)
    return status(outcome)


def description(extent: Extent) -> list[str]:
    """Return the machine, the compiler and the versions for which the results hold, and the tier and seed."""
    machine_and_versions = machine.description()
    compiled_for = target()
    vectors = " ".join(name for name in VECTORS if name in compiled_for.present())
    shown = f"features set to {compiled_for.features!r}" if compiled_for.chosen else vectors
    llvm = ".".join(map(str, binding.llvm_version_info))
    half = "by the processor" if converts_half_in_hardware() else "by bits"
    return [
        *(f"{name}: {value}" for name, value in machine_and_versions.items() if name in SHOWN),
        f"compiler: LLVM {llvm} for {compiled_for.name} ({shown}); float16 converted {half}",
        f"processes: {extent.processes}; threads of an optimizer: {' and '.join(map(str, COUNTS))}",
        f"tier: {extent.tier}; seed: {extent.seed}",
    ]


def table(results: Sequence[Result]) -> Table:
    """Return the results as a table, a row for each check."""
    rows = Table(title=None)
    rows.add_column("check")
    for name in ("cases", "values compared", "differing", "skipped", "seconds"):
        rows.add_column(name, justify="right")
    for result in results:
        counts = (result.cases, result.compared, result.differing, result.skipped)
        rows.add_row(result.name, *(f"{count:,}" for count in counts), f"{result.seconds:.1f}")
    return rows


def last_line(outcome: Outcome) -> str:
    """Return the last line.

    >>> last_line(Outcome([Result("sizes", cases=3, compared=12, skipped=1)], []))
    'the same bits: 0 of 12 values differ in 3 cases, 1 case skipped'
    """
    results = outcome.results
    cases, compared = sum(result.cases for result in results), sum(result.compared for result in results)
    differing, skipped = sum(r.differing for r in results), sum(r.skipped for r in results)
    start = "DIFFERENT BITS" if differing else "the same bits"
    if outcome.not_run:
        start = f"{start if differing else 'NOT ALL WAS RUN'}, {_counted(len(outcome.not_run), 'failure')}"
    return (
        f"{start}: {differing:,} of {compared:,} values differ in {_counted(cases, 'case')}, "
        f"{_counted(skipped, 'case')} skipped"
    )


def status(outcome: Outcome) -> int:
    """Return the exit status.

    >>> status(Outcome([Result("sizes", cases=1, differing=1)], []))
    1
    """
    if any(result.differing for result in outcome.results):
        return DIVERGES
    return COULD_NOT_RUN if outcome.not_run else AS_EXPECTED


def _extent(options: argparse.Namespace) -> Extent:
    # Chosen cases are few, and starting processes takes longer.
    most = 1 if options.pattern is not None else min(usable_processors(), 8)
    seed = SEED if options.seed is None else options.seed
    return Extent(options.tier or STANDARD, seed, options.pattern, options.processes or most, options.device)


def _on_device(extent: Extent) -> tuple[list[str], Callable[[Extent, runner.Advance], Outcome]]:
    """Return the description of the machine, and the function that runs the checks."""
    # They need numba-cuda, which not everybody has.
    from numba_kernels.selfcheck.device import describing  # noqa: PLC0415
    from numba_kernels.selfcheck.device import runner as device_runner  # noqa: PLC0415

    return describing.description(extent), device_runner.run


def _details(outcome: Outcome) -> Iterator[str]:
    for result in outcome.results:
        for text in result.differences:
            yield f"DIFFERS: {text}"
    for reason in outcome.not_run:
        yield f"NOT RUN: {reason}"
    for result in outcome.results:
        for reason, count in result.reasons.items():
            yield f"SKIPPED: {_counted(count, 'case')} of {result.name}: {reason}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


@contextmanager
def _progress() -> Iterator[runner.Advance]:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, parts: bar.update(task, completed=done, total=parts)


COMMAND = Command(
    help="compare the kernels with the definition on this machine, bit by bit",
    description="Compare the kernels with the definition on this machine, bit by bit: every "
    "combination of features that changes what they do, sizes, places in memory, special values, "
    "norms, threads, machine code and the golden data.",
    epilog="Exit status: 0 the same bits, 1 something differs, 2 wrong usage, 3 could not run.",
    add_arguments=add_arguments,
    run=run,
)
