"""What keeps the check of CUDA code from being run."""

from __future__ import annotations


class CouldNotRun(RuntimeError):
    """Raised where machine code can not be built or read, so that nothing was found out about it."""
