"""A bug of a framework: its script, the documentation it contradicts, its cause, and whether it is known."""

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
    NEW: "the project's threads were searched, and none that was found is about it",
    KNOWN: "the project has a thread about it",
    MENDED: "the project has mended it since",
    NOT_SEARCHED: "the project's threads could not be searched",
}
"""The states of a bug, by what is known about it in the issue tracker of its project."""

KEYS = ("project", "contradiction", "targets", "release", "title", "says", "source", "cause", "search")
SEARCH_KEYS = ("state", "queries", "threads", "mended_in")


@dataclass(frozen=True)
class Bug:
    """A bug that can be reported.

    Attributes
    ----------
    project : str
        The repository on GitHub, as ``owner/name``.
    contradiction : str
        The name of the contradiction; the name of a known deviation if there is one.
    targets : tuple of str
        The targets of the kit that have the bug. The script runs the first of them.
    release : str
        The release of the framework that the script is run with.
    title : str
        The title of the report.
    says : str
        The sentence of the documentation that the bug contradicts, quoted or paraphrased.
    source : str
        The web address of the sentence.
    cause : str
        The file and function of the bug, and the mistake there; empty if the cause is not known.
    script : str
        About ten lines. They print the expected and the actual values, and raise AssertionError if these
        differ.
    state : str
        A key of `STATES`.
    queries : tuple of str
        The queries for which the project's threads were searched.
    threads : tuple of str
        Web addresses of threads about this bug, or about similar ones.
    mended_in : str
        The first release without the bug; empty if none is known.
    """

    project: str
    contradiction: str
    targets: tuple[str, ...]
    release: str
    title: str
    says: str
    source: str
    cause: str
    script: str
    state: str
    queries: tuple[str, ...]
    threads: tuple[str, ...]
    mended_in: str

    @property
    def target(self) -> str:
        """The target that the script runs."""
        return self.targets[0]

    @property
    def name(self) -> str:
        """The name of the bug's files, without an extension."""
        return f"{file_name(self.target)}-{self.contradiction}"


def folder() -> Path:
    """Return the folder that holds the bugs.

    >>> folder().parts[-2:]
    ('targets', 'reports')
    """
    return data_folder.folder() / "targets" / "reports"


def bugs(place: Path | None = None) -> list[Bug]:
    """Return all bugs, by the names of their files.

    Parameters
    ----------
    place : Path, optional
        The folder that holds the bugs; by default `folder`.

    Raises
    ------
    ValueError
        If a file is malformed.
    """
    return [read(path) for path in sorted((place or folder()).glob("*.toml"))]


def bugs_of(target: str) -> dict[str, Bug]:
    """Return the bugs of a target, by the names of the contradictions.

    The script of a bug may run another target. If there are several bugs for one contradiction, a bug whose
    script runs this target takes precedence.

    >>> bugs_of("optax jitted")["infinity-in-running-mean"].target
    'optax eager'
    """
    found = [one for one in bugs() if target in one.targets]
    return {one.contradiction: one for one in sorted(found, key=lambda one: one.target == target)}


def read(path: Path) -> Bug:
    """Return the bug that a file and the script beside it describe.

    Raises
    ------
    ValueError
        If the file is malformed; the message says where.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        _check_keys("the file", document, KEYS)
        search = document.pop("search")
        _check_keys("search", search, SEARCH_KEYS)
        if search["state"] not in STATES:
            reject_value("search.state", search["state"], f"one of {', '.join(STATES)}")
        if not document["targets"]:
            reject_value("targets", document["targets"], "at least one target")
        texts = {**document, **search, "script": path.with_suffix(".py").read_text(encoding="utf-8")}
        one = Bug(**{key: _plain(value) for key, value in texts.items()})
        if one.name != path.stem:
            reject_value("the name of the file", path.stem, one.name)
    except (OSError, TypeError, ValueError) as problem:
        raise ValueError(f"{path} holds no bug: {problem}") from problem
    return one


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_keys(name: str, document: Any, keys: tuple[str, ...]) -> None:
    if not isinstance(document, dict):
        reject_type(name, document, "a table")
    if set(document) != set(keys):
        reject_value(f"the keys of {name}", sorted(document), str(sorted(keys)))
