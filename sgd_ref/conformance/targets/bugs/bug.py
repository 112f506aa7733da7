"""One bug of a framework: what shows it, what it contradicts, its cause, and whether its project knows it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.targets.names import file_name
from sgd_ref.validation import reject_type, reject_value

NEW, KNOWN, MENDED, NOT_SEARCHED = "new", "known", "mended", "not searched"

STATES: Mapping[str, str] = {
    NEW: "the project's threads were searched, and nothing about it was found",
    KNOWN: "the project has a thread about it",
    MENDED: "a later release does not have it",
    NOT_SEARCHED: "the project's threads could not be searched",
}
"""What is known of a bug in the tracker of its project."""

KEYS = ("project", "contradiction", "targets", "title", "says", "source", "cause", "requirements")
OPTIONAL_KEYS = ("note",)
SEARCH_KEYS = ("state", "queries", "threads", "mended_in")
CHECKED_KEYS = ("versions", "printed")


@dataclass(frozen=True)
class Bug:
    """A bug that can be reported.

    Attributes
    ----------
    project : str
        The repository on GitHub, as ``owner/name``.
    contradiction : str
        Its name, that of a known deviation where there is one.
    targets : tuple of str
        The targets of the kit that have it, first the one that the script runs; none if it is no target.
    title : str
        That of the report.
    says : str
        The sentence of the documentation, quoted or in other words.
    source : str
        The address of the sentence.
    cause : str
        The file and function, and what is wrong there; empty where it is not known.
    requirements : tuple of str
        What is installed for the script.
    script : str
        About ten lines, which print what is expected and what is there, and raise AssertionError where
        these differ.
    state : str
        A key of `STATES`.
    queries : tuple of str
        What the project's threads were searched for.
    threads : tuple of str
        Addresses of the project's threads about it, or near it.
    mended_in : str
        The first release without it; empty if none is known.
    versions : mapping of str to str
        With what the script was run.
    printed : str
        What it printed.
    note : str
        What else the reader of the report should know.
    """

    project: str
    contradiction: str
    targets: tuple[str, ...]
    title: str
    says: str
    source: str
    cause: str
    requirements: tuple[str, ...]
    script: str
    state: str
    queries: tuple[str, ...]
    threads: tuple[str, ...]
    mended_in: str
    versions: Mapping[str, str]
    printed: str
    note: str = ""

    @property
    def word(self) -> str:
        """What it is asked for by on the command line: the family of its target, or its project's name.

        >>> bug("keras jax eager", "restart-missed").word
        'keras'
        """
        return self.targets[0].partition(" ")[0] if self.targets else self.project.partition("/")[2]

    @property
    def name(self) -> str:
        """The name of its files, without an ending."""
        return f"{file_name(self.targets[0] if self.targets else self.word)}-{self.contradiction}"


def folder() -> Path:
    """Return the folder of the bugs.

    >>> folder().parts[-2:]
    ('targets', 'reports')
    """
    return data_folder.folder() / "targets" / "reports"


def bugs(place: Path | None = None) -> list[Bug]:
    """Return all bugs, by the names of their files.

    Parameters
    ----------
    place : Path, optional
        Where they lie; by default `folder`.

    Raises
    ------
    ValueError
        If a file is malformed.
    """
    return [read(path) for path in sorted((place or folder()).glob("*.toml"))]


def bug(target: str, contradiction: str) -> Bug | None:
    """Return the bug of a target, or of a project that is none, by the name of the contradiction.

    >>> bug("keras jax eager", "no such") is None
    True
    """
    for one in bugs():
        if one.contradiction == contradiction and target in (*one.targets, one.word):
            return one
    return None


def read(path: Path) -> Bug:
    """Return the bug of a file, and of the script beside it.

    Raises
    ------
    ValueError
        If the file is malformed; the message says where.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        _check_keys("the file", document, (*KEYS, "search", "checked"), OPTIONAL_KEYS)
        _check_keys("search", document["search"], SEARCH_KEYS)
        _check_keys("checked", document["checked"], CHECKED_KEYS)
        search, checked = document["search"], document["checked"]
        state = search["state"]
        if state not in STATES:
            reject_value("search.state", state, f"one of {', '.join(STATES)}")
        return Bug(
            **{key: _plain(document[key]) for key in KEYS},
            script=path.with_suffix(".py").read_text(encoding="utf-8"),
            state=state,
            queries=tuple(search["queries"]),
            threads=tuple(search["threads"]),
            mended_in=search["mended_in"],
            versions=dict(checked["versions"]),
            printed=checked["printed"],
            note=document.get("note", ""),
        )
    except (OSError, TypeError, ValueError) as problem:
        raise ValueError(f"{path} holds no bug: {problem}") from problem


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_keys(name: str, document: Any, keys: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    if not isinstance(document, dict):
        reject_type(name, document, "a table")
    if set(document) - set(optional) != set(keys):
        reject_value(f"the keys of {name}", sorted(document), str(sorted(keys)))
