"""Fast optimizers with the bits of ``sgd_ref``, by kernels that Numba compiles.

>>> import numpy as np
>>> w = np.array([1.0, 2.0], "float32")
>>> SGD(0.5).apply([np.array([1.0, -1.0], "float32")], [w])
>>> w
array([0.5, 2.5], dtype=float32)
"""

from numba_kernels.cpu.loading import load
from numba_kernels.cpu.optimizer import SGD

__all__ = ["SGD", "load"]
