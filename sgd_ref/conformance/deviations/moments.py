"""Two moments at which a velocity may be shown: at the end of a call, or right after its variable's update.

They differ if several variables have one velocity. An optimizer may show that velocity itself, as it is at
the end. Or it may show each variable what this variable was updated with, which later variables leave alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.conformance.catalogue.case import Record
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD


class ShowsEarlier(SGD):
    """The common base of mistakes whose velocities may be shown before the end of a call.

    Attributes
    ----------
    earlier : dict of int to ndarray
        For each variable that was updated, by its position, its velocity right after its latest update.
    """

    earlier: dict[int, Array]

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.earlier = {}

    def go_on(self) -> None:
        """Make the next call from the velocities that were shown after this one."""


def earlier_velocity(optimizer: Any, position: int) -> Array | None:
    """Return the velocity of a variable right after its update, if it may be shown like this; otherwise None.

    Parameters
    ----------
    optimizer : SGD or LossScaleOptimizer
        An optimizer, after a call.
    position : int
        The position of the variable.

    Examples
    --------
    >>> earlier_velocity(SGD(), 0) is None
    True
    """
    inner = _inner(optimizer)
    return inner.earlier.get(position) if isinstance(inner, ShowsEarlier) else None


def go_on(optimizer: Any) -> None:
    """Prepare an optimizer whose state was replaced by the one that was shown for its next call."""
    inner = _inner(optimizer)
    if isinstance(inner, ShowsEarlier):
        inner.go_on()


def as_shown(optimizer: Any, record: Record, seen: Record) -> Record:
    """Return the record of a call, with each velocity at the moment that is nearer to what was seen.

    Parameters
    ----------
    optimizer : SGD or LossScaleOptimizer
        The optimizer that made the call.
    record, seen : dict
        Its record, and the one that was observed.
    """
    pairs = list(zip(record.get("velocities") or (), seen.get("velocities") or (), strict=False))
    earlier = [earlier_velocity(optimizer, position) for position in range(len(pairs))]
    if all(velocity is None for velocity in earlier):
        return record
    shown = [
        late if early is None or _distance(late, given) <= _distance(early, given) else np.array(early)
        for (late, given), early in zip(pairs, earlier, strict=True)
    ]
    return {**record, "velocities": shown}


def _inner(optimizer: Any) -> Any:
    return optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer


def _distance(one: Array, other: Any) -> float:
    """Return the largest distance of two elements; elements that are equal or both NaN have none."""
    with np.errstate(all="ignore"):
        first, second = (np.asarray(array).astype(FLOAT64) for array in (one, other))
        equal = (first == second) | (np.isnan(first) & np.isnan(second))
        distances = np.where(equal, 0.0, np.abs(first - second))
    return float(np.nan_to_num(distances, nan=np.inf, posinf=np.inf).max(initial=0.0))
