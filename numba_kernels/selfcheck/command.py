"""``sgd-ref check``: compare the kernels with the definition on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from numba_kernels.selfcheck import page, runner, sweeping
from numba_kernels.selfcheck.device.availability import is_simulated, why_no_device
from numba_kernels.selfcheck.extent import SEED, STANDARD, Extent, usable_processors
from numba_kernels.selfcheck.proof import check as proof
from numba_kernels.selfcheck.runner import Outcome
from sgd_ref.command.options import (
    AS_EXPECTED,
    COULD_NOT_RUN,
    DIVERGES,
    Command,
    WrongUsage,
    pattern,
    whole_number,
)
from sgd_ref.command.printing import complain, console, error_console, say
from sgd_ref.command.sweeping import NotSwept, add_sweep, is_sweep, swept
from sgd_ref.conformance.grading.progress import progress_bar
from sgd_ref.conformance.grading.sweep.software import KERNELS, software

Checks = Callable[[Extent, runner.Advance], Outcome]
"""Runs checks, and says how far they are."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    tier = command.add_mutually_exclusive_group()
    for name, text in (
        ("quick", "a few minutes: only a share of the kernels, with every triple of features that they have"),
        ("full", "hours: every combination of features, also of those that only change numbers"),
    ):
        tier.add_argument(f"--{name}", dest="tier", action="store_const", const=name, help=text)
    command.add_argument("--seed", type=whole_number, metavar="NUMBER", help="the seed of all random numbers")
    command.add_argument(
        "-k",
        dest="pattern",
        metavar="PATTERN",
        type=pattern,
        help="only cases whose id contains a match of this regular expression",
    )
    command.add_argument(
        "--processes",
        type=whole_number,
        metavar="NUMBER",
        help="how many processes work at once (default: one for each processor, at most 8)",
    )
    command.add_argument(
        "--prove",
        action="store_true",
        help="instead of trying values, prove that the elementwise kernels for this processor compute the "
        "rule for all inputs; with --device ptx, those for CUDA",
    )
    add_sweep(command)
    command.add_argument(
        "--device",
        choices=("cpu", "cuda", "ptx"),
        default="cpu",
        help="cpu: the kernels for this processor; cuda: those for CUDA, on a device; ptx: those for CUDA, "
        "executed on this processor without a device (default: %(default)s)",
    )
    command.add_argument(
        "--dump",
        type=Path,
        metavar="FOLDER",
        help="with --device ptx: also write each launch of a kernel, for other interpreters; "
        "FOLDER/README.txt describes the files",
    )


def run(options: argparse.Namespace) -> int:
    """Run the checks, print their results, and return the exit status."""
    out = console()
    extent = _extent(options)
    _check_sweep(options)
    if options.dump is not None and options.device != "ptx":
        raise WrongUsage(f"--dump must go with --device ptx, got --dump {options.dump}")
    if (
        options.dump is not None
        and options.dump.exists()
        and (not options.dump.is_dir() or any(options.dump.iterdir()))
    ):
        raise WrongUsage(f"--dump must name a folder that is empty or not there, got {str(options.dump)!r}")
    if options.prove:
        return _prove(extent)
    described, run_checks = _chosen(options, extent)
    if run_checks is None:
        return COULD_NOT_RUN
    for line in (page.PURPOSE, "", *described, ""):
        say(out, line)
    try:
        with _progress() as advance:
            outcome = run_checks(extent, advance)
    except NotSwept as problem:
        complain(problem)
        return COULD_NOT_RUN
    if not outcome.not_run and not any(result.cases or result.skipped for result in outcome.results):
        raise WrongUsage(f"-k must match the id of a case, got {options.pattern.pattern!r}")
    for line in page.details(outcome):
        say(out, line)
    out.print(page.table(outcome.results))
    for line in outcome.notes:
        say(out, line)
    last = page.verdict(outcome)
    if options.device == "ptx":
        last = f"By executed PTX, without a device: {last}"
    if options.device == "cuda" and is_simulated():
        last = f"In the simulator: {last}"
    say(out, last)
    return status(outcome)


def _chosen(options: argparse.Namespace, extent: Extent) -> tuple[list[str], Checks | None]:
    """Return the description of what is checked, and the function that checks it; None if it cannot run."""
    if options.device == "cuda":
        reason = why_no_device()
        if reason is not None:
            complain(f"nothing was checked: {reason}")
            return [], None
        return _on_device(extent)
    if options.device == "ptx":
        return _by_ptx(extent, options.dump)
    return page.description(extent), _by_sweep(options) if is_sweep(options) else runner.run


