"""Compiled code on disk: where it lies, what it depends on, and a checksum against damage."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from numba.misc.appdirs import AppDirs

CHECKSUM_BYTES = hashlib.sha256().digest_size


def base_folder() -> Path:
    """Return the folder for compiled kernels: ``NUMBA_CACHE_DIR``, or the user's folder for caches."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    return Path(chosen) if chosen else Path(AppDirs(appname="sgd-ref", appauthor=False).user_cache_dir)


def modules_of(root: Path, folders: Iterable[str]) -> list[str]:
    """Return the paths, within a folder, of all modules in some folders there.

    >>> "shared/kept_code.py" in modules_of(Path(__file__).parents[1], ["shared"])
    True
    """
    paths = (path for folder in folders for path in (root / folder).glob("*.py"))
    return sorted(path.relative_to(root).as_posix() for path in paths)


def fingerprint_of(root: Path, modules: Iterable[str], others: Iterable[str]) -> str:
    """Return a short hash of the contents of modules, and of other texts that compiled code depends on."""
    digest = hashlib.sha256()
    for name in modules:
        digest.update(name.encode() + b"\0" + (root / name).read_bytes() + b"\0")
    for part in others:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:20]


def sealed(content: bytes) -> bytes:
    """Return a content with its checksum before it.

    >>> unsealed(sealed(b"code")), unsealed(sealed(b"code")[:-1])
    (b'code', None)
    """
    return hashlib.sha256(content).digest() + content


def unsealed(found: bytes) -> bytes | None:
    """Return the content of a sealed file; None if it is damaged."""
    checksum, content = found[:CHECKSUM_BYTES], found[CHECKSUM_BYTES:]
    return content if hashlib.sha256(content).digest() == checksum else None
