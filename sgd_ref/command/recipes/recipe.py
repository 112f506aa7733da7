"""A recipe: how one part of the kept data is made anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GROUP = "sgd_ref.recipes"
"""The group of entry points by which another package adds a recipe."""


@dataclass(frozen=True)
class Recipe:
    """How one part of the kept data is made anew.

    Attributes
    ----------
    name : str
        The name by which ``--only`` chooses the recipe.
    command : tuple of str
        The arguments of Python, which runs in the folder of the checkout. Exit status 0 means that the data
        were written, and 3 that this machine lacks something.
    writes : tuple of str
        Patterns of `Path.glob` from the folder of the checkout: the files that the command writes.
    duration : str
        The time that the command takes on 2 processors, in words.
    reads : tuple of str, optional
        Patterns of the files that the command reads and another recipe writes.
    extras : tuple of str, optional
        The extras in ``pyproject.toml`` that must be installed, in the versions that these name.
    is_measured : bool, optional
        Whether the files hold times measured on one machine, which no other run can reproduce.
    obstacle : callable, optional
        Returns what else this machine lacks, or None. It is called if the extras are installed.

    Examples
    --------
    >>> recipe = Recipe("squares", ("-m", "squares"), ("golden/squares.json",), "a second")
    >>> recipe.extras, recipe.is_measured
    ((), False)
    """

    name: str
    command: tuple[str, ...]
    writes: tuple[str, ...]
    duration: str
    reads: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    is_measured: bool = False
    obstacle: Callable[[], str | None] = lambda: None


def matching(checkout: Path, patterns: tuple[str, ...]) -> set[str]:
    """Return the files of a checkout that one of the patterns matches, as paths from its folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.json").write_text("{}")
    ...     matching(Path(folder), ("*.json", "*.md"))
    {'a.json'}
    """
    found = (path for pattern in patterns for path in checkout.glob(pattern) if path.is_file())
    return {path.relative_to(checkout).as_posix() for path in found}
