"""The releases of MLX."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases


def releases() -> Releases:
    """Return the releases of MLX.

    >>> releases().requirements("0.32.4").split()
    ['mlx==0.32.4', 'mlx-cpu==0.32.4']
    """
    return Releases(
        "mlx",
        # What runs it on a CPU is a package of the same version.
        lambda numbers: (f"mlx-cpu=={'.'.join(map(str, numbers))}",),
        ("mlx.core", "mlx.optimizers"),
        ("mlx-cpu",),
    )
