"""The releases of scikit-learn."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases


def releases() -> Releases:
    """Return the releases of scikit-learn.

    >>> releases().requirements("1.9.1").split()
    ['scikit-learn==1.9.1']
    """
    return Releases("scikit-learn", imports=("numpy", "sklearn"), shown=("numpy", "scipy"))
