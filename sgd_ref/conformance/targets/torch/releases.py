"""The releases of PyTorch."""

from __future__ import annotations

from sgd_ref.conformance.targets.history.releases import Releases
from sgd_ref.conformance.targets.torch.launch import ENVIRONMENT


def releases(variant: str) -> Releases:
    """Return the releases of PyTorch; ``2.13.0+cpu`` is one without CUDA, where the registry has it.

    >>> releases("loop").requirements("2.13.0+cpu").split()
    ['torch==2.13.0+cpu', 'numpy', 'ml_dtypes']
    """
    del variant
    return Releases(
        "torch",
        # Built with NumPy 1, and not running with a later one. Scripts have bfloat16 of ml_dtypes.
        lambda numbers: ("numpy" if numbers >= (2, 3) else "numpy<2", "ml_dtypes"),
        ("numpy", "torch"),
        settings=ENVIRONMENT,
    )
