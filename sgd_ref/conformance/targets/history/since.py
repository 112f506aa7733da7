"""Since when the contradictions of several targets are there, from the kept histories."""

from __future__ import annotations

from collections.abc import Sequence

from sgd_ref.conformance.targets.history import storage
from sgd_ref.conformance.targets.history.running import by_contradiction
from sgd_ref.conformance.targets.history.spans import in_words


def since_when(targets: Sequence[str]) -> dict[str, list[str]]:
    """Return since when each contradiction is there, with a line for each target that has a history.

    Parameters
    ----------
    targets : sequence of str
        Names of targets that the kit knows. If there are several, each line begins with a name.

    Returns
    -------
    dict of str to list of str
        By the name of the contradiction.

    Raises
    ------
    ValueError
        If a file is malformed.

    Examples
    --------
    >>> since_when(["tfjs"])
    {}
    """
    said: dict[str, list[str]] = {}
    for target in targets:
        prefix = f"{target}: " if len(targets) > 1 else ""
        for name, asked in by_contradiction(storage.kept(target)).items():
            said.setdefault(name, []).append(prefix + in_words(asked))
    return said
