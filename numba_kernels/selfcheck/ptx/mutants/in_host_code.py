"""Mistakes in the code of the host: some that were once made, and similar ones."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.making import dense_case, random_numbers
from numba_kernels.selfcheck.ptx.checks.working import Way
from numba_kernels.selfcheck.ptx.mutants.subjects import DIVIDING, FULLEST, PLAINEST, SHAPES
from numba_kernels.shared.element import Variant
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32
from sgd_ref.conformance.catalogue.case import Case


class HostMutant(NamedTuple):
    """A mistake in the code of the host.

    Attributes
    ----------
    name : str
        The name of the mistake.
    apply : callable
        Returns a context manager within which the mistake is present.
    case : Case
        The case that shows it.
    way : Way
        The way in which the case is run.
    """

    name: str
    apply: Callable[[], Any]
    case: Case
    way: Way


def _nothing(*_: Any, **__: Any) -> None:
    """Do not wait."""


def host_mutants(extent: Extent) -> Iterator[HostMutant]:
    """Yield all mistakes in the code of the host."""
    # The imported modules need numba-cuda.
    from numba_kernels.cuda import toolkit
    from numba_kernels.cuda.arrays import allocation
    from numba_kernels.cuda.host import buffers, device_state

    def case(variant: Variant, dtype: np.dtype[Any], **settings: Any) -> Case:
        identifier = f"mutants/host/{dtype.name}/{variant.name}"
        return dense_case(identifier, variant, SHAPES, dtype, random_numbers(extent, identifier), **settings)

    plain, full = case(PLAINEST, FLOAT32), case(FULLEST, FLOAT32)
    halves = case(DIVIDING, BFLOAT16)

    def patched(target: Any, name: str, replacement: Any) -> Callable[[], Any]:
        return lambda: mock.patch.object(target, name, replacement)

    yield HostMutant(
        "arrays in bfloat16 copied as they are (B)",
        patched(allocation, "_as_buffer", lambda array: array),
        halves,
        Way(),
    )
    yield HostMutant("a warning at each new launch (C)", _with_advice, plain, Way())
    yield HostMutant(
        "a new program made while a graph is captured (D)",
        _new_program_in_capture,
        plain,
        Way("graph"),
    )
    yield HostMutant(
        "no synchronisation after a build (F)",
        patched(device_state, "wait_for_device", _nothing),
        full,
        Way("stream"),
    )
    yield HostMutant("memory freed while a graph is captured (G)", _freed_in_capture, plain, Way("graph"))
    yield HostMutant(
        "launches on the default stream",
        patched(device_state, "numba_stream", lambda handle: 0),
        full,
        Way("stream"),
    )
    yield HostMutant(
        "uploads on the default stream",
        patched(buffers, "numba_stream", lambda handle: toolkit.cuda.legacy_default_stream()),
        full,
        Way("stream"),
    )


@contextmanager
def _with_advice() -> Iterator[None]:
    from numba_kernels.cuda import toolkit

    toolkit._kept_configured.cache_clear()
    with mock.patch.object(toolkit, "_without_advice", nullcontext):
        yield
    toolkit._kept_configured.cache_clear()


@contextmanager
def _new_program_in_capture() -> Iterator[None]:
    """Forget the first call outside of the capture, and do not require one."""
    from numba_kernels.cuda.arrays.streams import is_capturing
    from numba_kernels.cuda.host import device_state

    original = device_state.DeviceState.program

    def program(self: Any, *arguments: Any) -> Any:
        if is_capturing(self.last_stream):
            self._programs.clear()
        return original(self, *arguments)

    with (
        mock.patch.object(device_state.DeviceState, "program", program),
        mock.patch.object(device_state.DeviceState, "has_program", return_value=True),
    ):
        yield


@contextmanager
def _freed_in_capture() -> Iterator[None]:
    """Do not prevent Numba from freeing memory, and let an array be collected among the launches."""
    from numba_kernels.cuda import toolkit
    from numba_kernels.cuda.arrays.streams import is_capturing
    from numba_kernels.cuda.host import device_state, launching

    launch = device_state.DeviceState.launch

    def launch_after_a_collection(self: Any, launches: Any, handle: int, *others: Any) -> None:
        if handle and is_capturing(handle):
            held = self.__dict__.pop("held_for_the_mutant", None)
            del held
            gc.collect()
            toolkit.cuda.current_context().deallocations.clear()
        elif "held_for_the_mutant" not in self.__dict__:
            self.held_for_the_mutant = toolkit.cuda.device_array(7, np.float32)
        launch(self, launches, handle, *others)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(launching, "without_frees", return_value=nullcontext()))
        stack.enter_context(mock.patch.object(device_state.DeviceState, "launch", launch_after_a_collection))
        yield
