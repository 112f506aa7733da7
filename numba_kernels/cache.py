"""Compiled kernels on disk: never stale, on read-only installations, in many processes at once.

Numba's own cache watches the one file in which a function is written. A kernel here is made of several
files, so what is kept is filed under the contents of all of them, the versions of the compiler and the
processor with its features: whatever changes leads to another folder. A folder holds one signature of each
kernel, so that two processes that write it at once write the same.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import binding
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.misc.appdirs import AppDirs

PACKAGE = Path(__file__).parent

UNREADABLE = (OSError, EOFError, pickle.UnpicklingError, ValueError, KeyError, AttributeError, ImportError)
"""What a file that is damaged, or was written by somebody else's Numba, raises when it is read."""


def base_folder() -> Path:
    """Return the folder for compiled kernels: ``NUMBA_CACHE_DIR``, or the user's folder for caches."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    return Path(chosen) if chosen else Path(AppDirs(appname="sgd-ref", appauthor=False).user_cache_dir)


@functools.cache
def fingerprint() -> str:
    """Return what compiled kernels depend on, as a short hash."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    features = binding.get_host_cpu_features().flatten()
    settings = {name: value for name, value in sorted(os.environ.items()) if name.startswith("NUMBA_CPU")}
    for part in (numba.__version__, llvmlite.__version__, sys.version, binding.get_host_cpu_name(), features):
        digest.update(part.encode() + b"\0")
    digest.update(repr(settings).encode())
    return digest.hexdigest()[:20]


def folder() -> Path:
    """Return the folder of the kernels that this process can use."""
    return base_folder() / f"kernels-{fingerprint()}"


class _Locator(_CacheLocator):  # type: ignore[misc]
    def get_cache_path(self) -> str:
        return str(folder())

    def get_source_stamp(self) -> str:
        return fingerprint()

    def get_disambiguator(self) -> str:
        return "kernel"

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator:
        return cls()


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _KernelCache(FunctionCache):  # type: ignore[misc]
    _impl_class = _Implementation

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        # Numba hashes the variables of a closure, and helper functions hash differently in every process.
        return signature, codegen.magic_tuple()

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(signature, target_context)
        except UNREADABLE:
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        try:
            super().save_overload(signature, data)
        except UNREADABLE:
            # A kernel that cannot be kept still works; the next process compiles it again.
            return


def kernel(name: str, signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function for one signature, or takes it from the cache.

    Parameters
    ----------
    name : str
        Unique among the kernels of this package.
    signature : str
        Its types, as ``"void(int64[:, ::1], int64)"``.

    Returns
    -------
    callable
        Returns the compiled function. It releases the global lock, and compiles for no other types.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        function.__qualname__ = name
        # Division by zero gives infinity as in IEEE 754, and no branch that would keep a loop from being
        # vectorised; nothing may be reordered or fused.
        dispatcher = numba.njit(error_model="numpy", nogil=True, fastmath=False)(function)
        dispatcher._cache = _KernelCache(dispatcher.py_func)
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return compiled
