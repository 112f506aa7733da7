"""The files of the golden data, and the entries in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sgd_ref.conformance.data_folder import INDEX_PATH
from sgd_ref.conformance.protocol.encoding import Json

FIRST_PATH = "first.json"
SCHEMA_FOLDER = "schema/"
BESIDE = ("audit", "consumers", "starters", "targets")
"""Folders beside the golden data, which hold none of it."""


class Place(NamedTuple):
    """An entry and the file that it is in."""

    path: str
    kind: str
    tier: str
    entry: Json


def data_files(of: Path) -> list[str]:
    """Return the paths of all files of a folder that are, or look like, golden data."""
    found = (place.relative_to(of) for place in of.rglob("*.json"))
    return sorted(path.as_posix() for path in found if path.parts[0] not in BESIDE)


def places(of: Path) -> Iterator[Place]:
    """Yield every entry of the golden data in a folder, in the order of the index.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If a file differs from its entry in the index, or is not inside the folder.
    """
    try:
        index = json.loads((of / INDEX_PATH).read_bytes())
        for file in index["files"]:
            if not file["path"].startswith(SCHEMA_FOLDER):
                content = json.loads(inside(of, file["path"]).read_bytes())
                for entry in content["entries"]:
                    yield Place(file["path"], file["kind"], file["tier"], entry)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{of} holds no golden data: {type(error).__name__}: {error}") from error


def inside(of: Path, path: str) -> Path:
    """Return the location of a path in an index, which may be untrusted.

    Raises
    ------
    ValueError
        If the path leads out of the folder.

    Examples
    --------
    >>> inside(Path("golden"), "stages/average.json").as_posix()
    'golden/stages/average.json'
    """
    place = of / path
    if not place.resolve().is_relative_to(of.resolve()):
        raise ValueError(f"the index of {of} must list files inside the folder, got {path!r}")
    return place


def id_of(entry: Json) -> str:
    """Return the id of an entry of any kind.

    >>> id_of({"case": {"id": "first/plain"}}), id_of({"id": "schedule/a"})
    ('first/plain', 'schedule/a')
    """
    return str(entry["case"]["id"] if "case" in entry else entry["id"])
