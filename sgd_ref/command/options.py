"""Exit statuses and types of arguments that the subcommands share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass

from sgd_ref.validation import positive_real

AS_EXPECTED, DIVERGES, WRONG_USAGE, COULD_NOT_RUN = 0, 1, 2, 3

INTERRUPTED, PIPE_CLOSED = 130, 141
"""The statuses after Ctrl-C and after the reader of the output has closed it, as in a shell: 128 plus the
signal."""


@dataclass(frozen=True)
class Command:
    """A subcommand of ``sgd-ref``; a package registers one as an entry point of the group `GROUP`.

    Attributes
    ----------
    help : str
        One line, in lower case and without a full stop, for the list of all subcommands.
    description : str
        The purpose of the subcommand, for its own help.
    epilog : str
        The meaning of its exit statuses.
    add_arguments : callable
        Adds its arguments to its parser.
    run : callable
        A function of the parsed arguments that returns the exit status. It raises `WrongUsage` for arguments
        that make no sense together.
    """

    help: str
    description: str
    epilog: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


GROUP = "sgd_ref.commands"
"""The group of entry points by which a package adds a subcommand."""


class WrongUsage(Exception):
    """Raised if the arguments of a subcommand make no sense; its message is shown with the usage."""


def pattern(text: str) -> re.Pattern[str]:
    """Return a regular expression.

    >>> pattern("clip").search("global-clipnorm") is not None
    True
    """
    try:
        return re.compile(text)
    except re.error as problem:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {problem}") from problem


def whole_number(text: str) -> int:
    """Return a whole number of at least 1.

    >>> whole_number("12")
    12
    """
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def words(text: str) -> tuple[str, ...]:
    """Return the words of a list with commas.

    >>> words("float32, momentum")
    ('float32', 'momentum')
    """
    return tuple(word.strip() for word in text.split(","))


def seconds(text: str) -> float:
    """Return a number of seconds above 0.

    >>> seconds("0.5")
    0.5
    """
    try:
        return positive_real("the limit", float(text))
    except ValueError as problem:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0") from problem
