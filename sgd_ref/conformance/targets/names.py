"""The name of a target in a path, and its versions in words."""

from __future__ import annotations

import re
from collections.abc import Mapping


def file_name(target: str) -> str:
    """Return the name of a target as part of a path.

    >>> file_name("keras jax eager"), file_name("mine:run")
    ('keras-jax-eager', 'mine-run')
    """
    return re.sub(r"[^\w.]+", "-", target)


def versions_text(target: str, versions: Mapping[str, str]) -> str:
    """Return the versions of a run in words, where "version" is that of the target; empty if none is known.

    >>> versions_text("keras jax eager", {"version": "3.15.1", "jax": "0.10.2"})
    'keras 3.15.1, jax 0.10.2'
    """
    itself = target.partition(" ")[0]
    return ", ".join(
        f"{itself if package == 'version' else package} {version}" for package, version in versions.items()
    )
