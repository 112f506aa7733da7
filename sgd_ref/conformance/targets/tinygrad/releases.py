"""The releases of tinygrad."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases


def releases() -> Releases:
    """Return the releases of tinygrad.

    >>> releases().requirements("0.14.0").split()
    ['tinygrad==0.14.0', 'numpy']
    """
    return Releases("tinygrad", lambda _: ("numpy",), ("tinygrad",), settings={"DEV": "CPU"})
