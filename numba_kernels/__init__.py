"""The bits of ``sgd_ref`` at the speed of memory, by kernels that Numba compiles."""

from numba_kernels.optimizer import SGD

__all__ = ["SGD"]
