"""The table of a history: a row for each contradiction, and a column for each release."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sgd_ref.conformance.targets.history.outcome import MARKS, MEANINGS
from sgd_ref.conformance.targets.history.running import by_contradiction
from sgd_ref.conformance.targets.history.spans import in_words
from sgd_ref.conformance.targets.history.storage import Asked

NOT_ASKED = ""


def header(asked: Sequence[Asked]) -> list[str]:
    """Return the heading of each column.

    >>> header([Asked("1.0"), Asked("1.1", obstacle="gone")])
    ['contradiction', '1.0', 'since when']
    """
    return ["contradiction", *(one.release for one in asked if not one.obstacle), "since when"]


def rows(asked: Sequence[Asked]) -> Iterator[list[str]]:
    """Yield the cells of each contradiction.

    >>> from sgd_ref.conformance.targets.history.outcome import Outcome
    >>> list(rows([Asked("1.0", {}, {"a": Outcome("absent")}), Asked("1.1", {}, {"a": Outcome("there")})]))
    [['a', '-', 'x', 'not in 1.0; since 1.1, the newest that was run']]
    """
    installed = [one for one in asked if not one.obstacle]
    for name, outcomes in by_contradiction(installed).items():
        marks = [MARKS[one.outcomes[name].name] if name in one.outcomes else NOT_ASKED for one in installed]
        yield [name, *marks, in_words(outcomes)]


def legend() -> str:
    """Return the meanings of the marks.

    >>> legend().split(";")[0]
    'x: the release contradicts the documentation, with the known bits'
    """
    return "; ".join(f"{MARKS[name]}: {meaning}" for name, meaning in MEANINGS.items())


def obstacles(asked: Sequence[Asked]) -> Iterator[str]:
    """Yield a line for each release that could not be run.

    >>> list(obstacles([Asked("1.1", obstacle="no wheel")]))
    ['1.1: no wheel']
    """
    yield from (f"{one.release}: {one.obstacle}" for one in asked if one.obstacle)


def installed_with(asked: Sequence[Asked]) -> Iterator[str]:
    """Yield the packages that releases were installed with; releases with the same packages share a line.

    >>> list(installed_with([Asked("1.0", {"numpy": "2.0", "mine": "1.0"})]))
    ['1.0: numpy 2.0']
    """
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for one in asked:
        if not one.obstacle:
            others = {name: version for name, version in one.versions.items() if version != one.release}
            groups.setdefault(tuple(sorted(others.items())), []).append(one.release)
    for packages, releases in groups.items():
        yield f"{', '.join(releases)}: {', '.join(f'{name} {version}' for name, version in packages)}"
