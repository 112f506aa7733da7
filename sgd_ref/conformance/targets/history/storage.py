"""The file ``history.json`` of a target: the outcomes of its contradictions in several releases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.protocol.encoding import from_line
from sgd_ref.conformance.protocol.layout import laid_out, write_at_once
from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.releases import parts
from sgd_ref.conformance.targets.names import file_name

FILE = "history.json"

FORMAT = 1

LEVELS = 5
"""The number of levels of the file that have one item per line."""


@dataclass(frozen=True)
class Asked:
    """One release, and the outcome of each contradiction in it.

    Attributes
    ----------
    release : str
        The version that was installed, or could not be installed.
    versions : mapping of str to str
        The versions of Python and the packages; empty if the release could not be installed.
    outcomes : mapping of str to Outcome
        The outcomes, by the names of the contradictions.
    obstacle : str
        The reason why the release could not be installed or imported; empty if it could.
    """

    release: str
    versions: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    obstacle: str = ""


def path_of(target: str) -> Path:
    """Return the path of the history of a target.

    >>> path_of("keras jax eager").parts[-3:]
    ('targets', 'keras-jax-eager', 'history.json')
    """
    return data_folder.folder() / "targets" / file_name(target) / FILE


def kept(target: str) -> list[Asked]:
    """Return the history of a target, the oldest release first; empty if there is none.

    Raises
    ------
    ValueError
        If the file is malformed.
    """
    path = path_of(target)
    return read(path, target) if path.exists() else []


def read(path: Path, target: str) -> list[Asked]:
    """Return the releases in a file, the oldest first.

    Raises
    ------
    ValueError
        If the file is not what `write` writes for the target.
    """
    try:
        document = from_line(path.read_bytes())
        if (document["format"], document["target"]) != (FORMAT, target):
            raise ValueError(f"format {FORMAT} of {target!r} is read here")
        return [_asked(entry) for entry in document["releases"]]
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        raise ValueError(f"{path} holds no history: {problem}") from problem


def write(target: str, releases: list[Asked], path: Path | None = None) -> None:
    """Write the history of a target. After an error, the file is as it was before.

    Parameters
    ----------
    target : str
        The name of the target.
    releases : list of Asked
        The releases, in any order, each only once.
    path : Path, optional
        The file to write; by default the path that `path_of` gives.
    """
    path = path_of(target) if path is None else path
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = sorted(releases, key=lambda one: parts(one.release))
    text = laid_out(
        {"format": FORMAT, "target": target, "releases": [_to_json(one) for one in ordered]}, LEVELS
    )
    write_at_once(path, text)
    # The file is published, so everybody must be able to read it.
    path.chmod(0o644)


def _asked(entry: dict[str, Any]) -> Asked:
    outcomes = {name: Outcome(**told) for name, told in entry["outcomes"].items()}
    return Asked(entry["release"], dict(entry["versions"]), outcomes, entry["obstacle"])


def _to_json(one: Asked) -> dict[str, Any]:
    outcomes = {
        name: {"name": outcome.name, "detail": outcome.detail}
        for name, outcome in sorted(one.outcomes.items())
    }
    return {
        "release": one.release,
        "versions": dict(one.versions),
        "outcomes": outcomes,
        "obstacle": one.obstacle,
    }
