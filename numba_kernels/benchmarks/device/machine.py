"""The card, the driver and the versions for which a measurement on a device holds."""

from __future__ import annotations

from pathlib import Path

from numba_kernels import machine

PACKAGES = (
    "numba-cuda",
    "cuda-core",
    "cuda-bindings",
    "nvidia-nvvm",
    "nvidia-nvjitlink",
    "triton",
    "jax-cuda12-plugin",
    "jax-cuda13-plugin",
)

DRIVER = Path("/proc/driver/nvidia/version")


def description() -> dict[str, str]:
    """Return what a reader has to know of the device and of its host, by name."""
    # It needs numba-cuda, which is an extra.
    from numba_kernels.selfcheck.device import describing

    return {
        "device": describing.device(),
        "driver": driver(DRIVER),
        **machine.description(),
        **machine.versions(PACKAGES),
    }


def driver(path: Path) -> str:
    """Return the first line of what the driver says of itself in a file.

    >>> driver(Path("/no/such/file"))
    'unknown'
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError):
        return "unknown"
