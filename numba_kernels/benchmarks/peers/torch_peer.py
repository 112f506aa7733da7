"""`torch.optim.SGD`, fused and foreach, with the code that users write around it; and PyTorch's roof."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.peers import NotOffered, Prepared, Step
from numba_kernels.benchmarks.peers.traffic import moved_arrays
from numba_kernels.benchmarks.workload import (
    EMA_MOMENTUM,
    HIGHEST_NORM,
    LEARNING_RATE,
    MOMENTUM,
    NORM,
    WEIGHT_DECAY,
    Array,
    Workload,
)


def fused(workload: Workload, threads: int) -> Step | Prepared:
    """Return a step with ``fused=True``."""
    return _optimizer(workload, threads, fused=True)


def foreach(workload: Workload, threads: int) -> Step | Prepared:
    """Return a step with ``foreach=True``."""
    return _optimizer(workload, threads, foreach=True)


def _optimizer(workload: Workload, threads: int, **variant: bool) -> Step | Prepared:
    import torch

    torch.set_num_threads(threads)
    if workload.settings == NORM:
        return _norm(workload, variant)
    variables = workloads.variables(workload)
    # They have the memory of the variables.
    parameters = [torch.nn.Parameter(_tensor(torch, array)) for array in variables]
    _set_gradients(torch, workload, parameters, variant)
    return Prepared(step_of(parameters, workload.settings, **variant), lambda: variables)


def step_of(parameters: list[Any], settings: str, *, decays_inside: bool = False, **variant: bool) -> Step:
    """Return a step over parameters that have gradients, with the code that users write around it.

    The weight decay of ``torch.optim.SGD`` enters the velocity. The decay that Keras documents does not, and
    takes an operation of its own; with `decays_inside` PyTorch's is used.
    """
    import torch

    arguments: dict[str, Any] = {"lr": LEARNING_RATE, **variant}
    if settings == "plain":
        return _step_of(torch.optim.SGD(parameters, **arguments))
    arguments["momentum"] = MOMENTUM
    if settings == "momentum":
        return _step_of(torch.optim.SGD(parameters, **arguments))
    decay = WEIGHT_DECAY if decays_inside else 0.0
    optimizer = torch.optim.SGD(parameters, nesterov=True, weight_decay=decay, **arguments)
    averages = [parameter.detach().clone() for parameter in parameters]

    def everything() -> None:
        torch.nn.utils.clip_grad_norm_(parameters, HIGHEST_NORM, foreach=True)
        if not decays_inside:
            torch._foreach_mul_(parameters, 1 - LEARNING_RATE * WEIGHT_DECAY)
        optimizer.step()
        # torch.optim.swa_utils.get_ema_multi_avg_fn calls this function.
        torch._foreach_lerp_(averages, parameters, 1 - EMA_MOMENTUM)

    step: Step = torch.no_grad()(everything)
    return step


def _step_of(optimizer: Any) -> Step:
    step: Step = optimizer.step
    return step


def _set_gradients(torch: Any, workload: Workload, parameters: list[Any], variant: dict[str, bool]) -> None:
    if not workload.has_sparse_gradients:
        for parameter, gradient in zip(parameters, workloads.gradients(workload), strict=True):
            parameter.grad = _tensor(torch, gradient)
        return
    if variant.get("fused") or workload.settings != "plain":
        raise NotOffered("sparse gradients only without fusing, and without momentum that decays in all rows")
    for parameter, rows in zip(parameters, workloads.sparse_gradients(workload), strict=True):
        indices = torch.from_numpy(rows.indices.astype(np.int64))[None]
        parameter.grad = torch.sparse_coo_tensor(
            indices, _tensor(torch, rows.values), rows.shape, is_coalesced=True
        )


def _norm(workload: Workload, variant: dict[str, bool]) -> Step:
    import torch

    if variant.get("fused"):
        raise NotOffered("the norm is not fused")
    gradients = [_tensor(torch, array) for array in workloads.gradients(workload)]
    return lambda: torch.nn.utils.get_total_norm(gradients, foreach=True)


def _tensor(torch: Any, array: Array) -> Any:
    """Return a tensor in the memory of an array; for bfloat16, by way of integers with the same bits."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def roof(workload: Workload, threads: int) -> Step:
    """Return additions in place that read and write as many arrays as a step."""
    import torch

    torch.set_num_threads(threads)
    moved = moved_arrays(workload)
    added = torch.from_numpy(moved.added)
    reread = None if moved.reread is None else torch.from_numpy(moved.reread)
    first, *others = (torch.from_numpy(array) for array in moved.written)

    def step() -> None:
        if reread is not None:
            torch.sum(reread)
        # Adding a tensor reads it; adding a number does not.
        first.add_(added)
        for other in others:
            other.add_(1)

    return step


PREPARE = {"torch fused": fused, "torch foreach": foreach, "roof torch": roof}
