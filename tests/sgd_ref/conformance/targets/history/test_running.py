"""What is known is not asked again, and each answer is kept at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sgd_ref.conformance.targets.history.asking import Ask
from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.programs import Program
from sgd_ref.conformance.targets.history.releases import Releases
from sgd_ref.conformance.targets.history.running import extended
from sgd_ref.conformance.targets.history.storage import Asked

MINE = Releases("mine")
SCRIPTS = {"a": Program("a"), "b": Program("b")}
KNOWN = Asked("1.1.3", {"mine": "1.1.3"}, {"a": Outcome("there"), "b": Outcome("there")})


class Runner:
    """Stands for environments, and keeps what each release was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self.kept: list[list[str]] = []

    def __call__(self, release: str) -> Ask:
        def run(scripts: Mapping[str, str]) -> dict[str, Any]:
            self.asked.append((release, list(scripts)))
            told = {name: {"ended": "equal", "said": "", "error": ""} for name in scripts}
            return {"versions": {"mine": release}, "answers": told}

        return run

    def extended(self, known: list[Asked], wanted: list[str], again: bool = False) -> list[Asked]:
        keep = lambda releases: self.kept.append([one.release for one in releases])  # noqa: E731
        return extended(known, wanted, MINE, SCRIPTS, self, keep, again)


@pytest.mark.parametrize("release", ["1.1.3", "1.1"])
def test_a_known_release_is_not_asked(release: str) -> None:
    runner = Runner()
    assert runner.extended([KNOWN], [release]) == [KNOWN]
    assert runner.asked == runner.kept == []


def test_what_was_added_since_is_asked_alone() -> None:
    runner = Runner()
    before = Asked("1.1.3", {"mine": "1.1.3"}, {"a": Outcome("there")})
    (after,) = runner.extended([before], ["1.1"])
    assert runner.asked == [("1.1.3", ["b"])]
    assert {name: outcome.name for name, outcome in after.outcomes.items()} == {"a": "there", "b": "absent"}


def test_each_new_release_is_kept_before_the_next_is_asked() -> None:
    runner = Runner()
    after = runner.extended([KNOWN], ["1.2.0", "1.0.0"])
    assert runner.asked == [("1.2.0", ["a", "b"]), ("1.0.0", ["a", "b"])]
    assert runner.kept == [["1.1.3", "1.2.0"], ["1.1.3", "1.2.0", "1.0.0"]]
    assert [one.release for one in after] == ["1.0.0", "1.1.3", "1.2.0"]


def test_again_asks_what_is_known() -> None:
    runner = Runner()
    (after,) = runner.extended([KNOWN], ["1.1.3"], again=True)
    assert after.outcomes["a"].name == "absent"


def test_a_release_that_could_not_be_installed_is_left_alone() -> None:
    runner = Runner()
    obstacle = Asked("0.1.0", obstacle="no wheel")
    assert runner.extended([obstacle], ["0.1.0"]) == [obstacle]
    assert runner.asked == []


def test_nothing_is_asked_where_one_release_is_none() -> None:
    runner = Runner()
    with pytest.raises(ValueError, match="the release must be"):
        runner.extended([], ["1.0.0", "newest"])
    assert runner.asked == []
