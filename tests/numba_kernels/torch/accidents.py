"""What goes wrong on one of several ranks, and what all of them see of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from numba_kernels.torch import SGD
from tests.numba_kernels.torch.proof import _model, _set_gradients, digest, full

SETTINGS: dict[str, Any] = {"momentum": 0.9, "global_clipnorm": 1.0, "use_ema": True, "rank_timeout": 120.0}


def _sharded(size: int) -> tuple[Any, list[Any]]:
    mesh = init_device_mesh("cpu", (size,))
    model = _model()
    fully_shard(model, mesh=mesh)
    return model, list(model.parameters())


def _step(optimizer: Any, parameters: list[Any], generator: Any) -> None:
    _set_gradients(parameters, generator)
    optimizer.step()


def _digest(optimizer: Any, parameters: list[Any]) -> str:
    kinds = ("velocity", "average")
    arrays = [full(w.detach()) for w in parameters]
    return digest(arrays + [full(optimizer.state[w][kind]) for kind in kinds for w in parameters])


def _local(optimizer: Any, parameters: list[Any]) -> str:
    arrays = [w._local_tensor.detach().numpy() for w in parameters]
    return digest(arrays + [optimizer.state[w]["velocity"]._local_tensor.numpy() for w in parameters])


def differing(rank: int, size: int) -> dict[str, Any]:
    """Return the errors where one rank differs or fails; the steps after them are made."""
    _, parameters = _sharded(size)
    optimizer = SGD(parameters, lr=0.1, **SETTINGS)
    generator = torch.Generator().manual_seed(1)
    _step(optimizer, parameters, generator)
    found: dict[str, Any] = {}

    def attempt(name: str) -> None:
        before = _local(optimizer, parameters)
        try:
            optimizer.step()
        except Exception as error:  # noqa: BLE001  (it is compared)
            found[name] = f"{type(error).__name__}: {error}"
        assert _local(optimizer, parameters) == before, name

    group = optimizer.param_groups[0]
    group["lr"] = 0.25 if rank == 1 else 0.1
    attempt("rate")
    group["lr"] = 0.1
    kept = parameters[2].grad
    if rank == 2:
        parameters[2].grad = None
    attempt("missing")
    if rank == 2:
        # PyTorch lets nobody assign a gradient of another kind, but a wrong option is found as late.
        group["momentum"] = 2.0
    parameters[2].grad = kept
    attempt("failed")
    group["momentum"] = 0.9
    if rank == 0:
        kept._local_tensor[0] = np.inf
    optimizer.found_inf = torch.tensor(float(rank == 0))
    attempt("infinite")
    del optimizer.found_inf
    _step(optimizer, parameters, generator)
    found["calls"] = group["calls"]
    return found


def placements(rank: int, size: int) -> dict[str, str]:
    """Return the errors for gradients that lie elsewhere than their parameter."""
    mesh = init_device_mesh("cpu", (size,))
    parameter = torch.nn.Parameter(distribute_tensor(torch.ones(4, 3), mesh, [Shard(0)]))
    optimizer = SGD([parameter], global_clipnorm=1.0)
    found = {}
    for placement in (Replicate(), Shard(1)):
        parameter.grad = distribute_tensor(torch.ones(4, 3), mesh, [placement])
        try:
            optimizer.step()
        except Exception as error:  # noqa: BLE001  (it is compared)
            found[str(placement)] = str(error)
    return found


def killed(rank: int, size: int) -> dict[str, Any]:
    """Return what the others see where the last rank is killed in a step, after a checkpoint."""
    folder = Path(os.environ["CHECKPOINT"])
    model, parameters = _sharded(size)
    optimizer = SGD(parameters, lr=0.1, **SETTINGS)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        _step(optimizer, parameters, generator)
    weights, state = get_state_dict(model, optimizer)
    dcp.save({"weights": weights, "state": state}, checkpoint_id=folder)
    saved = _digest(optimizer, parameters)
    _set_gradients(parameters, generator)
    if rank == size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    before = _local(optimizer, parameters)
    texts = []
    for _ in range(2):
        try:
            optimizer.step()
        except Exception as error:  # noqa: BLE001  (it is compared)
            texts.append(f"{type(error).__name__}: {error}")
    return {"texts": texts, "same": _local(optimizer, parameters) == before, "saved": saved}


def resumed(rank: int, size: int) -> list[str]:
    """Return the digests of the checkpoint, loaded on another number of ranks, and of five steps after it."""
    folder = Path(os.environ["CHECKPOINT"])
    model, parameters = _sharded(size)
    optimizer = SGD(parameters, lr=0.1, **SETTINGS)
    weights, state = get_state_dict(model, optimizer)
    dcp.load({"weights": weights, "state": state}, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=state)
    loaded = _digest(optimizer, parameters)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        _set_gradients(parameters, generator)
    for _ in range(5):
        _step(optimizer, parameters, generator)
    return [loaded, _digest(optimizer, parameters)]


def uninterrupted(rank: int, size: int) -> str:
    """Return the digest of ten steps."""
    _, parameters = _sharded(size)
    optimizer = SGD(parameters, lr=0.1, **SETTINGS)
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        _step(optimizer, parameters, generator)
    return _digest(optimizer, parameters)
