"""Optimizers to be timed: each prepares a workload and returns the function that makes one step of it.

A peer is a function of a workload and a number of threads. It returns a function without arguments that makes
one step and returns when the step is done, and where there are variables, a function that shows them.
Frameworks are imported when a peer is prepared, in a process of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from numba_kernels.benchmarks.workload import Workload

Step = Callable[[], Any]


class Prepared(NamedTuple):
    """A step, ready to be made.

    Attributes
    ----------
    step : callable
        Makes one step.
    variables : callable or None
        Returns the variables as they are after the steps made so far, as arrays; None where there are none.
    """

    step: Step
    variables: Callable[[], Sequence[Any]] | None = None


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


def prepare(peer: str, workload: Workload, threads: int) -> Prepared:
    """Return the step of a peer, ready to be made.

    Raises
    ------
    NotOffered
        If the peer, or a library that it needs, cannot run the workload.
    """
    family = FAMILIES[peer].partition("_")[0]
    module = importlib.import_module(f"numba_kernels.benchmarks.peers.{family}_peer")
    try:
        made: Prepared | Step = module.PREPARE[peer](workload, threads)
    except ModuleNotFoundError as missing:
        raise NotOffered(f"{missing.name} is not installed") from missing
    return made if isinstance(made, Prepared) else Prepared(made)
