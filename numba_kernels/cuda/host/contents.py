"""The values of variables on the device: copied to the host and back, for checkpoints and averages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba_kernels.cuda.arrays.allocation import to_host, to_numba, wait_for_device
from numba_kernels.cuda.arrays.placement import Copy
from numba_kernels.cuda.host.device_state import DeviceState
from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.state import State


def state_on_host(state: DeviceState) -> State:
    """Return a copy of the whole state in the memory of the host; waits for the device."""
    copied = state.on_host()
    state.learn_counts()
    copied.calls = state.calls
    copied.variables[:] = values_of_variables(state)
    for kind, arrays in state.slot_arrays.items():
        getattr(copied, kind)[:] = [to_host(array) for array in arrays]
    return copied


def values_of_variables(state: DeviceState) -> list[Array]:
    """Return copies of the variables, which may be arrays of any library and layout; waits for the device."""
    copies = [Copy(array, found, found.dtype) for array, found in zip(state.arrays, state.views, strict=True)]
    state.transfer([copy.gather() for copy in copies], copies)
    wait_for_device()
    return [to_host(copy.memory) for copy in copies]


def set_variables(state: DeviceState, values: Sequence[Array]) -> None:
    """Write values of the host into the variables; waits for the device."""
    memories: list[Any] = [to_numba(array) for array in values]
    copies = [
        Copy(array, found, found.dtype, memory)
        for array, found, memory in zip(state.arrays, state.views, memories, strict=True)
    ]
    state.transfer([copy.scatter() for copy in copies], copies)
    wait_for_device()
