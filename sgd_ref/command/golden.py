"""``sgd-ref golden``: write, verify, compare and read the golden data."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from sgd_ref.command.destinations import check_folder
from sgd_ref.command.options import (
    AS_EXPECTED,
    COULD_NOT_RUN,
    DIVERGES,
    Command,
    WrongUsage,
    pattern,
)
from sgd_ref.command.printing import complain, console, error_console, say
from sgd_ref.conformance import data_folder
from sgd_ref.conformance.golden.format import location
from sgd_ref.conformance.golden.tools import diffing, listing, writing
from sgd_ref.conformance.golden.tools.verifying import verify
from sgd_ref.conformance.grading.progress import progress_bar

EPILOG = "Exit status: 0 fine, 1 differs, 2 wrong usage, 3 could not run."
DEFAULT = "the folder of golden data (default: that of this installation)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``sgd-ref golden`` to its parser."""
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION", dest="action")

    def action(name: str, help_text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=help_text, description=f"{help_text}.", epilog=EPILOG)

    write = action("write", "write all golden data, the same bytes on every machine; this takes some minutes")
    write.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help=DEFAULT)
    verify_ = action("verify", "check that the golden data is whole and has the answers of the reference")
    verify_.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help=DEFAULT)
    verify_.add_argument("--no-replay", action="store_true", help="do not run the reference")
    diff = action("diff", "say what changed from one folder to another, by case and field")
    diff.add_argument("old", type=Path, metavar="OLD", help="a folder of golden data")
    diff.add_argument("new", type=Path, metavar="NEW", help="another version of it")
    list_ = action("list", "list all entries")
    list_.add_argument(
        "-k",
        dest="pattern",
        metavar="PATTERN",
        type=pattern,
        help="only ids that contain a match of this regular expression",
    )
    show = action("show", "show one entry in a form that is easy to read")
    show.add_argument("id", metavar="ID", help="an id that sgd-ref golden list shows")
    for reading in (list_, show):
        reading.add_argument("--folder", type=Path, metavar="FOLDER", help=DEFAULT)


def run(options: argparse.Namespace) -> int:
    """Run the chosen action and return the exit status."""
    actions: dict[str, Callable[[argparse.Namespace, Console], int]] = {
        "write": _write,
        "verify": _verify,
        "diff": _diff,
        "list": _list,
        "show": _show,
    }
    try:
        return actions[options.action](options, console())
    except (OSError, ValueError) as problem:
        complain(problem)
        return COULD_NOT_RUN


def _write(options: argparse.Namespace, console: Console) -> int:
    folder = options.folder or data_folder.folder()
    check_folder("FOLDER", folder)
    with _progress("computed") as advance:
        writing.write(folder, advance)
    say(console, f"wrote {folder}")
    return AS_EXPECTED


def _verify(options: argparse.Namespace, console: Console) -> int:
    folder = options.folder or data_folder.folder()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    with _progress("replayed") as advance:
        found = verify(folder, not options.no_replay, advance)
    for line in found.problems:
        say(console, line)
    for reason in found.not_run:
        say(console, f"NOT CHECKED: {reason}")
    count = len(found.problems)
    summary = f"{count} problem{'' if count == 1 else 's'}" if count else "as it should be"
    say(console, f"{folder}: {summary}")
    if found.problems:
        return DIVERGES
    return COULD_NOT_RUN if found.not_run else AS_EXPECTED


def _diff(options: argparse.Namespace, console: Console) -> int:
    for folder in (options.old, options.new):
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
    lines = list(diffing.differences(options.old, options.new))
    for line in lines:
        say(console, line)
    return DIVERGES if lines else AS_EXPECTED


def _list(options: argparse.Namespace, console: Console) -> int:
    places = location.places(options.folder or data_folder.folder())
    chosen = [
        place
        for place in places
        if options.pattern is None or options.pattern.search(location.id_of(place.entry))
    ]
    if not chosen and options.pattern is not None:
        raise WrongUsage(f"-k must match the id of an entry, got {options.pattern.pattern!r}")
    console.print(listing.table(chosen))
    say(console, f"{len(chosen)} entr{'y' if len(chosen) == 1 else 'ies'}")
    return AS_EXPECTED


def _show(options: argparse.Namespace, console: Console) -> int:
    for place in location.places(options.folder or data_folder.folder()):
        if location.id_of(place.entry) == options.id:
            for line in listing.description(place):
                say(console, line)
            return AS_EXPECTED
    raise WrongUsage(f"ID must be that of an entry, as sgd-ref golden list shows them, got {options.id!r}")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[str], None]]:
    """Show the file that was finished last; on a terminal only."""
    with progress_bar(error_console()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda path: bar.update(task, advance=1, description=f"{what}: {path}")


COMMAND = Command(
    help="write, verify and read the golden data: cases with their answers as text",
    description="Write, verify and read the golden data: cases with their answers as text.",
    epilog=EPILOG,
    add_arguments=add_arguments,
    run=run,
)
