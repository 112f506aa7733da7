"""Running the scripts of bugs where nothing but their framework is installed, and keeping what they print."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sgd_ref.conformance.protocol.encoding import from_line
from sgd_ref.conformance.protocol.layout import laid_out
from sgd_ref.conformance.targets.bugs.bug import Bug, folder

FILE = "checked.json"

FORMAT = 1

LEVELS = 4
"""How many levels of the file have one part a line."""

DIFFERS = "differs"
"""How a script ends that shows its bug."""

Run = Callable[[Mapping[str, str]], dict[str, Any]]
"""From scripts by name to what ``history/several.py`` answers."""


@dataclass(frozen=True)
class Checked:
    """What the script of a bug did.

    Attributes
    ----------
    ended : str
        "differs" if it shows the bug, "equal" if it does not, "fails" if it could not be run.
    printed : str
        What it printed, with the error if it failed.
    versions : mapping of str to str
        Of Python and the packages.
    """

    ended: str
    printed: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def shows_the_bug(self) -> bool:
        """Whether what is expected was not there."""
        return self.ended == DIFFERS


def checked(chosen: Iterable[Bug], run: Run) -> dict[str, Checked]:
    """Return what the scripts of some bugs do, by the names of the bugs.

    Parameters
    ----------
    chosen : iterable of Bug
        Those of one release.
    run : callable
        Runs scripts with the release.
    """
    told = run({one.name: one.script for one in chosen})
    return {
        name: Checked(answer["ended"], _printed(answer), dict(told["versions"]))
        for name, answer in told["answers"].items()
    }


def kept(place: Path | None = None) -> dict[str, Checked]:
    """Return what is kept of the bugs, by their names; perhaps nothing.

    Raises
    ------
    ValueError
        If the file is malformed.
    """
    path = (place or folder()) / FILE
    if not path.exists():
        return {}
    try:
        document = from_line(path.read_bytes())
        if document["format"] != FORMAT:
            raise ValueError(f"format {FORMAT} is read here")
        return {name: Checked(**entry) for name, entry in document["checked"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"{path} holds nothing that was checked: {problem}") from problem


def keep(new: Mapping[str, Checked], place: Path | None = None) -> None:
    """Keep what scripts did, beside what is kept of other bugs."""
    everything = {**kept(place), **new}
    entries = {
        name: {"ended": one.ended, "printed": one.printed, "versions": dict(one.versions)}
        for name, one in sorted(everything.items())
    }
    path = (place or folder()) / FILE
    path.write_bytes(laid_out({"format": FORMAT, "checked": entries}, LEVELS))


def _printed(answer: Mapping[str, str]) -> str:
    return "\n".join(filter(None, (answer["said"].strip(), answer["error"].strip())))
