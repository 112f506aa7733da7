"""Following recipes, with small scripts in the place of the long commands."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sgd_ref.command.recipes.recipe import Recipe
from sgd_ref.command.recipes.running import CONTENT, Outcome, copied, follow

NUMBER, SQUARE, ELSEWHERE = "golden/number.json", "golden/square.json", "golden/elsewhere.json"

SCRIPTS = {
    "number": f"from pathlib import Path\nPath('{NUMBER}').write_text('7')\n",
    "square": f"from pathlib import Path\nn = int(Path('{NUMBER}').read_text())\n"
    f"Path('{SQUARE}').write_text(str(n * n))\n",
    "removing": f"from pathlib import Path\nPath('{NUMBER}').unlink()\n",
    "wandering": f"from pathlib import Path\nPath('{ELSEWHERE}').write_text('7')\n",
    "failing": "raise SystemExit(1)\n",
    "unable": "raise SystemExit(3)\n",
    "importing": "import sgd_ref\nfrom pathlib import Path\n"
    f"Path('{NUMBER}').write_text(str(Path(sgd_ref.__file__).parents[1] == Path.cwd()))\n",
}

PROJECT = "[project.optional-dependencies]\nframework = ['nosuch-framework']\n"


def recipe(name: str, *reads: str) -> Recipe:
    writes = (SQUARE,) if name == "square" else (NUMBER,)
    return Recipe(name, (f"tests/{name}.py",), writes, "no time", reads)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a number and a square that is not its square yet."""
    folder = tmp_path / "checkout"
    for name in CONTENT[:-1]:
        (folder / name).mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "sgd_ref/__init__.py").write_text("")
    (folder / NUMBER).write_text("3")
    (folder / SQUARE).write_text("8")
    for name, text in SCRIPTS.items():
        (folder / f"tests/{name}.py").write_text(text)
    return folder


def test_what_is_read_was_written_before(checkout: Path) -> None:
    announced: list[str] = []
    outcomes = list(follow([recipe("number"), recipe("square", NUMBER)], checkout, announced.append))
    assert outcomes == [Outcome("number", (NUMBER,)), Outcome("square", (SQUARE,))]
    assert announced == ["number", "square"]
    assert (checkout / SQUARE).read_text() == "49"


def test_a_second_time_nothing_changes(checkout: Path) -> None:
    both = [recipe("number"), recipe("square", NUMBER)]
    list(follow(both, checkout))
    assert list(follow(both, checkout)) == [Outcome("number"), Outcome("square")]


def test_in_a_copy_nothing_of_the_checkout_changes(checkout: Path) -> None:
    (checkout / "golden/__pycache__").mkdir()
    with copied(checkout) as copy:
        assert not (copy / "golden/__pycache__").exists()
        outcomes = list(follow([recipe("number"), recipe("square", NUMBER)], copy, is_alone=True))
    assert [outcome.changed for outcome in outcomes] == [(NUMBER,), (SQUARE,)]
    assert ((checkout / NUMBER).read_text(), (checkout / SQUARE).read_text()) == ("3", "8")
    assert not copy.exists()


def test_a_file_that_goes_has_changed(checkout: Path) -> None:
    assert list(follow([recipe("removing")], checkout, is_alone=True)) == [Outcome("removing", (NUMBER,))]


def test_after_a_failure_only_what_reads_its_data_is_left_out(checkout: Path) -> None:
    failing, square, number = recipe("failing"), recipe("square", NUMBER), recipe("number")
    outcomes = list(follow([failing, square, number], checkout))
    assert [outcome.failure for outcome in outcomes] == [
        "its command ended with exit status 1",
        "not run, since it reads what failing writes",
        None,
    ]
    assert (checkout / SQUARE).read_text() == "8"


def test_what_a_machine_lacks_is_said_and_the_rest_goes_on(checkout: Path) -> None:
    extra = replace(recipe("number"), name="extra", extras=("framework",))
    device = replace(recipe("number"), name="device", obstacle=lambda: "there is no device")
    outcomes = list(follow([extra, device, recipe("unable"), recipe("square", NUMBER)], checkout))
    reasons = [outcome.skipped or "" for outcome in outcomes]
    assert reasons[0].startswith("nosuch-framework is not installed; install it with: ")
    assert reasons[1] == "there is no device"
    assert reasons[2] == "its command could not run; it says why above"
    assert outcomes[3] == Outcome("square", (SQUARE,))
    assert (checkout / NUMBER).read_text() == "3"


def test_a_file_that_is_not_declared_is_a_failure_where_nobody_else_writes(checkout: Path) -> None:
    (outcome,) = follow([recipe("wandering")], checkout, is_alone=True)
    assert outcome.failure == f"files changed that it does not declare: {ELSEWHERE}"
    (checkout / ELSEWHERE).unlink()
    (outcome,) = follow([recipe("wandering")], checkout)
    assert outcome == Outcome("wandering", (ELSEWHERE,))


def test_the_packages_are_those_of_the_folder(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", sys.prefix)
    list(follow([recipe("importing")], checkout))
    assert (checkout / NUMBER).read_text() == "True"
