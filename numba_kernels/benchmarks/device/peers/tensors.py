"""Tensors of PyTorch with the elements of a workload, and steps captured in a CUDA graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.device.memory import give_back, without_collection
from numba_kernels.benchmarks.device.peers import NotOffered, Step
from numba_kernels.benchmarks.workload import Array, Workload

CUDA = "cuda"


def torch_for(device: str) -> Any:
    """Return PyTorch.

    Raises
    ------
    NotOffered
        If PyTorch does not find the device.
    """
    import torch

    if device == CUDA and not torch.cuda.is_available():
        raise NotOffered("PyTorch finds no device")
    return torch


def variables(workload: Workload, device: str) -> list[Any]:
    """Return the variables of a workload on a device."""
    return _filled(workload, workloads.VARIABLES, device)


def gradients(workload: Workload, device: str) -> list[Any]:
    """Return the gradients of a workload on a device."""
    return _filled(workload, workloads.GRADIENTS, device)


def _filled(workload: Workload, first_seed: int, device: str) -> list[Any]:
    # The tensors are filled on the device. Copying gigabytes to it would take longer than all steps of a
    # turn.
    return [_repeated(block, shape, device) for shape, block in workloads.blocks(workload, first_seed)]


def _repeated(block: Array, shape: tuple[int, ...], device: str) -> Any:
    import torch

    if block.dtype.name == "bfloat16":
        # NumPy and PyTorch have different types for bfloat16, so only the bits can be shared.
        source = torch.from_numpy(block.view(np.int16)).view(torch.bfloat16).to(device)
    else:
        source = torch.from_numpy(block).to(device)
    size = math.prod(shape)
    filled = torch.empty(size, dtype=source.dtype, device=device)
    whole = size // source.numel() * source.numel()
    filled[:whole].view(-1, source.numel()).copy_(source.expand(whole // source.numel(), -1))
    filled[whole:].copy_(source[: size - whole])
    return filled.view(shape)


def captured(step: Step, warm_up: int) -> Step:
    """Return a function that replays a step, which PyTorch has captured in a CUDA graph.

    Parameters
    ----------
    step : function
        The step to capture. Every replay uses the addresses of the capture, so its arrays must stay in place.
    warm_up : int
        The number of steps before the capture, at least 1. They compile and allocate everything that a step
        needs.
    """
    import torch

    stream = torch.cuda.Stream()
    # The preparations ran on another stream, and must be done before this one continues.
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for _ in range(warm_up):
            step()
    stream.synchronize()
    # Memory must not be freed while a graph is captured.
    give_back()
    graph = torch.cuda.CUDAGraph()
    with without_collection(), torch.cuda.graph(graph, stream=stream):
        step()
    return Replay(graph, step)


class Replay:
    """A captured step. It keeps the arrays of the graph alive, since the graph knows only addresses."""

    def __init__(self, graph: Any, step: Step) -> None:
        self.graph, self.step = graph, step

    def __call__(self) -> None:
        """Replay the step on the current stream."""
        self.graph.replay()
