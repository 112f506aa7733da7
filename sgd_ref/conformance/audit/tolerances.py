"""The results of tests with tolerances, which are the usual way to compare arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Trajectory

Tolerance = tuple[float, float]
"""A relative and an absolute tolerance."""

_OF_PYTORCH = {
    FLOAT16: (1e-3, 1e-5),
    BFLOAT16: (1.6e-2, 1e-5),
    FLOAT32: (1.3e-6, 1e-5),
    FLOAT64: (1e-7, 1e-7),
}

TOLERANCES: dict[str, Callable[[np.dtype[Any]], Tolerance]] = {
    "numpy.allclose": lambda dtype: (1e-5, 1e-8),
    "torch.testing.assert_close": _OF_PYTORCH.__getitem__,
    "keras assertAllClose": lambda dtype: (1e-6, 1e-6),
    "keras golden test of SGD": lambda dtype: (5e-4, 5e-4),
}
"""Defaults of NumPy 2, of PyTorch 2.13 by dtype, of `TestCase` in Keras 3.15.1, and of its test of SGD."""


def accepts(tolerance: str, expected: Trajectory, observed: Trajectory) -> bool:
    """Whether a test with a tolerance accepts the variables of two trajectories as equal.

    Parameters
    ----------
    tolerance : str
        A key of ``TOLERANCES``.
    expected, observed : trajectory
        Two trajectories of the same form.

    Examples
    --------
    >>> one, other = ([{"variables": [np.array([value], "f4")]}] for value in (1.0, 1.000005))
    >>> accepts("numpy.allclose", one, other), accepts("keras assertAllClose", one, other)
    (True, False)
    """
    limits = TOLERANCES[tolerance]
    with np.errstate(all="ignore"):
        for wanted, given in zip(expected, observed, strict=True):
            for want, got in zip(wanted["variables"], given["variables"], strict=True):
                relative, absolute = limits(want.dtype)
                wide = convert(np.asarray(want), FLOAT64), convert(np.asarray(got), FLOAT64)
                if not np.allclose(wide[1], wide[0], relative, absolute, equal_nan=True):
                    return False
    return True
