"""What is seen of a training loop: its parameters, their settings, and each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array


@dataclass(frozen=True)
class Parameter:
    """One array that the optimizer updates.

    Attributes
    ----------
    name : str
        As the model has it.
    shape : tuple of int
        Its shape.
    dtype : dtype
        One of the four of the kit.

    Examples
    --------
    >>> Parameter("bias", (3, 2), np.dtype("float32")).size
    6
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Group:
    """Parameters that share all settings.

    Attributes
    ----------
    positions : tuple of int
        Which parameters.
    config : dict
        Their settings, as of ``SGD.get_config()``; the learning rate in it means nothing.
    excluded : tuple of str
        Names of those that do not decay.
    """

    positions: tuple[int, ...]
    config: Mapping[str, Any]
    excluded: tuple[str, ...] = ()


@dataclass
class Values:
    """What is seen of all parameters at one moment, in the order of the parameters.

    Attributes
    ----------
    variables : list of ndarray
        Their elements, as far as they are looked at.
    velocities, averages, accumulators : list of ndarray, or None
        The same of the state; None where it is not seen.
    """

    variables: list[Array]
    velocities: list[Array] | None = None
    averages: list[Array] | None = None
    accumulators: list[Array] | None = None

    def of(self, group: Group, positions: Sequence[int] | None = None) -> dict[str, list[Array]]:
        """Return those of the parameters of a group, by quantities; what is not seen or is off is missing.

        Parameters
        ----------
        group : Group
            Its settings say what is off.
        positions : sequence of int, optional
            Some of its parameters.

        Examples
        --------
        >>> config = {"momentum": 0.0, "use_ema": False, "gradient_accumulation_steps": None}
        >>> Values([np.ones(1), np.zeros(2)], velocities=[]).of(Group((1,), config))
        {'variables': [array([0., 0.])]}
        """
        is_on = {
            "variables": True,
            "velocities": group.config["momentum"] != 0,
            "averages": group.config["use_ema"],
            "accumulators": group.config["gradient_accumulation_steps"] is not None,
        }
        chosen = group.positions if positions is None else positions
        return {
            quantity: [arrays[position] for position in chosen]
            for quantity, arrays in vars(self).items()
            if arrays is not None and is_on[quantity]
        }


@dataclass
class Step:
    """One step of the optimizer.

    Attributes
    ----------
    number : int
        Counted from 0.
    calls : int
        Calls of the optimizer before it.
    groups : tuple of Group
        The settings of this step.
    rates : tuple of float
        The learning rate of each group.
    before, after : Values
        What was seen before and after it.
    gradients : list of ndarray or None
        One for each parameter.
    squares : list of float or None
        The sum of the squares of each whole gradient; empty where no norm needs it.
    follows : bool
        Whether it starts from what was seen after the step before.
    """

    number: int
    calls: int
    groups: tuple[Group, ...]
    rates: tuple[float, ...]
    before: Values
    gradients: list[Array | None]
    after: Values
    squares: list[float | None] = field(default_factory=list)
    follows: bool = True
