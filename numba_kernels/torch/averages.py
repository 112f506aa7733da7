"""Parameters replaced by their averages, temporarily or permanently."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from numba_kernels.torch.state import AVERAGE
from sgd_ref.base.losses import level_of_user


def averaged(optimizer: Any, steps: int) -> list[tuple[Any, Any]]:
    """Return each parameter that has an average, with the average; warn of groups without averages.

    Parameters
    ----------
    optimizer : SGD
        An optimizer with averages.
    steps : int
        The number of calls for each update.
    """
    pairs: list[tuple[Any, Any]] = []
    for index, group in enumerate(optimizer.param_groups):
        if group["calls"] < steps:
            warnings.warn(
                f"param_groups[{index}] has no averages before its first update, and keeps its parameters",
                stacklevel=level_of_user(),
            )
            continue
        pairs += [(parameter, optimizer.state[parameter][AVERAGE]) for parameter in group["params"]]
    return pairs


def overwrite(pairs: list[tuple[Any, Any]]) -> None:
    """Copy the second tensor of each pair into the first."""
    with torch.no_grad():
        for parameter, values in pairs:
            parameter.copy_(values)


@contextmanager
def swapped(pairs: list[tuple[Any, Any]]) -> Iterator[None]:
    """Give the parameters other values within a ``with`` statement."""
    kept = [(parameter, parameter.detach().clone()) for parameter, _ in pairs]
    try:
        overwrite(pairs)
        yield
    finally:
        overwrite(kept)
