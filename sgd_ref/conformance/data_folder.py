"""The folder of the published data: golden data, findings about targets, and the kit's audit of itself."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]

INDEX_PATH = "index.json"


def folder() -> Path:
    """Return the folder of the published data: inside the package in a wheel, beside it in a checkout.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Examples
    --------
    >>> (folder() / "first.json").is_file()
    True
    """
    checkout = PACKAGE.parent
    candidates = [PACKAGE / "golden"]
    # In an environment, a folder of this name beside the package may be another project's.
    if (checkout / "pyproject.toml").is_file():
        candidates.append(checkout / "golden")
    for candidate in candidates:
        if (candidate / INDEX_PATH).is_file():
            return candidate
    raise FileNotFoundError(f"there is no published data in {' or '.join(map(str, candidates))}")
