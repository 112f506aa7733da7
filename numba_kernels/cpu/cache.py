"""A cache of compiled kernels on disk: never stale, for read-only installations and concurrent processes.

Numba's own cache watches only the file in which a function is written. A kernel here is made of several
files. So the name of the cache's folder depends on the contents of all of them, the versions of the compiler,
and the processor with its features. A change of any of these leads to another folder. A folder holds one
signature of each kernel, so that two processes that write a file at once write the same content.
"""

from __future__ import annotations

import functools
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator

from numba_kernels.cpu import target
from numba_kernels.shared.kept_code import base_folder, fingerprint_of, modules_of, sealed, unsealed

PACKAGE = Path(__file__).parents[1]


def sources() -> list[str]:
    """Return the paths, within the package, of all modules that kernels may be compiled from.

    >>> "cpu/kernels.py" in sources() and "shared/operations.py" in sources()
    True
    """
    return modules_of(PACKAGE, ("cpu", "shared"))


@functools.cache
def fingerprint() -> str:
    """Return a short hash of everything that compiled kernels depend on."""
    chosen = target.target()
    others = (numba.__version__, llvmlite.__version__, sys.version, chosen.name, chosen.features)
    return fingerprint_of(PACKAGE, sources(), others)


# Computed during the import, while the sources are the imported ones: a process may outlive the installation,
# and must not store its kernels under the hash of the next installation.
fingerprint()


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


class _CheckedFile(IndexDataCacheFile):  # type: ignore[misc]
    """One kernel in one file, with a checksum: damaged machine code would crash the process."""

    def load(self, key: Any) -> Any:
        pickled = unsealed(Path(self._index_path).read_bytes())
        if pickled is None:
            return None
        # Whoever can write into the user's cache folder can do harm in any case.
        stored_key, data = pickle.loads(pickled)  # noqa: S301
        return data if stored_key == key else None

    def save(self, key: Any, data: Any) -> None:
        pickled = self._dump((key, data))
        with self._open_for_write(self._index_path) as file:
            file.write(sealed(pickled))


class _KernelCache(FunctionCache):  # type: ignore[misc]
    _impl_class = _Implementation

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _CheckedFile(self.cache_path, self._impl.filename_base, fingerprint())

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        # Numba hashes the variables of a closure, and the hashes of helper functions differ between
        # processes.
        return signature, codegen.magic_tuple()

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(signature, target_context)
        # There is no file yet, or it cannot be read.
        except OSError:
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        try:
            super().save_overload(signature, data)
        except OSError:
            # A kernel that cannot be stored still works; the next process compiles it again.
            return


def kernel(name: str, signature: str, *, releases_lock: bool = True) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a function for one signature, or takes it from the cache.

    Parameters
    ----------
    name : str
        Unique among the kernels of this package.
    signature : str
        The types of the kernel, such as ``"void(int64[:, ::1], int64)"``.
    releases_lock : bool, default True
        Whether the kernel releases the global lock; one that calls functions of Python's must not.

    Returns
    -------
    callable
        The decorator, which returns the compiled function. This is not compiled for other types. The
        decorator raises a RuntimeError if Numba is set to a processor for which nothing can be compiled.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        target.check()
        function.__qualname__ = name
        # Division by zero gives infinity as in IEEE 754, without a branch that would prevent the
        # vectorisation of a loop; no operations may be reordered or fused.
        dispatcher = numba.njit(error_model="numpy", nogil=releases_lock, fastmath=False)(function)
        dispatcher._cache = _KernelCache(dispatcher.py_func)
        dispatcher.compile(signature)
        dispatcher.disable_compile()
        return dispatcher

    return compiled


def entry(compiled: Any) -> Callable[..., Any]:
    """Return the machine code of a kernel as a function that does not look at the types of its arguments.

    Numba finds the signature for the arguments in each call, which takes a third of the 0.4 microseconds of
    a call with seven arguments. Arguments of other types than those of the signature would be misread.

    Parameters
    ----------
    compiled : kernel
        The result of `kernel`, which must live as long as the function.
    """
    (overload,) = compiled.overloads.values()
    function: Callable[..., Any] = overload.entry_point
    return function
