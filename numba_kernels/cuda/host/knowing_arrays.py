"""The arrays on the device that an optimizer knows, by the headers that stand for them."""

from __future__ import annotations

from typing import Any

from numba_kernels.cuda.arrays.arrays import UNKNOWN_DEVICE, header, view
from numba_kernels.cuda.arrays.headers import headers_of
from numba_kernels.cuda.host.device_state import DeviceState
from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.state import State


class KnowingArrays:
    """The part of an optimizer that recognises the arrays that it is given."""

    _state: State | None

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._arrays_of_headers: list[Any] = []
        self._excluded: list[tuple[Any, Array]] = []

    def _headers(self, argument: str, arrays: Any) -> Any:
        """Return a header for each array; an argument that is no list is returned unchanged."""
        if isinstance(arrays, (list, tuple)):
            self._arrays_of_headers = list(arrays)
        return headers_of(argument, arrays, self._kept_headers())

    def _kept_headers(self) -> dict[int, Array]:
        # An array without elements has no address, so that only a kept header tells it from others.
        return {id(array): header for array, header in self._excluded if header.size == 0}

    def _device_of(self, variables: Any) -> int:
        """Return the device on which to work: that of the variables, or of the first given array."""
        if isinstance(self._state, DeviceState):
            return self._state.device
        if not isinstance(variables, (list, tuple)) or not variables:
            return UNKNOWN_DEVICE
        return view("variables[0]", variables[0]).device

    def _known_headers(self, variables: Any) -> Any:
        """Return the headers of variables; for variables of the state, its own headers."""
        state = self._state
        if not isinstance(variables, (list, tuple)) or not isinstance(state, DeviceState):
            return None if variables is None else self._headers("variables", variables)
        own = {id(array): index for index, array in enumerate(state.arrays)}
        return [
            state.variables[own[id(array)]]
            if id(array) in own
            else header(view(f"variables[{index}]", array))
            for index, array in enumerate(variables)
        ]
