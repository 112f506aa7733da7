"""Optimizers to be timed on a device: each prepares a workload and returns a step that does not wait.

A peer is a function of a workload. Its library is imported when the peer is prepared, in its own process.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from numba_kernels.benchmarks.peers import NotOffered, Step
from numba_kernels.benchmarks.workload import Workload

__all__ = ["FAMILIES", "KERNELS", "ROOFS", "TORCH", "NotOffered", "Prepared", "Step", "prepare"]


class Prepared(NamedTuple):
    """A peer that is ready to make steps.

    Attributes
    ----------
    step : function without arguments
        Starts one step, and may return before it is done.
    synchronise : function without arguments
        Returns when all steps that were started are done.
    """

    step: Step
    synchronise: Step


FAMILIES: Mapping[str, str] = {
    "kernels": "kernels",
    "kernels graph": "kernels",
    "torch fused": "torch",
    "torch foreach": "torch",
    "torch compiled": "torch",
    "torch graph": "torch",
    "optax": "optax",
    "roof torch": "torch",
    "roof driver": "roof",
}
"""The peers, and the family of each; the peers of one family run in one process."""

KERNELS = ("kernels", "kernels graph")
TORCH = ("torch fused", "torch foreach", "torch compiled", "torch graph")
ROOFS = ("roof torch", "roof driver")

Prepare = Callable[[Workload], Prepared]


def prepare(peer: str, workload: Workload) -> Prepared:
    """Return a peer that is ready to make steps.

    Raises
    ------
    NotOffered
        If the peer, or a library that it needs, cannot run the workload.
    """
    module = importlib.import_module(f"numba_kernels.benchmarks.device.peers.{FAMILIES[peer]}_peer")
    try:
        prepared: Prepared = module.PREPARE[peer](workload)
    except ModuleNotFoundError as missing:
        raise NotOffered(f"{missing.name} is not installed") from missing
    return prepared
