"""How Numba's dispatchers take machine code from the cache on disk, and put it there.

Numba's own cache watches only the file in which a kernel is written, and unpickles what it finds. Here a file
holds machine code alone. Like `toolkit`, this module knows numba-cuda.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from pathlib import Path
from typing import Any

from numba_kernels.cuda import cache
from numba_kernels.cuda.cache import MachineCode

COMPILERS = ("numba", "numba-cuda", "llvmlite", "cuda-core", "cuda-bindings")
"""The packages that turn Python into machine code, beside the libraries of the CUDA toolkit."""

UNKEPT = ("debug", "lineinfo", "link")
"""Options with which a kernel needs more than its machine code, or depends on other files."""


def keep(name: str, dispatcher: Any) -> None:
    """Let a dispatcher look for the machine code of its kernel on disk before it compiles.

    Parameters
    ----------
    name : str
        The name of the kernel, unique in this package.
    dispatcher : object
        What ``cuda.jit`` returned, for a kernel whose parameters are numbers.
    """
    if not any(map(dispatcher.targetoptions.get, UNKEPT)):
        dispatcher._cache = _KernelCache(name, dispatcher)


class _KernelCache:
    """The methods of Numba's caches that a dispatcher calls, with machine code in the place of pickles."""

    def __init__(self, name: str, dispatcher: Any) -> None:
        self._name, self._dispatcher = name, dispatcher

    @property
    def cache_path(self) -> str:
        return str(cache.folder(self._compilers()))

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        capability = _capability_here()
        found = self._load(capability)
        return None if found is None else _kernel(found, capability, signature, self, target_context)

    def save_overload(self, signature: Any, kernel: Any) -> None:
        self.save(kernel, _capability_here())

    def save(self, kernel: Any, capability: Any) -> Any:
        """Store the machine code of a compiled kernel, and return it as the driver's loader takes it."""
        built = kernel.library.get_cubin(capability)
        found = MachineCode(kernel.entry_name, bytes(built.code))
        cache.save(self._name, _architecture(capability), self._compilers(), found)
        return built

    def code_for(self, capability: Any, argument_types: Any) -> tuple[str, Any]:
        """Return symbol and machine code for another kind of device, from disk or compiled."""
        found = self._load(capability)
        if found is not None:
            return found.entry, _loadable(found.code)
        dispatcher = importlib.import_module("numba.cuda.dispatcher")
        compiled = dispatcher._Kernel(
            self._dispatcher.py_func, argument_types, **self._dispatcher.targetoptions
        )
        return compiled.entry_name, self.save(compiled, capability)

    def enable(self) -> None:
        return

    disable = flush = enable

    def _load(self, capability: Any) -> MachineCode | None:
        return cache.load(self._name, _architecture(capability), self._compilers())

    def _compilers(self) -> tuple[str, ...]:
        return *_versions(), repr(sorted(self._dispatcher.targetoptions.items()))


@functools.cache
def _versions() -> tuple[str, ...]:
    """Return the versions of the compilers, and which files of the CUDA toolkit are used.

    The toolkit need not be a package with a version, so its files are told apart by size and time.
    """
    paths = importlib.import_module("numba.cuda.cuda_paths").get_cuda_paths()
    linker = importlib.import_module("cuda.pathfinder").load_nvidia_dynamic_lib("nvJitLink").abs_path
    files = [paths["nvvm"].info, paths["libdevice"].info, linker]
    driver = importlib.import_module("numba.cuda.cudadrv.driver").get_version()
    packages = [f"{package} {importlib.metadata.version(package)}" for package in COMPILERS]
    return *packages, *map(_file, files), f"driver {driver}"


def _file(path: str | None) -> str:
    if path is None or not Path(path).is_file():
        return f"{path}"
    status = Path(path).stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"


def _capability_here() -> Any:
    """Return the capability of the current device, as the linker takes it."""
    major, minor = importlib.import_module("numba.cuda").get_current_device().compute_capability
    return major, minor, "a" if (major, minor) >= (9, 0) else ""


def _architecture(capability: Any) -> str:
    major, minor, suffix = capability
    return f"sm_{major}{minor}{suffix}"


def _loadable(code: bytes) -> Any:
    return importlib.import_module("cuda.core").ObjectCode.from_cubin(code)


def _kernel(found: MachineCode, capability: Any, signature: Any, kept: _KernelCache, context: Any) -> Any:
    """Return the object that Numba launches, made of machine code."""
    dispatcher = importlib.import_module("numba.cuda.dispatcher")
    arguments, _ = dispatcher.sigutils.normalize_signature(signature)
    library = _library_class()(context.codegen(), found.entry, entry_name=found.entry, lto=True)
    library.found = {capability: (found.entry, _loadable(found.code))}
    library.code_for = lambda other: kept.code_for(other, arguments)
    library._finalized = True
    return dispatcher._Kernel._rebuild(
        cooperative=False,
        name=found.entry,
        signature=dispatcher.types.void(*arguments),
        codelibrary=library,
        debug=False,
        lineinfo=False,
        call_helper=None,
        extensions=[],
    )


@functools.cache
def _library_class() -> Any:
    codegen = importlib.import_module("numba.cuda.codegen")

    class Loaded(codegen.CUDACodeLibrary):  # type: ignore[misc, name-defined]
        """A library without sources: it has code for one kind of device, and asks for that of others."""

        found: dict[Any, tuple[str, Any]]
        code_for: Any

        def get_cubin(self, cc: Any = None) -> Any:
            capability = self._ensure_cc(cc)
            if capability not in self.found:
                self.found[capability] = self.code_for(capability)
            # Where it was compiled anew, the symbol has another number.
            self._entry_name, code = self.found[capability]
            return code

    return Loaded
