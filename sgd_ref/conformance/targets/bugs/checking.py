"""Running the scripts of bugs with nothing but their framework installed, and keeping their output."""

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
"""The number of levels of the file that have one item per line."""

DIFFERS = "differs"
"""How a script ends if it shows its bug."""

Run = Callable[[Mapping[str, str]], dict[str, Any]]
"""A function from scripts, by name, to the answers of ``history/several.py``."""


@dataclass(frozen=True)
class Checked:
    """The result of running the script of a bug.

    Attributes
    ----------
    ended : str
        "differs" if it shows the bug, "equal" if it does not, "fails" if it could not be run.
    printed : str
        The output of the script, with the error if it failed.
    versions : mapping of str to str
        The versions of Python and the packages.
    """

    ended: str
    printed: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def shows_the_bug(self) -> bool:
        """Whether the script found another value than the expected one."""
        return self.ended == DIFFERS


def checked(chosen: Iterable[Bug], run: Run) -> dict[str, Checked]:
    """Run the scripts of some bugs, and return the results by the names of the bugs.

    Parameters
    ----------
    chosen : iterable of Bug
        The bugs of one release.
    run : callable
        The function that runs scripts with the release.
    """
    told = run({one.name: one.script for one in chosen})
    return {
        name: Checked(answer["ended"], _printed(answer), dict(told["versions"]))
        for name, answer in told["answers"].items()
    }


def kept(place: Path | None = None) -> dict[str, Checked]:
    """Return the kept results, by the names of the bugs; empty if there are none.

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
    """Add results to the file, without changing the results for other bugs."""
    everything = {**kept(place), **new}
    entries = {
        name: {"ended": one.ended, "printed": one.printed, "versions": dict(one.versions)}
        for name, one in sorted(everything.items())
    }
    path = (place or folder()) / FILE
    path.write_bytes(laid_out({"format": FORMAT, "checked": entries}, LEVELS))


def _printed(answer: Mapping[str, str]) -> str:
    return "\n".join(filter(None, (answer["said"].strip(), answer["error"].strip())))
