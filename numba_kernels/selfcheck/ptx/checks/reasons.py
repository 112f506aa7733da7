"""Reasons, found by a person, why no case executes some instructions of a kernel."""

from __future__ import annotations

import re

REASONS = (
    (r"(gather|scatter)_", "a quotient of numbers from 2**32 on, where an array has no axes"),
    (
        r"decide_\w+_each",
        "the loop over more than 768 chunks of one variable, which has millions of elements",
    ),
)
"""A pattern for the names of kernels, and the reason."""


def reason_for(kernel: str) -> str:
    """Return the known reason why a kernel has instructions that no case executes.

    >>> reason_for("scatter_float16")
    'a quotient of numbers from 2**32 on, where an array has no axes'
    >>> reason_for("update_float32_momentum_plain")
    'no reason is known'
    """
    return next((reason for pattern, reason in REASONS if re.match(pattern, kernel)), "no reason is known")
