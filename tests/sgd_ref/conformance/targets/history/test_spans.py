"""Since when, and where mended, in words."""

from __future__ import annotations

import pytest

from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.spans import affected, in_words

NAMES = {"x": "there", "o": "otherwise", "-": "absent", "?": "fails"}


def asked(marks: str) -> list[tuple[str, Outcome]]:
    return [(f"1.{position}", Outcome(NAMES[mark])) for position, mark in enumerate(marks)]


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ("x", "since 1.0, the newest that was run"),
        ("xo", "since 1.0 at the latest, still in 1.1"),
        ("-xx", "not in 1.0; since 1.1, still in 1.2"),
        ("--", "not in 1.0 to 1.1"),
        ("xx--", "1.0 to 1.1; mended in 1.2"),
        ("?xx-x", "cannot run on 1.0; 1.1 to 1.2; mended in 1.3; since 1.4, the newest that was run"),
        ("x?", "1.0; cannot run on 1.1"),
        ("", ""),
    ],
)
def test_in_words(marks: str, words: str) -> None:
    assert in_words(asked(marks)) == words


def test_affected_are_those_that_differ_in_whatever_way() -> None:
    assert affected(asked("-xo?x")) == ["1.1", "1.2", "1.4"]
