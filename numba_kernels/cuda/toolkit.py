"""The package that compiles and launches for CUDA: numba-cuda, which only this module and `keeping` know.

A successor of numba-cuda may have other names for the same few functions. Then only these two have to change.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, cast

from numba_kernels.cuda.keeping import keep
from numba_kernels.shared.inlining import inlined
from sgd_ref.base.installing import how_to_install

REMEDY = f"install it with: {how_to_install('cuda')}"

if importlib.util.find_spec("numba_cuda") is None:
    # Numba itself still ships an older version, with which the machine code was not checked.
    raise ImportError(f"numba_kernels.cuda needs the package numba-cuda; {REMEDY}", name="numba_cuda")

# The package replaces the module that Numba ships.
cuda: Any = importlib.import_module("numba.cuda")
types: Any = cuda.types
intrinsic: Any = importlib.import_module("numba.cuda.extending").intrinsic
overload: Any = importlib.import_module("numba.cuda.extending").overload

IS_SIMULATED = bool(cuda.config.ENABLE_CUDASIM)
"""Whether kernels run as Python on the host, since NUMBA_ENABLE_CUDASIM was set before the import."""

# The simulator has none of the library's functions, and its kernels add and multiply in Python.
libdevice: Any = None if IS_SIMULATED else importlib.import_module("numba.cuda.libdevice")


@inlined
def _wait_for_block() -> None:
    cuda.syncthreads()


def _wait_for_simulated_block() -> None:
    # The simulator replaces the module of CUDA only in the file of a kernel.
    threading.current_thread().syncthreads()  # type: ignore[attr-defined]


wait_for_block = _wait_for_simulated_block if IS_SIMULATED else _wait_for_block
"""Wait until all threads of the block have arrived here; for functions that kernels of several files
share."""

__all__ = [
    "IS_SIMULATED",
    "Kernel",
    "cuda",
    "intrinsic",
    "kernel",
    "libdevice",
    "on_device",
    "overload",
    "types",
    "wait_for_block",
    "without_frees",
]


def _without_warnings() -> AbstractContextManager[None]:
    """Silence what NumPy says of infinities and NaNs in the threads of the simulator."""
    if not IS_SIMULATED:
        return nullcontext()
    silent = warnings.catch_warnings(action="ignore", category=RuntimeWarning)
    return cast("AbstractContextManager[None]", silent)


def on_device(number: int) -> AbstractContextManager[Any]:
    """Return a context in which memory is allocated, and kernels are launched, on one device."""
    # Only arrays without elements have the device -1, and nothing is launched for them.
    return nullcontext() if IS_SIMULATED or number < 0 else cuda.gpus[number]


def without_frees(is_captured: bool) -> AbstractContextManager[Any]:
    """Return a context in which Numba frees no memory on the device while a graph is captured.

    Numba collects memory to be freed, and frees it when there is much of it. This may happen at any time,
    since Python's garbage collector runs at any time. During a capture, it would invalidate the capture.
    """
    return cast("AbstractContextManager[Any]", cuda.defer_cleanup()) if is_captured else nullcontext()


_lock = threading.Lock()


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep Numba from warning of a grid with few blocks, which some launches have on purpose.

    This uses Numba's own switch: a warning filter would apply to all warnings of all threads.
    """
    with _lock:
        before = cuda.config.CUDA_LOW_OCCUPANCY_WARNINGS
        cuda.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0
        try:
            yield
        finally:
            cuda.config.CUDA_LOW_OCCUPANCY_WARNINGS = before


def _configured(dispatcher: Any, blocks: int, threads: int, stream: Any) -> Callable[..., None]:
    """Return the object that launches a kernel with a grid on a stream."""
    with _without_advice():
        return cast("Callable[..., None]", dispatcher[blocks, threads, stream])


_kept_configured = functools.lru_cache(maxsize=4096)(_configured)
"""The same with a cache: Numba itself keeps only 128 of these objects for all kernels together."""


class Kernel(NamedTuple):
    """One kernel, compiled or taken from the disk when it is first launched.

    Attributes
    ----------
    name : str
        Unique among the kernels of this package.
    function : callable
        The Python function. All its parameters are int64: addresses in device memory, or numbers.
    dispatcher : object
        The object that compiles and launches it.
    """

    name: str
    function: Callable[..., None]
    dispatcher: Any

    def launch(self, blocks: int, threads: int, stream: Any, *arguments: int) -> None:
        """Launch the kernel on a stream, with integer arguments, without waiting for it."""
        # A dispatcher of the simulator stores a single configuration in itself.
        configured = _configured if IS_SIMULATED else _kept_configured
        with _without_warnings():
            configured(self.dispatcher, blocks, threads, stream)(*arguments)


def kernel(name: str) -> Callable[[Callable[..., None]], Kernel]:
    """Return a decorator that makes a kernel from a function whose parameters are all int64."""

    def made(function: Callable[..., None]) -> Kernel:
        function.__qualname__ = name
        dispatcher = cuda.jit(function)
        if not IS_SIMULATED:
            keep(name, dispatcher)
        return Kernel(name, function, dispatcher)

    return made


def signature_of(function: Callable[..., None]) -> Any:
    """Return the types of the parameters of a kernel."""
    return types.void(*[types.int64] * function.__code__.co_argcount)
