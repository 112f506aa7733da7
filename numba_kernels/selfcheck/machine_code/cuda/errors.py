"""The error for a check of CUDA code that could not run."""

from __future__ import annotations


class CouldNotRun(RuntimeError):
    """Raised if machine code cannot be built or read, so that nothing is known about it."""
