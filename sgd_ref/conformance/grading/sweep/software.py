"""The software that a result depends on: versions, and a fingerprint of the code itself."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sgd_ref.definition import DEFINITION_VERSION

REFERENCE = ("sgd_ref",)
KERNELS = ("sgd_ref", "numba_kernels")
"""The packages whose code decides results: of the kit alone, and of the kernels, too."""

COMPUTES_WITH: Mapping[str, tuple[str, ...]] = {
    "sgd_ref": ("numpy", "scipy", "ml_dtypes"),
    "numba_kernels": ("numba", "llvmlite"),
}
"""For each package, the distributions whose versions decide its results."""


def software(packages: tuple[str, ...] = REFERENCE) -> dict[str, str]:
    """Return the versions and fingerprints of this process, by name.

    Two processes with the same answer compute the same results.

    Parameters
    ----------
    packages : tuple of str
        `REFERENCE` or `KERNELS`.

    Examples
    --------
    >>> list(software())
    ['Python', 'definition', 'code of sgd_ref', 'numpy', 'scipy', 'ml_dtypes']
    """
    found = {"Python": platform.python_version(), "definition": DEFINITION_VERSION}
    for package in packages:
        found[f"code of {package}"] = fingerprint(package)
        found |= {name: _version(name) for name in COMPUTES_WITH[package]}
    return found


def differences(expected: Mapping[str, object], found: Mapping[str, object]) -> str:
    """Return in words what two mappings differ in; empty if they are equal.

    >>> differences({"numpy": "2.4.6", "scipy": "1.16"}, {"numpy": "2.3.0", "scipy": "1.16"})
    'numpy is 2.3.0 instead of 2.4.6'
    """
    return ", ".join(
        f"{name} is {_shown(found, name)} instead of {_shown(expected, name)}"
        for name in {**expected, **found}
        if name not in expected or name not in found or expected[name] != found[name]
    )


@cache
def fingerprint(package: str) -> str:
    """Return the beginning of a hash of all modules and data of an installed package, without golden data.

    The version of a package that is being worked on does not change, but its code does.

    >>> len(fingerprint("sgd_ref"))
    16
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return "not installed"
    folder = Path(next(iter(found.submodule_search_locations)))
    total = hashlib.sha256()
    for path in sorted(_files(folder)):
        content = path.read_bytes()
        total.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        # Golden data, which a wheel has in the package, lies in folders without code.
        if (path / "__init__.py").exists():
            yield from _files(path)
        elif path.suffix in (".py", ".json"):
            yield path


def _shown(values: Mapping[str, object], name: str) -> str:
    return str(values[name]) if name in values else "missing"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
