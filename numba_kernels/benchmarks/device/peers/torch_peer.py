"""`torch.optim.SGD` on a device: fused, foreach, compiled or captured; and the roof, a copy by PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba_kernels.benchmarks.device.peers import NotOffered, Prepared, Step, tensors
from numba_kernels.benchmarks.device.peers.tensors import CUDA
from numba_kernels.benchmarks.peers.torch_peer import step_of
from numba_kernels.benchmarks.workload import (
    EMA_MOMENTUM,
    HIGHEST_NORM,
    LEARNING_RATE,
    MOMENTUM,
    WEIGHT_DECAY,
    Workload,
)

STEPS_BEFORE_CAPTURE = 3
"""The number of steps before a capture, from PyTorch's page on CUDA graphs."""


def fused(workload: Workload, device: str = CUDA) -> Prepared:
    """Return a step with ``fused=True``."""
    return _prepared(_step(workload, device, fused=True), device)


def foreach(workload: Workload, device: str = CUDA) -> Prepared:
    """Return a step with ``foreach=True``."""
    return _prepared(_step(workload, device, foreach=True), device)


def graph(workload: Workload) -> Prepared:
    """Return a step with ``fused=True``, captured in a graph."""
    return _prepared(tensors.captured(_step(workload, CUDA, fused=True), STEPS_BEFORE_CAPTURE), CUDA)


def compiled(workload: Workload, device: str = CUDA, backend: str = "inductor") -> Prepared:
    """Return a step whose operations ``torch.compile`` has compiled together."""
    torch = tensors.torch_for(device)
    variables = tensors.variables(workload, device)
    gradients = tensors.gradients(workload, device)
    velocities = [torch.zeros_like(variable) for variable in variables]
    averages = [variable.clone() for variable in variables] if workload.settings == "everything" else []
    step = _compiled(workload, backend)
    return _prepared(lambda: step(variables, gradients, velocities, averages), device)


# The step is compiled once for all turns with a workload.
@functools.lru_cache(maxsize=1)
def _compiled(workload: Workload, backend: str) -> Callable[..., None]:
    import torch

    # After compiling for several workloads, PyTorch would stop compiling and run uncompiled code.
    torch.compiler.reset()
    function = {"momentum": _momentum, "everything": _everything}.get(workload.settings)
    if function is None:
        raise NotOffered(f"no composition of {workload.settings}")
    step: Callable[..., None] = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)
    return step


def _momentum(variables: Any, gradients: Any, velocities: Any, averages: Any) -> None:
    _sgd(variables, gradients, velocities, nesterov=False)


def _everything(variables: Any, gradients: Any, velocities: Any, averages: Any) -> None:
    """Make the step of ``foreach=True`` without overwriting the gradients, since nothing refills them."""
    import torch

    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    clipped = torch._foreach_mul(gradients, torch.clamp(HIGHEST_NORM / (norm + 1e-6), max=1.0))
    torch._foreach_mul_(variables, 1 - LEARNING_RATE * WEIGHT_DECAY)
    _sgd(variables, clipped, velocities, nesterov=True)
    torch._foreach_lerp_(averages, variables, 1 - EMA_MOMENTUM)


def _sgd(variables: Any, gradients: Any, velocities: Any, nesterov: bool) -> None:
    from torch.optim.sgd import sgd

    sgd(
        variables,
        gradients,
        velocities,
        foreach=True,
        weight_decay=0.0,
        momentum=MOMENTUM,
        lr=LEARNING_RATE,
        dampening=0.0,
        nesterov=nesterov,
        maximize=False,
    )


def _step(workload: Workload, device: str, **variant: bool) -> Step:
    torch = tensors.torch_for(device)
    parameters = [torch.nn.Parameter(variable) for variable in tensors.variables(workload, device)]
    for parameter, gradient in zip(parameters, tensors.gradients(workload, device), strict=True):
        parameter.grad = gradient
    return step_of(parameters, workload.settings, **variant)


def _prepared(step: Step, device: str) -> Prepared:
    import torch

    return Prepared(step, torch.cuda.synchronize if device == CUDA else lambda: None)


def roof(workload: Workload, device: str = CUDA) -> Prepared:
    """Return a copy that reads and writes as many bytes as a step."""
    torch = tensors.torch_for(device)
    source = torch.randint(256, (workload.bytes_moved // 2,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return _prepared(lambda: target.copy_(source), device)


PREPARE = {
    "torch fused": fused,
    "torch foreach": foreach,
    "torch compiled": compiled,
    "torch graph": graph,
    "roof torch": roof,
}
