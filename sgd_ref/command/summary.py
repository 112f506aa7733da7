"""``sgd-ref summary``: a report in short, for the page of a CI job."""

from __future__ import annotations

import argparse
from pathlib import Path

from sgd_ref.base.installing import project_url
from sgd_ref.command.destinations import check_file
from sgd_ref.command.options import AS_EXPECTED, Command, WrongUsage
from sgd_ref.command.printing import write
from sgd_ref.conformance.reports.summary import runs_of, to_badge, to_markdown


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    command.add_argument(
        "report",
        type=Path,
        metavar="REPORT",
        help="a report that sgd-ref conform --json or pytest --sgd-ref-report wrote",
    )
    command.add_argument(
        "--badge", type=Path, metavar="FILE", help="write a badge as JSON for the endpoint of shields.io"
    )


def run(options: argparse.Namespace) -> int:
    """Print the page, write the badge, and return the exit status."""
    try:
        runs = runs_of(options.report.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise WrongUsage(f"REPORT must be a report as JSON, got {options.report}: {problem}") from problem
    if options.badge is not None:
        check_file("--badge", options.badge)
        options.badge.write_text(to_badge(runs), encoding="utf-8")
    url = project_url()
    write(to_markdown(runs, f"[What the grades and the names mean]({url})" if url else ""))
    return AS_EXPECTED


COMMAND = Command(
    help="print a summary of a report, as Markdown for the page of a CI job",
    description="Print a summary of a report, as Markdown: what was run, and which mistakes were found.",
    epilog="Exit status: 0 printed, whatever the report says, 2 wrong usage.",
    add_arguments=add_arguments,
    run=run,
)
