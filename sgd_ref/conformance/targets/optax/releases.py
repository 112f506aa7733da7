"""The releases of Optax, and the JAX that each is installed with."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases
from sgd_ref.conformance.targets.optax.launch import ENVIRONMENT

OLD, YOUNG = ("jax==0.4.30", "jaxlib==0.4.30", "numpy<2"), ("jax==0.10.2", "jaxlib==0.10.2")

FIRST_YOUNG = (0, 2, 6)
"""The first release that runs with the present JAX; older releases use functions that JAX has removed."""


def releases(mode: str) -> Releases:
    """Return the releases of Optax.

    >>> releases("eager").requirements("0.1.7").split()
    ['optax==0.1.7', 'jax==0.4.30', 'jaxlib==0.4.30', 'numpy<2']
    """
    del mode
    return Releases(
        "optax",
        lambda numbers: OLD if numbers < FIRST_YOUNG else YOUNG,
        ("numpy", "jax", "optax"),
        ("numpy", "jax"),
        ENVIRONMENT,
    )
