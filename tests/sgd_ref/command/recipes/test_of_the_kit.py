"""All recipes: every file of data has one, its command exists, and none reads what a later one writes."""

from __future__ import annotations

import ast
import importlib.util
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from sgd_ref.command import main
from sgd_ref.command.recipes import of_the_kit
from sgd_ref.command.recipes.of_the_kit import recipes
from sgd_ref.command.recipes.recipe import GROUP, Recipe, matching
from sgd_ref.command.recipes.requirements import missing
from sgd_ref.conformance.targets import registry

ROOT = Path(of_the_kit.__file__).parents[3]

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="data are written in a checkout only"
)

DATA = ("*.json", "*.svg")
FOLDERS = ("golden", "numba_kernels", "sgd_ref", "tests")

SHARED = "golden/targets/README.md"
"""The page of all targets, which each family writes."""


REQUIREMENTS = {"package.json", "package-lock.json"}
"""What npm reads and writes."""

MEASURED = {"cost.json"}
"""What one run took, which no other run repeats."""


def all_recipes() -> list[Recipe]:
    return list(recipes())


def test_names_are_unique_and_other_packages_have_theirs() -> None:
    names = [recipe.name for recipe in all_recipes()]
    assert len(set(names)) == len(names)
    registered = {entry.name for entry in entry_points(group=GROUP)}
    assert {"benchmarks", "benchmarks-cuda", "machine-code"} <= registered <= set(names)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_of_data_is_written_by_one_recipe(folder: str) -> None:
    kept = {path.relative_to(ROOT).as_posix() for pattern in DATA for path in (ROOT / folder).rglob(pattern)}
    written = [path for recipe in all_recipes() for path in matching(ROOT, recipe.writes) if path != SHARED]
    assert len(set(written)) == len(written)
    assert kept
    others = {path for path in kept - set(written) if Path(path).name not in REQUIREMENTS | MEASURED}
    assert others == set()


def test_every_page_that_says_how_it_is_written_is_written_by_a_recipe() -> None:
    pages = {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.md")
        if "Written by `" in path.read_text(encoding="utf-8")
    }
    written = {path for recipe in all_recipes() for path in matching(ROOT, recipe.writes)}
    assert SHARED in pages
    assert pages <= written


def test_no_recipe_reads_what_a_later_one_writes() -> None:
    known = all_recipes()
    for position, recipe in enumerate(known):
        later = {path for other in known[position:] for path in matching(ROOT, other.writes)}
        assert matching(ROOT, recipe.reads) & later == set(), recipe.name
        assert all(matching(ROOT, (pattern,)) for pattern in recipe.reads), recipe.name


def test_every_family_of_targets_has_a_recipe_with_all_its_options() -> None:
    by_name = {recipe.name: recipe for recipe in all_recipes()}
    for family, known in registry.FAMILIES.items():
        command = by_name[family].command
        for option in known.options:
            assert command[command.index(f"--{option}") + 1] == registry.ALL


def test_every_command_exists() -> None:
    for recipe in all_recipes():
        first, *rest = recipe.command
        if first != "-m":
            assert (ROOT / first).is_file(), recipe.name
            continue
        assert importlib.util.find_spec(rest[0]) is not None, recipe.name
        if rest[0] == main.__name__:
            assert rest[1] in main.commands_for(()), recipe.name
        elif rest[0].startswith("sgd_ref.conformance"):
            text = (ROOT / f"{rest[0].replace('.', '/')}.py").read_text(encoding="utf-8")
            assert f'"{rest[1]}"' in text, recipe.name


OTHERS = {
    "golden/starters/sgd.py": "answers over its standard streams",
    "numba_kernels/benchmarks/device/worker.py": "answers over its standard streams",
    "numba_kernels/benchmarks/worker.py": "answers over its standard streams",
    "numba_kernels/selfcheck/ptx/mutants/__main__.py": "prints which mistakes are seen",
    "sgd_ref/command/main.py": "sgd-ref itself",
    "sgd_ref/conformance/audit/naming.py": "prints a table",
    "sgd_ref/conformance/targets/environments/serving.py": "answers over its standard streams",
    "sgd_ref/conformance/targets/history/several.py": "answers over its standard streams",
    "sgd_ref/conformance/targets/keras/worker.py": "answers over its standard streams",
    "sgd_ref/conformance/targets/optax/worker.py": "answers over its standard streams",
    "sgd_ref/conformance/targets/torch/worker.py": "answers over its standard streams",
    "tests/numba_kernels/keras/recorded_training.py": "trains for a test",
    "tests/numba_kernels/ranks/over_mpi.py": "is what mpirun starts for a test",
    "tests/numba_kernels/selfcheck/ptx/second_interpreter.py": "replays a dump",
    "tests/sgd_ref/conformance/watching/frameworks/keras_contradictions.py": "trains for a test",
    "tests/sgd_ref/conformance/watching/frameworks/keras_loop.py": "trains for a test",
    "tests/sgd_ref/keras_exchange_worker.py": "answers a test",
    "tests/sgd_ref/reference_speed.py": "prints a speed",
}
"""The programs that write no data of the repository."""


def is_program(path: Path) -> bool:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return "__name__ == '__main__'" in [ast.unparse(node.test) for node in body if isinstance(node, ast.If)]


def test_every_program_is_that_of_a_recipe_or_writes_no_data() -> None:
    files = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    programs = {path.relative_to(ROOT).as_posix() for path in files if is_program(path)}
    of_recipes = set()
    for recipe in all_recipes():
        first, second = recipe.command[:2] if recipe.command[1:] else (recipe.command[0], "")
        module = f"{second.replace('.', '/')}.py" if first == "-m" else first
        package = module.removesuffix(".py") + "/__main__.py"
        of_recipes.add(package if (ROOT / package).is_file() else module)
    assert set(OTHERS) | of_recipes == programs


def test_every_extra_is_declared() -> None:
    for recipe in all_recipes():
        missing(ROOT, recipe.extras)
