"""Run by mpirun: one rank that trains its parts, and compares them with the reference on the whole arrays."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

import numba_kernels
import sgd_ref
from numba_kernels.ranks import RankError
from numba_kernels.ranks.mpi import MPICommunicator

SETTINGS: dict[str, Any] = {"learning_rate": 0.1, "momentum": 0.9, "global_clipnorm": 1.0}
LENGTHS = [1001, 2]


def _arrays(seed: int) -> list[Any]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(n).astype("float32") for n in LENGTHS]


def main() -> None:
    """Train, and say how it went."""
    # Without the extra pytest can still look at this file.
    world = importlib.import_module("mpi4py.MPI").COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    whole = _arrays(0)
    reference = sgd_ref.SGD(**SETTINGS)
    reference.build(whole)
    parts = [np.array(np.array_split(w, size)[rank]) for w in _arrays(0)]
    given: Any = world if "late" not in sys.argv else MPICommunicator(world, 1.0)
    optimizer = numba_kernels.SGD(**SETTINGS, communicator=given)
    optimizer.build(parts)
    for step in range(1, 51):
        gradients = _arrays(step)
        reference.apply(gradients)
        if step == 50 and "late" in sys.argv and rank == size - 1:
            world.Barrier()
            return
        try:
            optimizer.apply([np.array_split(g, size)[rank] for g in gradients])
        except RankError as error:
            print(f"{rank}: {error}", flush=True)
            world.Barrier()
            return
    same = all(
        np.array_equal(part, np.array_split(w, size)[rank])
        for kept, own in ((whole, parts), (reference.velocities, optimizer.velocities))
        for w, part in zip(kept, own, strict=True)
    )
    print(f"{rank}: {'same' if same else 'different'}", flush=True)


if __name__ == "__main__":
    main()