def _check_sweep(options: argparse.Namespace) -> None:
    if not is_sweep(options):
        return
    if options.prove or options.device != "cpu":
        raise WrongUsage("--cluster, --scheduler and --resume must go with --device cpu, and without --prove")
    if options.processes is not None and (options.cluster or options.scheduler is not None):
        raise WrongUsage("--processes must go without --cluster and --scheduler, which have --workers")


def _by_sweep(options: argparse.Namespace) -> Checks:
    """Return the function that runs the checks in units, with a journal."""

    def run_checks(extent: Extent, advance: runner.Advance) -> Outcome:
        asked = {**sweeping.asked(extent), **software(KERNELS)}
        with swept(options, asked, KERNELS, lambda: sweeping.pool(extent.processes)) as sweep:
            return sweeping.run(extent, sweep, advance)

    return run_checks


def _prove(extent: Extent) -> int:
    """Prove the elementwise kernels, print the results, and return the exit status."""
    if extent.device == "cuda":
        raise WrongUsage("--prove must be used with --device cpu or ptx, since proofs need no device")
    proves: Any = proof if extent.device == "cpu" else _proof_of_ptx()
    out = console()
    for line in (proves.PURPOSE, "", *page.where(), ""):
        say(out, line)
    with _progress() as advance:
        findings = proves.run(extent, advance)
    if not findings.kernels and not findings.not_run:
        raise WrongUsage(
            f"-k must match the id of a kernel, got {extent.pattern and extent.pattern.pattern!r}"
        )
    for line in proof.page(findings, proves.OUTSIDE):
        say(out, line)
    if findings.failures or findings.wrong:
        return DIVERGES
    return COULD_NOT_RUN if findings.not_run else AS_EXPECTED


def _proof_of_ptx() -> Any:
    # It needs numba-cuda, which looks for a driver when it is imported.
    from numba_kernels.selfcheck.proof.ptx import check  # noqa: PLC0415

    return check


def status(outcome: Outcome) -> int:
    """Return the exit status.

    >>> from numba_kernels.selfcheck.result import Result
    >>> status(Outcome([Result("sizes", cases=1, differing=1)], []))
    1
    """
    if any(result.differing for result in outcome.results):
        return DIVERGES
    return COULD_NOT_RUN if outcome.not_run else AS_EXPECTED


def _extent(options: argparse.Namespace) -> Extent:
    # A few chosen cases take less time than starting processes.
    most = 1 if options.pattern is not None else min(usable_processors(), 8)
    seed = SEED if options.seed is None else options.seed
    return Extent(options.tier or STANDARD, seed, options.pattern, options.processes or most, options.device)


def _on_device(extent: Extent) -> tuple[list[str], Checks]:
    """Return the description of the machine, and the function that runs the checks."""
    # The imported modules need numba-cuda, which may not be installed.
    from numba_kernels.selfcheck.device import describing  # noqa: PLC0415
    from numba_kernels.selfcheck.device import runner as device_runner  # noqa: PLC0415

    return describing.description(extent), device_runner.run


def _by_ptx(extent: Extent, dump: Path | None) -> tuple[list[str], Checks | None]:
    """Return the description of the PTX interpreter, and its function; None if it cannot run."""
    # The imported modules need gcc and the compilers of CUDA, which may not be installed.
    from numba_kernels.selfcheck.ptx import session  # noqa: PLC0415
    from numba_kernels.selfcheck.ptx.checks import describing  # noqa: PLC0415
    from numba_kernels.selfcheck.ptx.checks import runner as ptx_runner  # noqa: PLC0415

    reason = session.why_not()
    if reason is not None:
        complain(f"nothing was checked: {reason}")
        return [], None
    return describing.description(extent), partial(ptx_runner.run, dump=dump)


@contextmanager
def _progress() -> Iterator[runner.Advance]:
    with progress_bar(error_console()) as bar:
        task = bar.add_task("choosing cases", total=None)
        yield lambda doing, done, parts: bar.update(task, description=doing, completed=done, total=parts)


COMMAND = Command(
    help="compare the kernels with the definition on this machine, bit by bit",
    description="Compare the kernels with the definition on this machine, bit by bit: every "
    "combination of features that changes their operations, sizes, memory layouts, special values, "
    "norms, threads, machine code and the golden data.",
    epilog="Exit status: 0 the same bits, 1 something differs, 2 wrong usage, 3 could not run.",
    add_arguments=add_arguments,
    run=run,
)
