"""The table of a history."""

from __future__ import annotations

from sgd_ref.conformance.targets.history import table
from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.storage import Asked

ASKED = [
    Asked("0.1.0", obstacle="no wheel"),
    Asked(
        "1.0.0",
        {"mine": "1.0.0", "numpy": "1.26"},
        {"a": Outcome("fails", "TypeError"), "b": Outcome("there")},
    ),
    Asked("1.1.0", {"mine": "1.1.0", "numpy": "1.26"}, {"a": Outcome("otherwise", "1")}),
]


def test_releases_that_could_not_be_asked_have_no_column() -> None:
    assert table.header(ASKED) == ["contradiction", "1.0.0", "1.1.0", "since when"]
    assert list(table.obstacles(ASKED)) == ["0.1.0: no wheel"]


def test_what_was_not_asked_has_no_mark() -> None:
    assert list(table.rows(ASKED)) == [
        ["a", "?", "x*", "cannot run on 1.0.0; since 1.1.0, the newest that was run"],
        ["b", "x", "", "since 1.0.0, the newest that was run"],
    ]


def test_releases_with_the_same_packages_are_in_one_line() -> None:
    assert list(table.installed_with(ASKED)) == ["1.0.0, 1.1.0: numpy 1.26"]


def test_the_legend_has_every_mark() -> None:
    assert [part.split(":")[0] for part in table.legend().split("; ")] == ["x", "x*", "-", "?"]
