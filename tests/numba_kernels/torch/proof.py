"""Training on ranks, and by the reference in one process: SHA-256 of weights and state after 50 steps."""

from __future__ import annotations

import hashlib
import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import sgd_ref
from numba_kernels.torch import SGD
from numba_kernels.torch.memory import array_of
from numba_kernels.torch.rules import VELOCITIES
from numba_kernels.torch.state import ACCUMULATOR, AVERAGE
from sgd_ref.conformance.dialects.pytorch import PytorchSGD
from tests.numba_kernels.agreement import DTYPES, numbers
from tests.numba_kernels.torch.grouped import tensor

STEPS = 50

LIMIT = 600.0
"""Seconds; only a rank that hangs needs them."""

SHAPES: list[tuple[tuple[int, ...], Any]] = [
    ((13, 7), Shard(0)),
    ((3, 11), Shard(1)),
    ((5,), Shard(0)),
    ((1,), Shard(0)),
    ((6, 4), Replicate()),
    ((9, 2), None),
]
"""Shapes, odd ones and smaller than the number of ranks, with placements; None is a plain tensor."""

EVERYTHING: dict[str, Any] = {
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.01,
    "use_ema": True,
    "ema_momentum": 0.9,
}

CLIPPINGS: list[dict[str, Any]] = [
    {"global_clipnorm": 1.0},
    {"clipnorm": 0.5},
    {"clipvalue": 0.25},
    {},
]

SCENARIOS: dict[str, tuple[list[Any], dict[str, Any], bool]] = {
    f"{'-'.join(map(str, dtypes))}/{next(iter(clipping), 'unclipped')}": (
        dtypes,
        {**EVERYTHING, **clipping},
        False,
    )
    for clipping in CLIPPINGS
    for dtypes in [[dtype] for dtype in DTYPES] + [DTYPES]
}
SCENARIOS |= {
    f"{name}/loss-scale": (DTYPES[2:3], {**EVERYTHING, **clipping}, True)
    for name, clipping in (("global_clipnorm", CLIPPINGS[0]), ("unclipped", {}))
}
SCENARIOS["accumulation"] = (
    DTYPES[1:3],
    {**EVERYTHING, **CLIPPINGS[0], "gradient_accumulation_steps": 3},
    False,
)
SCENARIOS["rule-of-pytorch"] = (DTYPES, {**EVERYTHING, **CLIPPINGS[0], "rule": "pytorch"}, False)
"""Dtypes, settings, and whether the loss is scaled dynamically."""


CLIPPED: dict[str, Any] = {"momentum": 0.9, "global_clipnorm": 1.0}


def variables_of(dtypes: Sequence[Any]) -> list[Any]:
    """Return the variables of a scenario."""
    generator = np.random.default_rng(1)
    return [numbers(generator, shape, dtype) for dtype in dtypes for shape, _ in SHAPES]


def gradients_of(dtypes: Sequence[Any], scaled: bool) -> Any:
    """Give the gradients of each step; with a scale some are infinite."""
    generator = np.random.default_rng(2)
    for step in range(STEPS):
        gradients = [numbers(generator, shape, dtype) for dtype in dtypes for shape, _ in SHAPES]
        if scaled and step % 7 == 3:
            gradients[step % len(gradients)].flat[-1] = np.inf
        yield gradients


def digest(arrays: Sequence[Any]) -> str:
    """Return the SHA-256 of the bits of arrays."""
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def reference(name: str) -> str:
    """Return the digest of the reference, in one process."""
    dtypes, settings, scaled = SCENARIOS[name]
    variables = variables_of(dtypes)
    rules: dict[str, Any] = {"keras": sgd_ref.SGD, "pytorch": PytorchSGD}
    of_rule = {key: value for key, value in settings.items() if key != "rule"}
    inner = rules[settings.get("rule", "keras")](0.1, **of_rule)
    optimizer: Any = sgd_ref.LossScaleOptimizer(inner, 8.0, 3) if scaled else inner
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer.build(variables)
        for gradients in gradients_of(dtypes, scaled):
            optimizer.apply(gradients)
    return digest([*variables, *inner.velocities, *inner.averages, *inner.accumulators])


def full(values: Any) -> Any:
    """Return all elements of a tensor, on each rank."""
    return array_of(values.full_tensor() if hasattr(values, "full_tensor") else values)


def placed(values: Any, mesh: Any, placement: Any) -> Any:
    """Return a tensor on the ranks of a mesh."""
    return values if placement is None else distribute_tensor(values, mesh, [placement])


