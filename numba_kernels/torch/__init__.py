"""The optimizer for PyTorch's training loops: the bits of ``sgd_ref``, in one call of the kernels.

>>> import torch
>>> model = torch.nn.Linear(2, 1, bias=False)
>>> _ = torch.nn.init.ones_(model.weight)
>>> optimizer = SGD(model.parameters(), lr=0.5, momentum=0.5)
>>> model(torch.tensor([[1.0, 2.0]])).sum().backward()
>>> optimizer.step()
>>> model.weight.data
tensor([[0.5000, 0.0000]])
"""

from numba_kernels.torch.optimizer import SGD

__all__ = ["SGD"]
