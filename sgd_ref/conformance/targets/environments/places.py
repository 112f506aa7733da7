"""The place of the environments of targets, and environment variables that must not reach them."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "SGD_REF_ENVIRONMENTS"
"""The environment variable that names the folder of the environments."""


def folder() -> Path:
    """Return the folder that holds the environments of the targets, and may not exist yet.

    The variable ``SGD_REF_ENVIRONMENTS`` names the folder. Without the variable, it is
    ``sgd-ref/environments`` in the cache of the user, which is ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises
    ------
    ValueError
        If the variable holds a relative path, whose meaning would depend on the working directory.
    """
    given = os.environ.get(VARIABLE)
    if given:
        if not Path(given).is_absolute():
            raise ValueError(f"{VARIABLE} must be an absolute path, got {given!r}")
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME")
    base = Path(cache) if cache and Path(cache).is_absolute() else Path.home() / ".cache"
    return base / "sgd-ref" / "environments"


LEAKING = (
    "NODE_OPTIONS",
    "NODE_PATH",
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
    "PIP_ROOT",
    "PIP_TARGET",
    "PIP_USER",
    "VIRTUAL_ENV",
    "npm_config_global",
    "npm_config_prefix",
)
"""Environment variables that lead to packages of the caller, besides those of Python."""


def clean(environment: dict[str, str]) -> dict[str, str]:
    """Return environment variables without those that lead to packages of the caller.

    >>> clean({"PATH": "/bin", "PYTHONPATH": "/mine", "PIP_TARGET": "/mine", "PIP_INDEX_URL": "https://mirror"})
    {'PATH': '/bin', 'PIP_INDEX_URL': 'https://mirror'}
    """
    return {
        name: value
        for name, value in environment.items()
        if name not in LEAKING and not name.startswith("PYTHON")
    }
