"""The releases of pytorch_optimizer, all on one PyTorch."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases

SETTINGS = {"CUDA_VISIBLE_DEVICES": "-1", "OMP_NUM_THREADS": "1"}


def releases() -> Releases:
    """Return the releases of pytorch_optimizer.

    >>> releases().requirements("4.1.0").split()
    ['pytorch_optimizer==4.1.0', 'torch==2.13.0', 'numpy', 'ml_dtypes']
    """
    return Releases(
        "pytorch_optimizer",
        lambda _: ("torch==2.13.0", "numpy", "ml_dtypes"),
        ("numpy", "torch", "pytorch_optimizer"),
        ("torch", "numpy"),
        SETTINGS,
    )
