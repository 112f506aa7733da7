"""Running recipes: in the checkout itself, or in a copy of it to see what would differ."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN
from sgd_ref.command.recipes.recipe import Recipe, matching
from sgd_ref.command.recipes.requirements import missing

CONTENT = ("golden", "numba_kernels", "sgd_ref", "tests", "pyproject.toml")
"""The parts of a checkout that go into a copy: the programs, and all data that they read and write."""

CACHES = ("__pycache__", ".*")


@dataclass(frozen=True)
class Outcome:
    """The result of one recipe.

    Attributes
    ----------
    name : str
        The name of the recipe.
    changed : tuple of str
        Files that were changed, added or removed; paths from the folder of the checkout.
    skipped : str or None
        The reason why it was not run.
    failure : str or None
        What went wrong.
    """

    name: str
    changed: tuple[str, ...] = ()
    skipped: str | None = None
    failure: str | None = None


def why_not(recipe: Recipe, checkout: Path) -> str | None:
    """Return what this machine lacks for a recipe, or None."""
    return missing(checkout, recipe.extras) or recipe.obstacle()


def follow(
    recipes: Iterable[Recipe],
    checkout: Path,
    announce: Callable[[str], None] = lambda _: None,
    is_alone: bool = False,
) -> Iterator[Outcome]:
    """Run recipes in a folder, one after the other, and yield the result of each.

    If a recipe fails, the recipes that read its files are not run.

    Parameters
    ----------
    recipes : iterable of Recipe
        A recipe comes after those that write the files that it reads.
    checkout : Path
        The folder; files are written there.
    announce : callable, optional
        Called with the name of each recipe before its command is run.
    is_alone : bool, default False
        Whether nothing else writes into the folder. Then a recipe fails if it changes a file that it does not
        declare.
    """
    stale: dict[str, str] = {}
    for recipe in recipes:
        unwritten = sorted({stale[path] for path in matching(checkout, recipe.reads) if path in stale})
        reason = why_not(recipe, checkout)
        if unwritten:
            outcome = Outcome(recipe.name, failure=f"not run, since it reads what {unwritten[0]} writes")
        elif reason is not None:
            outcome = Outcome(recipe.name, skipped=reason)
        else:
            announce(recipe.name)
            outcome = _followed(recipe, checkout, is_alone)
        if outcome.failure is not None:
            stale |= dict.fromkeys(matching(checkout, recipe.writes), recipe.name)
        yield outcome


@contextmanager
def copied(checkout: Path) -> Iterator[Path]:
    """Provide a writable copy of a checkout, and remove it afterwards."""
    with TemporaryDirectory(prefix="sgd-ref-") as folder:
        for name in CONTENT:
            source, place = checkout / name, Path(folder) / name
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns(*CACHES))
            else:
                shutil.copy2(source, place)
        yield Path(folder)


def _followed(recipe: Recipe, checkout: Path, is_alone: bool) -> Outcome:
    known, before = matching(checkout, recipe.writes), _hashes(checkout)
    status = _status(recipe.command, checkout)
    after = _hashes(checkout)
    paths = sorted(path for path in before | after if before.get(path) != after.get(path))
    if status == COULD_NOT_RUN:
        return Outcome(recipe.name, tuple(paths), skipped="its command could not run; it says why above")
    if status != AS_EXPECTED:
        return Outcome(recipe.name, tuple(paths), failure=f"its command ended with exit status {status}")
    # A removed file is no longer there to be matched.
    declared = known | matching(checkout, recipe.writes)
    strangers = [path for path in paths if path not in declared]
    if strangers and is_alone:
        failure = f"files changed that it does not declare: {', '.join(strangers)}"
        return Outcome(recipe.name, tuple(paths), failure=failure)
    return Outcome(recipe.name, tuple(paths))


def _status(command: Sequence[str], checkout: Path) -> int:
    # The packages of the folder come first, wherever this package was imported from.
    path = os.pathsep.join(filter(None, (str(checkout), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, *command], cwd=checkout, env=environment, check=False).returncode


def _hashes(checkout: Path) -> dict[str, str]:
    found = {}
    for name in CONTENT:
        for path in (checkout / name).rglob("*"):
            parts = path.relative_to(checkout).parts
            if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
                found["/".join(parts)] = sha256(path.read_bytes()).hexdigest()
    return found
