"""Run by mpirun: one rank that trains its parts, and compares them with the reference on the whole arrays."""

from __future__ import annotations

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import numba_kernels
import sgd_ref
from numba_kernels.ranks import RankError
from numba_kernels.ranks.mpi import TAG, MPICommunicator

SETTINGS: dict[str, Any] = {"learning_rate": 0.1, "momentum": 0.9, "global_clipnorm": 1.0}
LENGTHS = [1001, 2]

LIMIT = 600.0
"""Seconds; only a rank that hangs needs them."""


def _arrays(seed: int) -> list[Any]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(n).astype("float32") for n in LENGTHS]


def _say(rank: int, text: str) -> None:
    # The launcher mixes what the ranks print.
    Path(sys.argv[1], str(rank)).write_text(f"{rank}: {text}")


def main() -> None:
    """Train, and say how it went."""
    # Without the extra pytest can still look at this file.
    world = importlib.import_module("mpi4py.MPI").COMM_WORLD
    rank, size = world.Get_rank(), world.Get_size()
    whole = _arrays(0)
    reference = sgd_ref.SGD(**SETTINGS)
    reference.build(whole)
    parts = [np.array(np.array_split(w, size)[rank]) for w in _arrays(0)]
    given: Any = world if size == 1 else MPICommunicator(world, LIMIT)
    optimizer = numba_kernels.SGD(**SETTINGS, communicator=given)
    optimizer.build(parts)
    for step in range(1, 51):
        gradients = _arrays(step)
        reference.apply(gradients)
        if step == 50 and "late" in sys.argv:
            if rank == size - 1:
                world.Barrier()
                return
            if rank == 0:
                # The limit is short only once the ranks that come have sent their messages.
                while not all(given._communicator.Iprobe(other, TAG) for other in range(1, size - 1)):
                    time.sleep(0.01)
                given.limit = 1.0
        try:
            optimizer.apply([np.array_split(g, size)[rank] for g in gradients])
        except RankError as error:
            _say(rank, str(error))
            world.Barrier()
            return
    same = all(
        np.array_equal(part, np.array_split(w, size)[rank])
        for kept, own in ((whole, parts), (reference.velocities, optimizer.velocities))
        for w, part in zip(kept, own, strict=True)
    )
    _say(rank, "same" if same else "different")


if __name__ == "__main__":
    main()
