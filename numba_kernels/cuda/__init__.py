"""SGD on an NVIDIA device: the bits of the reference, for arrays of PyTorch, CuPy or Numba."""

from numba_kernels.cuda.host.loading import load
from numba_kernels.cuda.host.loss_scale import LossScaleOptimizer
from numba_kernels.cuda.host.optimizer import SGD

__all__ = ["SGD", "LossScaleOptimizer", "load"]
