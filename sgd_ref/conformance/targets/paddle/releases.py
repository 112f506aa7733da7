"""The releases of PaddlePaddle."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases


def releases() -> Releases:
    """Return the releases of PaddlePaddle.

    >>> releases().requirements("3.3.1").split()
    ['paddlepaddle==3.3.1']
    """
    return Releases("paddlepaddle", imports=("paddle",))
