"""The releases of bitsandbytes, all on one PyTorch."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases

SETTINGS = {"CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1"}


def releases() -> Releases:
    """Return the releases of bitsandbytes.

    >>> releases().requirements("0.50.2").split()
    ['bitsandbytes==0.50.2', 'torch==2.13.0', 'numpy', 'ml_dtypes']
    """
    return Releases(
        "bitsandbytes",
        lambda _: ("torch==2.13.0", "numpy", "ml_dtypes"),
        ("numpy", "torch", "bitsandbytes"),
        ("torch", "numpy"),
        SETTINGS,
    )
