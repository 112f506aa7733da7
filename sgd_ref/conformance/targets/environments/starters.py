"""Workers made from a starter of ``golden/starters/``, whose marked function is replaced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sgd_ref.conformance import data_folder

BEGIN, END = "// YOURS.", "// The rest needs no change"


def path_of(starter: str) -> Path:
    """Return the path of a starter.

    >>> path_of("sgd.mjs").name
    'sgd.mjs'
    """
    return data_folder.folder() / "starters" / starter


def assembled(
    starter: str, function: str, name: str, version: str, edits: Mapping[str, str] | None = None
) -> str:
    r"""Return the text of a starter with another function, name and version.

    Parameters
    ----------
    starter : str
        The text of the starter.
    function : str
        The text that replaces the marked function.
    name, version : str
        The name and version for the handshake.
    edits : mapping of str to str, optional
        Other parts of the text, each of which occurs exactly once, with their replacements.

    Raises
    ------
    ValueError
        If a part does not occur exactly once.

    Examples
    --------
    >>> text = "a\n// YOURS. Now.\nold\n// The rest needs no change.\nmy-sgd 1.0\n"
    >>> print(assembled(text, "new\n", "theirs", "2.5").strip())
    a
    new
    // The rest needs no change.
    theirs 2.5
    """
    marked = re.escape(BEGIN) + r".*?(?=" + re.escape(END) + ")"
    parts = re.split(marked, starter, flags=re.DOTALL)
    if len(parts) != 2:
        raise ValueError(f"the starter must hold {BEGIN!r} and then {END!r} once")
    text = function.join(parts)
    for old, new in {**(edits or {}), "my-sgd": name}.items():
        if text.count(old) != 1:
            raise ValueError(f"the starter must hold {old!r} once, got {text.count(old)} times")
        text = text.replace(old, new)
    # In the handshake, the version comes after the name.
    before, behind = text.rsplit(name, 1)
    return before + name + behind.replace("1.0", version, 1)
