"""The arguments that say which rule an implementation is held to."""

from __future__ import annotations

import argparse

from sgd_ref.command.options import WrongUsage, words
from sgd_ref.conformance.dialects import RULES, Dialect


def add_dialect(command: argparse.ArgumentParser) -> None:
    """Add the arguments to the parser of a subcommand."""
    command.add_argument(
        "--rule",
        choices=tuple(RULES),
        help="the documented rule by which the implementation is judged (default: the rule that the "
        "handshake of a program, the file of a recorded case or the named target declares, otherwise keras)",
    )
    command.add_argument(
        "--by-design",
        type=words,
        metavar="NAMES",
        help="known deviations that the implementation has on purpose, such as "
        "clip-adds-epsilon,decay-enters-velocity; they become parts of the rule (sgd-ref golden list -k "
        "deviation/ shows all)",
    )


def chosen_dialect(options: argparse.Namespace, default: str = "keras") -> Dialect | None:
    """Return the rule that the arguments choose; None if they choose none.

    Parameters
    ----------
    options : Namespace
        The parsed arguments.
    default : str
        The rule that deviations by design are added to if no rule is given.

    Raises
    ------
    WrongUsage
        If a name is not that of a known deviation.
    """
    if options.rule is None and options.by_design is None:
        return None
    try:
        return Dialect.of(options.rule or default, options.by_design or ())
    except ValueError as problem:
        raise WrongUsage(f"--by-design: {problem}") from problem
