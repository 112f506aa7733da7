"""A parser of arguments; an error of a subcommand shows the usage of this subcommand."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from sgd_ref.command.options import WrongUsage


class Parser(argparse.ArgumentParser):
    """A parser of arguments, including the arguments of subcommands.

    The parsed namespace has the innermost parser as ``parser``, so that `refuse` finds its usage. In the
    class of the standard library, the outermost parser reports an unknown argument of a subcommand, and shows
    a usage that does not help. That class also does not find a positional argument behind an option.

    Examples
    --------
    >>> parser = Parser(prog="sgd-ref")
    >>> check = parser.add_subparsers().add_parser("check")
    >>> parser.parse_args(["check"]).parser.prog
    'sgd-ref check'
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.set_defaults(parser=self)
        self._is_intermixing = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse arguments, positional ones also among options; left-over arguments are an error."""
        # The method of the standard library that parses intermixed arguments calls this method for a part of
        # its work.
        if self._is_intermixing:
            return super().parse_known_args(args, namespace)
        if self._subparsers is not None:
            found, unknown = super().parse_known_args(args, namespace)
        else:
            self._is_intermixing = True
            found, unknown = self.parse_known_intermixed_args(args, namespace)
            self._is_intermixing = False
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def refuse(options: argparse.Namespace, problem: WrongUsage) -> NoReturn:
    """Exit with status 2, and print the usage of the parsed subcommand and the problem."""
    parser: Parser = options.parser
    parser.error(str(problem))
