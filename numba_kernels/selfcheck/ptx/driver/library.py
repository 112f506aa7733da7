"""The library ``libcuda.so.1``: compiled here, and loaded so that CUDA's bindings find it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numba_kernels.selfcheck.ptx.driver.errors import CouldNotLoad

SOURCE = Path(__file__).with_name("libcuda.c")

SONAME = "libcuda.so.1"

NOT_FOUND = 500

_kept: list[Any] = []
"""The objects that must live as long as the library: callbacks, and the library itself."""


def why_no_compiler() -> str | None:
    """Return the reason why the library cannot be compiled here; None if it can."""
    return None if shutil.which("gcc") else "gcc is not on the path, so there is no driver to launch with"


def load(functions: Mapping[str, Any]) -> None:
    """Compile the library and load it permanently into this process.

    Parameters
    ----------
    functions : mapping of str to object
        Functions of ctypes, by their names without a version. The library has no other functions.

    Raises
    ------
    CouldNotLoad
        If there is no compiler, or a driver is loaded already.
    """
    reason = why_no_compiler()
    if reason is not None:
        raise CouldNotLoad(reason)
    if _kept:
        raise CouldNotLoad("the driver was loaded before in this process")
    _require_no_driver()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, SONAME)
        options = ["-shared", "-fPIC", f"-Wl,-soname,{SONAME}", "-o", str(path), str(SOURCE)]
        # The command is fixed, and the source lies beside this file.
        done = subprocess.run(["gcc", *options], capture_output=True, text=True, check=False)  # noqa: S603, S607
        if done.returncode:
            raise CouldNotLoad(f"gcc failed with exit status {done.returncode}: {done.stderr.strip()}")
        library = ctypes.CDLL(str(path), os.RTLD_GLOBAL | os.RTLD_NOW)
    resolver = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p))(
        _resolver(functions)
    )
    library.sgd_ref_answer_with(resolver)
    _kept.extend((library, resolver, dict(functions)))


def _require_no_driver() -> None:
    try:
        ctypes.CDLL(SONAME, os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return
    raise CouldNotLoad("the driver of a device is loaded in this process")


def _resolver(functions: Mapping[str, Any]) -> Callable[[bytes, Any], int]:
    def resolve(symbol: bytes, place: Any) -> int:
        function = functions.get(symbol.decode())
        place[0] = ctypes.cast(function, ctypes.c_void_p).value if function is not None else None
        return NOT_FOUND if function is None else 0

    return resolve
