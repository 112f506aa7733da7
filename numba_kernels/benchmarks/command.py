"""``sgd-ref bench``: time the kernels beside other libraries, on CPUs or on a CUDA device."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from numba_kernels.benchmarks import comparison
from sgd_ref.command.destinations import check_folder
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, Command, WrongUsage, pattern
from sgd_ref.command.printing import complain, error_console, write


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand to its parser."""
    command.add_argument("--quick", action="store_true", help="only a few timings, in a minute")
    command.add_argument(
        "-k",
        dest="pattern",
        metavar="PATTERN",
        type=pattern,
        help="only workloads whose name contains a match of this regular expression; a name is, for example, "
        "'ResNet-50, momentum, float32'",
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument("--page", action="store_true", help="write the page of the repository")
    where.add_argument(
        "--output", type=Path, metavar="FOLDER", help="write the page, all samples and the plots there"
    )
    where.add_argument(
        "--against",
        metavar="COMMIT",
        help="compare with the kernels of another commit of this checkout instead of other libraries",
    )
    where.add_argument(
        "--torch",
        action="store_true",
        help="instead, time steps in a PyTorch loop: numba_kernels.torch.SGD beside torch.optim.SGD, each "
        "with gradients fresh from a backward pass",
    )
    command.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="which kernels (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> int:
    """Measure a suite, print the page, and return the exit status."""
    # A machine without a device may lack numba-cuda.
    name = "numba_kernels.benchmarks.device" if options.device == "cuda" else "numba_kernels.benchmarks"
    runner, suite = (importlib.import_module(f"{name}.{module}") for module in ("runner", "suite"))

    if options.page and (options.quick or options.pattern is not None):
        raise WrongUsage("--page must go with the whole benchmark, without --quick and -k")
    if options.against is not None and options.device != "cpu":
        raise WrongUsage("--against must go with --device cpu")
    if options.torch:
        return _run_in_pytorch(options)
    try:
        chosen = (suite.quick() if options.quick else suite.full()).only(options.pattern)
    except ValueError as problem:
        raise WrongUsage(str(problem)) from problem
    reason = runner.why_not() if options.device == "cuda" else None
    if reason is not None:
        complain(f"nothing was timed: {reason}")
        return COULD_NOT_RUN
    if options.against is not None:
        try:
            with comparison.checked_out(options.against) as commit:
                write(comparison.run(chosen, commit, error_console()) + "\n")
        except ValueError as problem:
            raise WrongUsage(str(problem)) from problem
        return AS_EXPECTED
    folder: Path | None = runner.PAGES if options.page else options.output
    if folder is not None:
        check_folder("--page" if options.page else "--output", folder)
    try:
        write(runner.run(chosen, folder, error_console()) + "\n")
    except (OSError, ValueError) as problem:
        complain(problem)
        return COULD_NOT_RUN
    return AS_EXPECTED


def _run_in_pytorch(options: argparse.Namespace) -> int:
    if options.device != "cpu" or options.pattern is not None:
        raise WrongUsage("--torch must go without --device and -k")
    try:
        steps = importlib.import_module("numba_kernels.benchmarks.pytorch_steps")
    except ModuleNotFoundError as missing:
        complain(f"nothing was timed: {missing.name} is not installed")
        return COULD_NOT_RUN
    write(steps.run(options.quick) + "\n")
    return AS_EXPECTED


COMMAND = Command(
    help="time the kernels, other libraries, and the mere reading and writing of memory",
    description="Time the kernels, other libraries, and the mere reading and writing of memory, and print "
    "the results as a page of Markdown. This takes a quarter to half an hour on a machine that is idle.",
    epilog="Exit status: 0 measured, 2 wrong usage, 3 no device, or the page could not be written.",
    add_arguments=add_arguments,
    run=run,
)
