"""The recipes of the conformance kit, each after the recipes whose files it reads."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points

from sgd_ref.command.recipes.recipe import GROUP, Recipe
from sgd_ref.conformance.targets.registry import ALL, FAMILIES

COMBINATIONS = "sgd_ref/conformance/catalogue/combinations.json"
KILL_MATRIX = "golden/audit/kill_matrix.json"
GOLDEN_FOLDERS = ("resume", "schedules", "schema", "stages", "standard")
GOLDEN = ("golden/*.json", *(f"golden/{name}/**/*.json" for name in GOLDEN_FOLDERS))
TARGETS = {
    "keras": ("keras", "torch"),
    "torch": ("torch",),
    "optax": ("optax",),
}
"""For each family of targets, the extras that all of its members need; other targets have their own
environments."""


def _of_targets(family: str) -> Recipe:
    options = [argument for name in FAMILIES[family].options for argument in (f"--{name}", ALL)]
    command = ("-m", "sgd_ref.command.main", "conform", family, *options, "--update", "--page")
    # The page is about all targets: each family writes it anew, with the kept data of the other families.
    folder = f"{family}-*" if FAMILIES[family].options else family
    written = (f"golden/targets/{folder}/{file}.json" for file in ("findings", "ledger", "page"))
    writes = (*written, "golden/targets/README.md")
    environment, extras = FAMILIES[family].environment, TARGETS.get(family, ())
    obstacle = Recipe.obstacle if environment is None else environment.obstacle
    return Recipe(family, command, writes, "minutes", (COMBINATIONS,), extras, obstacle=obstacle)


OWN = (
    Recipe(
        "combinations",
        ("-m", "sgd_ref.conformance.audit.combinations", "--append"),
        writes=(COMBINATIONS,),
        duration="seconds",
    ),
    Recipe(
        "kill-matrix",
        ("-m", "sgd_ref.conformance.audit.kill_matrix", "--update"),
        writes=(KILL_MATRIX, "golden/audit/kill_matrix.md"),
        duration="hours",
        reads=(COMBINATIONS,),
    ),
    Recipe(
        "bounds",
        ("-m", "sgd_ref.conformance.audit.widths", "--update"),
        writes=(
            "golden/audit/bounds.json",
            "golden/audit/bounds.md",
        ),
        duration="minutes",
        reads=(COMBINATIONS,),
    ),
    *map(_of_targets, FAMILIES),
    Recipe(
        "history",
        ("-m", "sgd_ref.command.main", "history", ALL, "--again"),
        writes=("golden/targets/*/history.json", "golden/targets/README.md"),
        duration="hours",
    ),
    Recipe(
        "reports",
        ("-m", "sgd_ref.command.main", "report-bug", ALL, "--check"),
        writes=("golden/targets/reports/checked.json", "golden/targets/reports/README.md"),
        duration="minutes",
    ),
    Recipe(
        "golden",
        ("-m", "sgd_ref.command.main", "golden", "write"),
        writes=GOLDEN,
        duration="a quarter of an hour",
        reads=(COMBINATIONS,),
    ),
    Recipe(
        "mutants",
        ("-m", "sgd_ref.conformance.audit.mutants.run", "--update"),
        writes=("golden/audit/mutants.md",),
        duration="a quarter of an hour",
        reads=GOLDEN,
        extras=("mutants",),
    ),
    Recipe(
        "ids",
        ("tests/sgd_ref/conformance/golden/test_ids.py",),
        writes=("tests/sgd_ref/conformance/golden/ids.json",),
        duration="seconds",
        reads=GOLDEN,
    ),
)


def recipes() -> Iterator[Recipe]:
    """Yield the recipes of the kit, then those of other packages, which read none of the kit's data."""
    yield from OWN
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        yield entry.load()
