"""The releases of Keras, and the packages for each backend."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases
from sgd_ref.conformance.targets.keras.launch import ENVIRONMENT

BACKENDS = {
    "jax": ("jax==0.10.2", "jaxlib==0.10.2"),
    # A younger TensorFlow asks for a younger Keras.
    "tensorflow": ("tensorflow-cpu==2.16.2",),
    "torch": ("torch==2.13.0+cpu",),
}
"""All releases run on the same versions of the backends, so that only Keras changes."""

UNDECLARED = ("packaging",)
"""Packages that some releases import and do not require."""


def releases(backend: str, mode: str) -> Releases:
    """Return the releases of Keras on a backend.

    >>> releases("jax", "eager").requirements("3.0.5").split()[:2]
    ['keras==3.0.5', 'jax==0.10.2']
    """
    del mode

    packages = {"jax": ("jax",), "tensorflow": ("tensorflow-cpu",), "torch": ("torch",)}[backend]
    settings = {**ENVIRONMENT, "KERAS_BACKEND": backend}
    companions = (*BACKENDS[backend], *UNDECLARED)
    return Releases(
        "keras", lambda _: companions, ("numpy", backend, "keras"), ("numpy", *packages), settings
    )
