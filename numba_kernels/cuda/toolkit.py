"""The one place that knows which package compiles and launches for CUDA: numba-cuda.

Its successor will have other names for the same few things, and only this file to change.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, cast

from numba_kernels.shared.inlining import inlined
from sgd_ref.base.installing import how_to_install

REMEDY = f"install it with: {how_to_install('cuda')}"

if importlib.util.find_spec("numba_cuda") is None:
    # What Numba itself still ships is older, and is not what the machine code was checked with.
    raise ImportError(f"numba_kernels.cuda needs the package numba-cuda; {REMEDY}", name="numba_cuda")

# The package puts itself in the place of the module that Numba ships.
cuda: Any = importlib.import_module("numba.cuda")
types: Any = cuda.types
intrinsic: Any = importlib.import_module("numba.cuda.extending").intrinsic
overload: Any = importlib.import_module("numba.cuda.extending").overload

IS_SIMULATED = bool(cuda.config.ENABLE_CUDASIM)
"""Whether kernels run as Python on the host, since NUMBA_ENABLE_CUDASIM was set before the import."""

# The simulator has none of its functions, and its kernels add and multiply in Python.
libdevice: Any = None if IS_SIMULATED else importlib.import_module("numba.cuda.libdevice")


@inlined
def _wait_for_block() -> None:
    cuda.syncthreads()


def _wait_for_simulated_block() -> None:
    # The simulator gives the module of CUDA its meaning in the file of a kernel alone.
    threading.current_thread().syncthreads()  # type: ignore[attr-defined]


wait_for_block = _wait_for_simulated_block if IS_SIMULATED else _wait_for_block
"""Wait until all threads of the block have come here; for functions of several files' kernels."""

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
]


def _without_warnings() -> AbstractContextManager[None]:
    """Silence what NumPy says of infinities and NaNs in the threads of the simulator."""
    if not IS_SIMULATED:
        return nullcontext()
    silent = warnings.catch_warnings(action="ignore", category=RuntimeWarning)
    return cast("AbstractContextManager[None]", silent)


def on_device(number: int) -> AbstractContextManager[Any]:
    """Return a context in which memory is allocated, and kernels are launched, on one device."""
    # -1 is that of arrays without elements alone, for which nothing is launched.
    return nullcontext() if IS_SIMULATED or number < 0 else cuda.gpus[number]


class Kernel(NamedTuple):
    """One kernel, compiled when it is first launched.

    Attributes
    ----------
    name : str
        Unique among the kernels of this package.
    function : callable
        In Python. All its parameters are int64: addresses in device memory, or numbers.
    dispatcher : object
        What compiles and launches it.
    """

    name: str
    function: Callable[..., None]
    dispatcher: Any

    def launch(self, blocks: int, threads: int, stream: Any, *arguments: int) -> None:
        """Launch it on a stream, with integers; does not wait for it."""
        with _without_warnings():
            self.dispatcher[blocks, threads, stream](*arguments)


def kernel(name: str) -> Callable[[Callable[..., None]], Kernel]:
    """Return a decorator that makes a kernel of a function whose parameters are all int64."""

    def made(function: Callable[..., None]) -> Kernel:
        function.__qualname__ = name
        return Kernel(name, function, cuda.jit(function))

    return made


def signature_of(function: Callable[..., None]) -> Any:
    """Return the types of the parameters of a kernel."""
    return types.void(*[types.int64] * function.__code__.co_argcount)
