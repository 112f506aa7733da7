"""The PTX of kernels, as a launch hands it to the assembler, kept in a folder so that it is built once.

The name of the folder depends on the contents of all modules that kernels are compiled from, and on the
versions of the compilers. The variable ``SGD_REF_PTX_DIR`` names another parent for these folders.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numba_kernels.selfcheck.machine_code.cuda.wheels import COMPILERS, version

if TYPE_CHECKING:
    from numba_kernels.cuda.toolkit import Kernel

PACKAGE = Path(__file__).parents[2]

FOLDERS = ("cuda", "cuda/device", "shared")

VARIABLE = "SGD_REF_PTX_DIR"


def base_folder() -> Path:
    """Return the folder of all kept texts."""
    from numba.misc.appdirs import AppDirs

    chosen = os.environ.get(VARIABLE)
    return Path(chosen) if chosen else Path(AppDirs(appname="sgd-ref", appauthor=False).user_cache_dir)


@functools.cache
def folder() -> Path:
    """Return the folder of the texts of these sources and compilers.

    Raises
    ------
    CouldNotRun
        If one of the compilers is not installed.
    """
    digest = hashlib.sha256()
    for name in FOLDERS:
        for path in sorted((PACKAGE / name).glob("*.py")):
            digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for wheel in COMPILERS:
        digest.update(f"{wheel} {version(wheel)}\0".encode())
    return base_folder() / f"ptx-{digest.hexdigest()[:20]}"


def kept(name: str) -> str | None:
    """Return the text of a kernel; None if it was not built yet."""
    path = folder() / f"{name}.ptx"
    return path.read_text(encoding="utf-8") if path.exists() else None


def keep(name: str, text: str) -> None:
    """Store the text of a kernel; other processes see the whole text or nothing."""
    folder().mkdir(parents=True, exist_ok=True)
    part = folder() / f"{name}.{os.getpid()}.part"
    part.write_text(text.replace("\0", ""), encoding="utf-8")
    part.replace(folder() / f"{name}.ptx")


def text_of(kernel: Kernel, build: Callable[[Kernel], str] | None = None) -> str:
    """Return the PTX of a kernel; it is built and kept if necessary."""
    found = kept(kernel.name)
    if found is None:
        found = (build or built)(kernel).replace("\0", "")
        keep(kernel.name, found)
    return found


def built(kernel: Any) -> str:
    """Compile a kernel to PTX, which takes seconds."""
    from numba_kernels.selfcheck.machine_code.cuda.building import ptx

    return ptx(kernel, "sm_90a")
