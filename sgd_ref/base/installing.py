"""How to install the requirements of an optional part of this distribution."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

DISTRIBUTION = "sgd-ref"
PROJECT = Path(__file__).parents[2]

EXTRA = re.compile(r"""(?:\band\s+)?extra\s*==\s*['"]([^'"]+)['"]""")
"""The part of a marker that names an extra; build tools write it last."""


def how_to_install(*extras: str) -> str:
    """Return the command that installs extras of this distribution, in one line.

    In a checkout, pip takes the extras from the checkout. Elsewhere, the command lists the requirements of
    the extras, since the package index may not have this distribution.

    Parameters
    ----------
    *extras : str
        Names under ``[project.optional-dependencies]`` in ``pyproject.toml``.

    Examples
    --------
    >>> how_to_install("keras", "torch").startswith("pip install ")
    True
    """
    if (PROJECT / "pyproject.toml").is_file():
        folder = "." if Path.cwd() == PROJECT else str(PROJECT)
        return f"pip install -e {shlex.quote(folder + '[' + ','.join(extras) + ']')}"
    requirements = list(dict.fromkeys(_requirements(extras)))
    if not requirements:
        return f"what {DISTRIBUTION} declares for {', '.join(extras)}"
    return f"pip install {shlex.join(requirements)}"


def project_url() -> str:
    """Return the address of this project; empty if the project is not installed.

    The only place where the address is written is the entry ``Repository`` of ``[project.urls]`` in
    ``pyproject.toml``.

    >>> project_url().partition(":")[0] in ("https", "")
    True
    """
    if (PROJECT / "pyproject.toml").is_file():
        declared = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
        return str(declared["project"]["urls"]["Repository"])
    try:
        lines = importlib.metadata.metadata(DISTRIBUTION).get_all("Project-URL") or []
    # The packages may lie somewhere on the path, without having been installed.
    except importlib.metadata.PackageNotFoundError:
        return ""
    return dict(str(line).split(", ", 1) for line in lines).get("Repository", "")


def _requirements(extras: Sequence[str]) -> Iterator[str]:
    """Yield the requirements of the extras, as the installed distribution declares them.

    The other conditions of a marker, such as a version of Python, stay: pip reads them on the command line,
    too.
    """
    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or []
    # The packages may lie somewhere on the path, without having been installed.
    except importlib.metadata.PackageNotFoundError:
        return
    for line in declared:
        requirement, _, marker = line.partition(";")
        extra = EXTRA.search(marker)
        if extra is not None and extra[1] in extras:
            others = EXTRA.sub("", marker).replace("'", '"').strip()
            yield f"{requirement.strip()}; {others}" if others else requirement.strip()
