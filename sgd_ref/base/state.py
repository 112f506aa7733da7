"""The state of an optimizer: its variables, the arrays that it keeps for them, and the number of calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.aliasing import OccupiedMemory, memory_of
from sgd_ref.base.settings import Settings


@dataclass
class State:
    """What ``apply`` reads and changes.

    Attributes
    ----------
    names : list of str
        Names of the variables.
    variables : list of ndarray
        The caller's arrays, updated in place.
    decayed : list of bool
        Whether weight decay applies, for each variable.
    velocities, averages, accumulators : list of ndarray
        One for each variable, of its shape and dtype; empty where the feature is off.
    calls : int
        Number of calls made.
    has_copied_variables : bool
        Whether this state was copied, and its variables have not been given since: the user may have no
        reference to them.
    """

    names: list[str]
    variables: list[Array]
    decayed: list[bool]
    velocities: list[Array]
    averages: list[Array]
    accumulators: list[Array]
    calls: int = 0
    memory: OccupiedMemory = field(init=False, repr=False)
    forms: list[tuple[tuple[int, ...], np.dtype[Any]]] = field(init=False, repr=False)
    has_copied_variables: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        self.memory = OccupiedMemory(self.named_arrays())
        self.forms = [(array.shape, array.dtype) for _, array in self.named_arrays()]

    def __getstate__(self) -> dict[str, Any]:
        # `copy` and `pickle` call this method.
        return {**self.__dict__, "has_copied_variables": True}

    @staticmethod
    def zeros(variable: Array) -> Array:
        """Return memory for one array of state of a variable."""
        return np.zeros(variable.shape, variable.dtype)

    @classmethod
    def fresh(
        cls, settings: Settings, names: list[str], variables: list[Array], decayed: list[bool]
    ) -> State:
        """Return the state before the first call: zeros wherever a feature needs memory."""

        def slots(needed: bool) -> list[Array]:
            return [cls.zeros(variable) for variable in variables] if needed else []

        return cls(
            names=names,
            variables=variables,
            decayed=decayed,
            velocities=slots(settings.momentum != 0),
            averages=slots(settings.use_ema),
            accumulators=slots(settings.gradient_accumulation_steps is not None),
        )

    def named_arrays(self) -> list[tuple[str, Array]]:
        """Return all arrays that a step writes, each with its name for error messages."""
        named = list(zip(self.names, self.variables, strict=True))
        for kind, arrays in (
            ("the velocity", self.velocities),
            ("the average", self.averages),
            ("the accumulator", self.accumulators),
        ):
            named += [(f"{kind} of {name}", array) for name, array in zip(self.names, arrays, strict=False)]
        return named

    def check_forms(self) -> None:
        """Check that no array has got another shape or dtype in place.

        Raises
        ------
        ValueError
            If an array has.
        """
        for (name, array), (shape, dtype) in zip(self.named_arrays(), self.forms, strict=True):
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{name} must be {dtype} of shape {shape}, as it was when the optimizer was built, "
                    f"got {array.dtype} of shape {array.shape}"
                )

    def overwrite_by_averages(self) -> None:
        """Write the averages into the variables."""
        for variable, average in zip(memory_of(self.variables), self.averages, strict=True):
            variable[...] = average

    def slots(self) -> list[tuple[str, Array]]:
        """Return the arrays of state in the order of Keras, each with its kind."""
        return [
            *(("average", array) for array in self.averages),
            *(("gradient_accumulator", array) for array in self.accumulators),
            *(("momentum", array) for array in self.velocities),
        ]
