"""The house keeps its order: tests lie where their subjects do, layers hold, and each file is one concept."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PACKAGES = ("sgd_ref", "numba_kernels")

FEWEST_ROOMS, MOST_ROOMS = 2, 19
"""Modules and folders at the top of the conformance kit, beside its own file."""

WRITTEN_BY_HAND = ("starters", "reports")
"""Folders of the golden data that hold programs."""

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file() or not (ROOT / "sgd_ref").is_dir(),
    reason="without the sources there is no layout",
)


def modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def files_of_tests() -> list[Path]:
    return sorted((ROOT / "tests").rglob("test_*.py"))


def subject(test: Path) -> Path:
    """Return the module that a test has its name from."""
    place = test.relative_to(ROOT / "tests")
    return ROOT / place.with_name(place.name.removeprefix("test_"))


def test_every_folder_of_tests_is_that_of_its_subjects() -> None:
    folders = {test.parent for test in files_of_tests()} - {ROOT / "tests"}
    assert folders
    strangers = [folder for folder in folders if not (ROOT / folder.relative_to(ROOT / "tests")).is_dir()]
    assert strangers == []


def test_a_test_without_a_module_of_its_name_is_about_several_of_its_folder() -> None:
    others = [
        test
        for test in files_of_tests()
        if test.parent != ROOT / "tests"
        and not subject(test).is_file()
        and not subject(test).with_suffix("").is_dir()
        and test.relative_to(ROOT / "tests").parts[0] != "golden"
    ]
    # Most tests are of one module; these say at their top what they are about.
    assert len(others) < len(files_of_tests()) / 4
    for test in others:
        text = test.read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), test
        package = test.relative_to(ROOT / "tests").parts[0]
        assert re.search(rf"\b{package}\b", text), test


def test_the_kit_has_few_rooms_at_its_top() -> None:
    top = ROOT / "sgd_ref" / "conformance"
    rooms = [
        path.name
        for path in top.iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    ]
    assert FEWEST_ROOMS < len(rooms) <= MOST_ROOMS, sorted(rooms)


def test_no_code_is_generated() -> None:
    """Scripts are printed when they are asked for; only programs that somebody wrote lie among the data."""
    found = [path for path in (ROOT / "golden").rglob("*.py") if path.parent.name not in WRITTEN_BY_HAND]
    assert found == []


def test_every_package_says_what_it_is() -> None:
    for path in modules():
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


LAYERS = """
[tool.importlinter]
root_packages = ["sgd_ref"]
[[tool.importlinter.contracts]]
name = "upside down"
type = "layers"
containers = ["sgd_ref.conformance"]
layers = ["catalogue", "grading"]
"""


@pytest.mark.parametrize(("upside_down", "status"), [(False, 0), (True, 1)])
def test_no_import_runs_upward(tmp_path: Path, upside_down: bool, status: int) -> None:
    """The contracts hold, and one that does not hold is seen."""
    config = ROOT / "pyproject.toml"
    if upside_down:
        config = tmp_path / "pyproject.toml"
        config.write_text(LAYERS, encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
