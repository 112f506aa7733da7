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
    """Return the facts about the device and its host that a reader needs, by name."""
    # This import needs numba-cuda, which is an optional dependency.
    from numba_kernels.selfcheck.device import describing

    return {
        "device": describing.device(),
        "driver": driver(DRIVER),
        **machine.description(),
        **machine.versions(PACKAGES),
    }


def driver(path: Path) -> str:
    """Return the first line of the file in which the driver describes itself.

    >>> driver(Path("/no/such/file"))
    'unknown'
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError):
        return "unknown"