def trained(name: str, mesh: Any) -> str:
    """Return the digest of the training on ranks."""
    dtypes, settings, scaled = SCENARIOS[name]
    placements = [placement for _ in dtypes for _, placement in SHAPES]
    if scaled:
        # PyTorch's scaler takes no plain tensors beside DTensors.
        placements = [placement or Replicate() for placement in placements]
    parameters = [
        torch.nn.Parameter(placed(tensor(w), mesh, placement))
        for w, placement in zip(variables_of(dtypes), placements, strict=True)
    ]
    optimizer = SGD(parameters, lr=0.1, rank_timeout=LIMIT, **settings)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3, enabled=scaled)
    scaler.scale(torch.zeros(1))
    for gradients in gradients_of(dtypes, scaled):
        for parameter, gradient, placement in zip(parameters, gradients, placements, strict=True):
            parameter.grad = placed(tensor(gradient), mesh, placement)
        scaler.step(optimizer)
        scaler.update()
    kinds = [kind for kind in (*VELOCITIES, AVERAGE, ACCUMULATOR) if kind in optimizer.state[parameters[0]]]
    arrays = [full(parameter) for parameter in parameters]
    return digest(arrays + [full(optimizer.state[w][kind]) for kind in kinds for w in parameters])


def all_scenarios(rank: int, size: int) -> dict[str, str]:
    """Return the digest of each scenario."""
    mesh = init_device_mesh("cpu", (size,))
    return {name: trained(name, mesh) for name in SCENARIOS}


def _model() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(13, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))


def _set_gradients(parameters: Sequence[Any], generator: Any) -> None:
    for parameter in parameters:
        values = torch.randn(parameter.shape, generator=generator)
        if hasattr(parameter, "placements"):
            values = distribute_tensor(values, parameter.device_mesh, parameter.placements)
        parameter.grad = values


def models(rank: int, size: int) -> dict[str, str]:
    """Return the digests of a model under `fully_shard`, under DDP, and of PyTorch's own clipped SGD."""
    found = {}
    for name in ("fully_shard", "ddp", "pytorch"):
        model = _model()
        if name == "ddp":
            model = torch.nn.parallel.DistributedDataParallel(model)
        else:
            mesh = init_device_mesh("cpu", (size,))
            fully_shard(model[0], mesh=mesh)
            fully_shard(model, mesh=mesh)
        parameters = list(model.parameters())
        if name == "pytorch":
            optimizer: Any = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
        else:
            group = torch.distributed.group.WORLD if name == "ddp" else None
            optimizer = SGD(parameters, lr=0.1, rank_timeout=LIMIT, process_group=group, **CLIPPED)
        generator = torch.Generator().manual_seed(1)
        for _ in range(STEPS):
            _set_gradients(parameters, generator)
            if name == "pytorch":
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        state = "momentum_buffer" if name == "pytorch" else "velocity"
        arrays = [full(w.detach()) for w in parameters]
        found[name] = digest(arrays + [full(optimizer.state[w][state]) for w in parameters])
        # A real backward pass goes on from there.
        optimizer.zero_grad()
        model(torch.ones(2, 13)).sum().backward()
        optimizer.step()
    return found


def reference_of_models() -> str:
    """Return the digest of the same model, trained by the reference in one process."""
    variables, velocities = _trained_by_reference()
    return digest([*variables, *velocities])


def _trained_by_reference() -> tuple[Any, Any]:
    parameters = list(_model().parameters())
    variables = [array_of(w.detach()).copy() for w in parameters]
    optimizer = sgd_ref.SGD(0.1, **CLIPPED)
    optimizer.build(variables)
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        _set_gradients(parameters, generator)
        optimizer.apply([array_of(w.grad) for w in parameters])
    return variables, optimizer.velocities


def zero(rank: int, size: int) -> str:
    """Return the digest of a model of which each rank has the state of some parameters."""
    # Its import warns, which only the process with the ranks lets pass.
    of_torch: Any = importlib.import_module("torch.distributed.optim")
    parameters = list(_model().parameters())
    optimizer = of_torch.ZeroRedundancyOptimizer(
        parameters, SGD, lr=0.1, rank_timeout=LIMIT, own_parameters=True, **CLIPPED
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        _set_gradients(parameters, generator)
        optimizer.step()
    own = sum(len(group["params"]) for group in optimizer.optim.param_groups)
    assert (own < len(parameters)) == (size > 1)
    return digest([full(w.detach()) for w in parameters])


def reference_of_weights() -> str:
    """Return the digest of the weights that the reference gives."""
    return digest(_trained_by_reference()[0])
