"""``sgd-ref regenerate``: what is chosen, shown and returned; small scripts stand for the long commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sgd_ref.command import main, regenerate
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, DIVERGES, WRONG_USAGE
from sgd_ref.command.recipes.recipe import Recipe
from sgd_ref.command.recipes.running import CONTENT

SCRIPT = "import sys\nfrom pathlib import Path\nPath(sys.argv[1]).write_text(sys.argv[2])\n"


def recipe(name: str, content: str, **others: object) -> Recipe:
    path = f"golden/{name}.json"
    return Recipe(name, ("tests/write.py", path, content), (path,), "no time", **others)  # type: ignore[arg-type]


FIRST, SECOND = recipe("first", "1"), recipe("second", "2")
TIMED = recipe("timed", "3", is_measured=True)
ABSENT = recipe("absent", "4", obstacle=lambda: "there is no device")
FAILING = Recipe("failing", ("tests/nosuch.py",), ("golden/failing.json",), "no time")

Offer = Callable[..., Path]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Offer some recipes, and return the folder of the checkout that they write into."""
    for name in CONTENT[:-1]:
        (tmp_path / name).mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "tests/write.py").write_text(SCRIPT)
    (tmp_path / "golden/first.json").write_text("1")
    monkeypatch.setattr(regenerate, "PROJECT", tmp_path)

    def offered(*known: Recipe) -> Path:
        monkeypatch.setattr(regenerate, "recipes", lambda: iter(known))
        return tmp_path

    return offered


def test_everything_is_written_in_order(offer: Offer, capsys: pytest.CaptureFixture[str]) -> None:
    checkout = offer(FIRST, SECOND, TIMED)
    assert main.main(["regenerate"]) == AS_EXPECTED
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "first: as it was",
        "second: written: golden/second.json",
        "timed: written: golden/timed.json",
    ]
    assert shown.err.splitlines() == ["first ...", "second ...", "timed ..."]
    assert (checkout / "golden/timed.json").read_text() == "3"


def test_only_what_is_chosen_and_in_its_order(offer: Offer, capsys: pytest.CaptureFixture[str]) -> None:
    checkout = offer(FIRST, SECOND, TIMED)
    assert main.main(["regenerate", "--only", "timed", "first"]) == AS_EXPECTED
    assert capsys.readouterr().err.splitlines() == ["first ...", "timed ..."]
    assert not (checkout / "golden/second.json").exists()


def test_all_but_what_is_left_out(offer: Offer, capsys: pytest.CaptureFixture[str]) -> None:
    offer(FIRST, SECOND, TIMED)
    assert main.main(["regenerate", "--without", "timed", "first"]) == AS_EXPECTED
    assert capsys.readouterr().err.splitlines() == ["second ..."]


@pytest.mark.parametrize("option", ["--only", "--without"])
def test_a_name_that_is_not_known_is_wrong_usage(
    offer: Offer, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    checkout = offer(FIRST, SECOND)
    with pytest.raises(SystemExit) as stopped:
        main.main(["regenerate", option, "first", "third"])
    assert stopped.value.code == WRONG_USAGE
    assert f"{option} must be among first, second, got 'third'" in capsys.readouterr().err
    assert not (checkout / "golden/second.json").exists()


def test_what_would_differ_is_said_and_not_written(offer: Offer, capsys: pytest.CaptureFixture[str]) -> None:
    checkout = offer(FIRST, SECOND, TIMED)
    assert main.main(["regenerate", "--check"]) == DIVERGES
    assert capsys.readouterr().out.splitlines() == [
        "first: as it was",
        "second: differs: golden/second.json",
        "timed: NOT COMPARED, since times are never the same twice",
    ]
    assert not (checkout / "golden/second.json").exists()
    assert main.main(["regenerate", "--check", "--only", "first"]) == AS_EXPECTED


def test_what_cannot_run_here_is_said_and_an_exit_status(
    offer: Offer, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(ABSENT, SECOND)
    assert main.main(["regenerate"]) == COULD_NOT_RUN
    assert capsys.readouterr().out.splitlines() == [
        "absent: SKIPPED: there is no device",
        "second: written: golden/second.json",
    ]


def test_a_failure_outweighs_what_was_skipped(offer: Offer, capsys: pytest.CaptureFixture[str]) -> None:
    offer(ABSENT, FAILING)
    assert main.main(["regenerate"]) == DIVERGES
    assert "failing: FAILED: its command ended with exit status 2" in capsys.readouterr().out


def test_the_list_says_what_each_part_writes(offer: Offer, capsys: pytest.CaptureFixture[str]) -> None:
    checkout = offer(SECOND, ABSENT)
    assert main.main(["regenerate", "--list"]) == AS_EXPECTED
    assert capsys.readouterr().out.splitlines() == [
        "second (no time)",
        "  writes golden/second.json",
        "  runs python tests/write.py golden/second.json 2",
        "absent (no time)",
        "  writes golden/absent.json",
        "  runs python tests/write.py golden/absent.json 4",
        "  CANNOT RUN HERE: there is no device",
    ]
    assert not (checkout / "golden/second.json").exists()


def test_without_a_checkout_there_is_nothing_to_write(
    offer: Offer, capsys: pytest.CaptureFixture[str]
) -> None:
    (offer(FIRST) / "pyproject.toml").unlink()
    assert main.main(["regenerate"]) == COULD_NOT_RUN
    assert "has no pyproject.toml" in capsys.readouterr().err
