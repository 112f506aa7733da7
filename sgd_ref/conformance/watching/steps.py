"""The observed data of a training loop: its parameters, their settings, and each step."""

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
        Its name in the model.
    shape : tuple of int
        Its shape.
    dtype : dtype
        One of the four dtypes of the kit.

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
        Positions of the parameters among those of the model.
    config : dict
        Their settings, as of ``SGD.get_config()``; its learning rate is not used.
    excluded : tuple of str
        Names of the parameters that do not decay.
    """

    positions: tuple[int, ...]
    config: Mapping[str, Any]
    excluded: tuple[str, ...] = ()


@dataclass
class Values:
    """The values of all parameters that were seen at one moment, in the order of the parameters.

    Attributes
    ----------
    variables : list of ndarray
        The sampled elements of the variables.
    velocities, averages, accumulators : list of ndarray, or None
        The sampled elements of the state; None if the optimizer does not show it.
    """

    variables: list[Array]
    velocities: list[Array] | None = None
    averages: list[Array] | None = None
    accumulators: list[Array] | None = None

    def of(self, group: Group, positions: Sequence[int] | None = None) -> dict[str, list[Array]]:
        """Return the values of a group's parameters, by the quantities that are on and seen.

        Parameters
        ----------
        group : Group
            The group; its settings say which quantities are off.
        positions : sequence of int, optional
            Positions of some of its parameters; by default, all.

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
        The number of calls of the optimizer before the step.
    groups : tuple of Group
        The settings of this step.
    rates : tuple of float
        The learning rate of each group.
    before, after : Values
        The values that were seen before and after the step.
    gradients : list of ndarray or None
        The gradient of each parameter; None if it has none.
    squares : list of float or None
        The sum of the squares of each whole gradient; empty if no norm needs it.
    follows : bool
        Whether the step starts from the values that were seen after the step before it.
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
