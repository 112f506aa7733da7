"""Whether there is a device on which kernels can be checked."""

from __future__ import annotations


def why_no_device() -> str | None:
    """Return the reason why kernels cannot run on a device here; None if they can, or are simulated."""
    try:
        from numba_kernels.cuda.toolkit import IS_SIMULATED, cuda  # noqa: PLC0415
    except ImportError as problem:
        return str(problem)
    if IS_SIMULATED:
        return None
    try:
        cuda.get_current_device()
    # The type of the error depends on the missing part: a driver, a device, a library.
    except Exception as problem:  # noqa: BLE001
        # The first line of the driver's message says only that there is an error.
        return f"there is no CUDA device: {' '.join(str(problem).split()) or repr(problem)}"
    return None


def is_simulated() -> bool:
    """Whether kernels for the device run in the simulator."""
    from numba_kernels.cuda.toolkit import IS_SIMULATED  # noqa: PLC0415

    return IS_SIMULATED
