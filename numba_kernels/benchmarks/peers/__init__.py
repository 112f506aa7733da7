"""Optimizers to be timed: each prepares a workload and returns the function that makes one step of it.

A peer is a function of a workload and a number of threads. It returns a function without arguments that makes
one step and returns when the step is done. Frameworks are imported when a peer is prepared, in a process of
its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from numba_kernels.benchmarks.workload import Workload

Step = Callable[[], Any]
Prepare = Callable[[Workload, int], Step]

FAMILIES: Mapping[str, str] = {
    "kernels": "kernels",
    "torch fused": "torch",
    "torch foreach": "torch",
    "optax": "optax",
    "keras jax": "keras_jax",
    "keras tensorflow": "keras_tensorflow",
    "keras torch": "keras_torch",
    "numpy": "numpy",
    "roof torch": "torch",
    "roof numpy": "numpy",
    "roof numba": "kernels",
}
"""The peers, and the family of each; the peers of one family run in one process."""

KERNELS = "kernels"
ROOFS = ("roof torch", "roof numpy", "roof numba")


class NotOffered(Exception):
    """Raised if a peer cannot run a workload; the message is the reason."""


def prepare(peer: str, workload: Workload, threads: int) -> Step:
    """Return the step of a peer, ready to be made.

    Raises
    ------
    NotOffered
        If the peer, or a library that it needs, cannot run the workload.
    """
    family = FAMILIES[peer].partition("_")[0]
    module = importlib.import_module(f"numba_kernels.benchmarks.peers.{family}_peer")
    try:
        step: Step = module.PREPARE[peer](workload, threads)
    except ModuleNotFoundError as missing:
        raise NotOffered(f"{missing.name} is not installed") from missing
    return step
