"""The library ``libcuda.so.1``: compiled here, and loaded so that CUDA's bindings find it."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numba_kernels.selfcheck.ptx.driver.errors import CouldNotLoad

SOURCE = Path(__file__).with_name("libcuda.c")

SONAME = "libcuda.so.1"

HEADER = "functions.h"

NAMES_IN_C = {
    ctypes.c_int: "int",
    ctypes.c_uint: "unsigned",
    ctypes.c_ubyte: "unsigned char",
    ctypes.c_size_t: "unsigned long",
    ctypes.c_ulonglong: "unsigned long long",
    ctypes.c_void_p: "void *",
    ctypes.c_char_p: "const char *",
}
"""The types that the functions of the driver take. If ctypes has one type for two of them, so has C."""

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
        Path(folder, HEADER).write_text(_header(functions), encoding="utf-8")
        options = ["-shared", "-fPIC", f"-I{folder}", f"-Wl,-soname,{SONAME}", "-o", str(path), str(SOURCE)]
        # The command is fixed, and the source lies beside this file.
        done = subprocess.run(["gcc", *options], capture_output=True, text=True, check=False)  # noqa: S603, S607
        if done.returncode:
            raise CouldNotLoad(f"gcc failed with exit status {done.returncode}: {done.stderr.strip()}")
        library = ctypes.CDLL(str(path), os.RTLD_GLOBAL | os.RTLD_NOW)
    for name, function in functions.items():
        library.sgd_ref_implement(name.encode(), ctypes.cast(function, ctypes.c_void_p))
    # Objects of CUDA that end with the interpreter still call the driver, and no Python can answer then.
    atexit.register(library.sgd_ref_end)
    _kept.extend((library, dict(functions)))


def _header(functions: Mapping[str, Any]) -> str:
    """Return the line of each function in the library's source: its name, its parameters and their names.

    >>> print(_header({"cuInit": ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint)(lambda flags: 0)}))
    FUNCTION(cuInit, (unsigned a0), (a0))
    """
    lines = []
    for name, function in functions.items():
        kinds = [NAMES_IN_C[kind] for kind in type(function)._argtypes_]
        parameters = ", ".join(f"{kind} a{place}" for place, kind in enumerate(kinds)) or "void"
        arguments = ", ".join(f"a{place}" for place in range(len(kinds)))
        lines.append(f"FUNCTION({name}, ({parameters}), ({arguments}))")
    return "\n".join(lines)


def _require_no_driver() -> None:
    try:
        ctypes.CDLL(SONAME, os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return
    raise CouldNotLoad("the driver of a device is loaded in this process")
