"""Whether the extras that a recipe needs are installed, in the versions for which its data hold."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sgd_ref.base.installing import how_to_install

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^\]]*\])?\s*(?:==\s*(?P<exact>[\w.*+!-]+))?")


def missing(checkout: Path, extras: Sequence[str]) -> str | None:
    """Return the requirements of some extras that this environment lacks; None if it lacks none.

    Only exactly pinned versions are compared; otherwise any version is accepted.

    Parameters
    ----------
    checkout : Path
        The folder with ``pyproject.toml``.
    extras : sequence of str
        Names under ``[project.optional-dependencies]``.

    Raises
    ------
    KeyError
        If there is no such extra.
    """
    if not extras:
        return None
    declared = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    optional = declared["project"]["optional-dependencies"]
    problems = list(_problems([line for extra in extras for line in optional[extra]]))
    if not problems:
        return None
    return f"{'; '.join(problems)}; install it with: {how_to_install(*extras)}"


def _problems(lines: Sequence[str]) -> Iterator[str]:
    for line in dict.fromkeys(lines):
        requirement = REQUIREMENT.match(line)
        if requirement is None:
            raise ValueError(f"a requirement must begin with a name, got {line!r}")
        name, exact = requirement["name"], requirement["exact"]
        try:
            installed = version(name)
        except PackageNotFoundError:
            yield f"{name} is not installed"
            continue
        if exact is not None and not _is(installed, exact):
            yield f"{name} must be {exact}, got {installed}"


def _is(installed: str, exact: str) -> bool:
    """Whether a version satisfies ``==``; builds of one version, such as ``+cpu``, count as the same.

    >>> _is("2.13.0+cpu", "2.13.0"), _is("13.0.3", "13.0.*"), _is("13.10", "13.1.*")
    (True, True, False)
    """
    public = installed.partition("+")[0]
    return f"{public}.".startswith(exact.removesuffix("*")) if exact.endswith(".*") else public == exact
