"""Reading memory at an address in kernels, as arrays and integers."""

from __future__ import annotations

from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

from numba_kernels.shared.inlining import inlined


def _pointer_to(element: types.Type) -> Any:
    @intrinsic
    def pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.int64), generate

    return pointer


_pointers = {
    element: _pointer_to(element)
    for element in (types.uint8, types.uint16, types.int32, types.int64, types.float32, types.float64)
}


_pointer_to_int32 = _pointers[types.int32]


_pointer_to_int64 = _pointers[types.int64]


def array_reader(element: types.Type) -> Any:
    """Return the function of kernels that makes an array of `count` elements at `address`."""
    pointer = _pointers[element]

    @inlined
    def array_at(address: int, count: int) -> Any:
        return numba.carray(pointer(address), (count,))

    return array_at


@inlined
def int64_at(address: int) -> Any:
    """Read eight bytes as an integer."""
    return numba.carray(_pointer_to_int64(address), (1,))[0]


@inlined
def int32_at(address: int) -> Any:
    """Read four bytes as an integer."""
    return numba.carray(_pointer_to_int32(address), (1,))[0]
