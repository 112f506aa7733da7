"""The releases of JAX."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases


def releases() -> Releases:
    """Return the releases of JAX.

    >>> releases().requirements("0.10.2").split()
    ['jax==0.10.2', 'jaxlib==0.10.2']
    """
    return Releases(
        "jax",
        lambda numbers: (f"jaxlib=={'.'.join(map(str, numbers))}",),
        ("jax", "jax.example_libraries.optimizers"),
        ("jaxlib", "numpy"),
        settings={"JAX_PLATFORMS": "cpu"},
    )
