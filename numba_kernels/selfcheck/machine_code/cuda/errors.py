"""The error that says why the check of CUDA code could not run."""

from __future__ import annotations


class CouldNotRun(RuntimeError):
    """Raised where machine code cannot be built or read, so that nothing is known about it."""
