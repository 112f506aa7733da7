"""Which arrays on the device an optimizer knows: by the headers that stand in front of them."""

from __future__ import annotations

from typing import Any

from numba_kernels.cuda.arrays.arrays import UNKNOWN_DEVICE, header, view
from numba_kernels.cuda.arrays.headers import headers_of
from numba_kernels.cuda.host.device_state import DeviceState
from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.state import State


class KnowingArrays:
    """What an optimizer knows of the arrays that it is given."""

    _state: State | None

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._arrays_of_headers: list[Any] = []
        self._excluded: list[tuple[Any, Array]] = []

    def _headers(self, argument: str, arrays: Any) -> Any:
        """Return a header in front of each array; an argument that is no list is returned as it is."""
        if isinstance(arrays, (list, tuple)):
            self._arrays_of_headers = list(arrays)
        return headers_of(argument, arrays, self._kept_headers())

    def _kept_headers(self) -> dict[int, Array]:
        # Without elements it has no address, so that only a header that is kept tells it from others.
        return {id(array): header for array, header in self._excluded if header.size == 0}

    def _device_of(self, variables: Any) -> int:
        """Return the device on which to work: that of the variables, or of the first that is given."""
        if isinstance(self._state, DeviceState):
            return self._state.device
        if not isinstance(variables, (list, tuple)) or not variables:
            return UNKNOWN_DEVICE
        return view("variables[0]", variables[0]).device

    def _known_headers(self, variables: Any) -> Any:
        """Return the headers of variables, those of the state where they are its own."""
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
