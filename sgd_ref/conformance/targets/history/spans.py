"""The first release with a contradiction, and the release that mended it, in words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from sgd_ref.conformance.targets.history.outcome import ABSENT, FAILS, Outcome

Asked = Sequence[tuple[str, Outcome]]
"""Releases, the oldest first, each with its outcome."""


def in_words(asked: Asked) -> str:
    """Return which release first had a contradiction, and which one mended it, in words.

    Releases between two of these were not run. So the contradiction may have begun before the first release
    that was seen to have it.

    Parameters
    ----------
    asked : sequence of (str, Outcome)
        Releases, the oldest first, each with its outcome.

    Examples
    --------
    >>> there, absent, fails = Outcome("there"), Outcome("absent"), Outcome("fails", "TypeError")
    >>> in_words([("1.0", fails), ("1.1", there), ("1.2", there), ("1.3", absent)])
    'cannot run on 1.0; 1.1 to 1.2; mended in 1.3'
    >>> in_words([("1.0", there), ("1.1", there)])
    'since 1.0 at the latest, still in 1.1'
    >>> in_words([("1.0", absent), ("1.1", there)])
    'not in 1.0; since 1.1, the newest that was run'
    """
    runs = [(key, list(run)) for key, run in groupby(asked, lambda one: _kind(one[1]))]
    said: list[str] = []
    for position, (kind, run) in enumerate(runs):
        first, last = run[0][0], run[-1][0]
        is_last = position == len(runs) - 1
        seen_before = any(earlier == "affected" for earlier, _ in runs[:position])
        if kind == ABSENT:
            said.append(f"mended in {first}" if seen_before else f"not in {_range(first, last)}")
        elif kind == FAILS:
            said.append(f"cannot run on {_range(first, last)}")
        elif not is_last:
            said.append(_range(first, last))
        elif first == last:
            said.append(f"since {first}, the newest that was run")
        else:
            said.append(f"since {first}{' at the latest' if position == 0 else ''}, still in {last}")
    return "; ".join(said)


def affected(asked: Asked) -> list[str]:
    """Return the releases that contradict the documentation.

    >>> affected([("1.0", Outcome("there")), ("1.1", Outcome("absent"))])
    ['1.0']
    """
    return [release for release, outcome in asked if outcome.is_affected]


def _kind(outcome: Outcome) -> str:
    return "affected" if outcome.is_affected else outcome.name


def _range(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"
