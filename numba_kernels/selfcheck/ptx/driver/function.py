"""The form of a function of the driver: its name, the types of its arguments, and its implementation."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from numba_kernels.selfcheck.ptx.driver.device import Device
from numba_kernels.selfcheck.ptx.driver.errors import ILLEGAL_ADDRESS, SUCCESS, UNKNOWN, Refused
from numba_kernels.selfcheck.ptx.faults import Fault

INT, UINT, SIZE, POINTER = ctypes.c_int, ctypes.c_uint, ctypes.c_size_t, ctypes.c_void_p

FUNCTIONS: dict[str, tuple[tuple[Any, ...], Callable[..., None]]] = {}
"""By name, the types of the arguments, and the implementation, which takes the device and the arguments."""


def driver_function(name: str, *types: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that registers a function of the driver."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        FUNCTIONS[name] = types, function
        return function

    return add


def store(place: Any, kind: Any, value: Any) -> None:
    """Write a number to an address of the caller; do nothing for a null pointer."""
    if place:
        kind.from_address(int(place)).value = value


def callbacks(device: Device) -> dict[str, Any]:
    """Return all functions as callbacks of ctypes.

    An exception becomes an error of the driver, and a fault is also kept for the report.
    """
    return {
        name: ctypes.CFUNCTYPE(ctypes.c_int, *types)(_answering(device, function))
        for name, (types, function) in FUNCTIONS.items()
    }


def _answering(device: Device, function: Callable[..., None]) -> Callable[..., int]:
    def answer(*arguments: Any) -> int:
        try:
            function(device, *arguments)
        except Refused as refused:
            return refused.number
        except Fault as fault:
            device.faults.append(fault)
            return ILLEGAL_ADDRESS
        # No exception can pass through the bindings.
        except Exception as problem:  # noqa: BLE001
            device.faults.append(problem)
            return UNKNOWN
        return SUCCESS

    return answer
