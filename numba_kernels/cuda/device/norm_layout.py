"""The layout of the tables for norms in device memory: one norm of all gradients, or one of each."""

from __future__ import annotations

# Of the descriptor of norms, in words: addresses, and the number of norms.
FIRST_CHUNKS, RESULTS, LIMITS, UNDECIDED, LIMBS, FACTORS, COUNTS = range(7)
NORM_DESCRIPTOR_WORDS = 7

CLIPNORM, RECIPROCAL, ERROR = range(3)
"""Of the limits, float64: the highest norm and its reciprocal in the dtype of the norm, and the bound on the
relative error of a sum of squares."""
LIMIT_COUNT = 3
