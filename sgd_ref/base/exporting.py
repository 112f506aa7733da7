"""The state of an optimizer as a list of arrays, in the order of Keras, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base import weights
from sgd_ref.base.exclusive import Running, alone
from sgd_ref.base.exported import Weights, check_meaning, meaning_of
from sgd_ref.base.losses import Losses
from sgd_ref.base.settings import Settings
from sgd_ref.base.state import State


class Exporting(ABC):
    """The part of an optimizer that exports its state and sets it from exported arrays."""

    settings: Settings
    rate_source: Any
    _running: Running
    _losses: Losses

    @abstractmethod
    def built_state(self) -> State:
        """Return the state; the optimizer must be built."""

    @abstractmethod
    def constant_rate(self) -> np.float32 | None:
        """Return the learning rate if it is a number."""

    @property
    def variables(self) -> list[Array]:
        """The state in the order of Keras.

        First come the number of calls (int64) and, if it is a number, the learning rate (float32), as copies
        of shape (). Then come the averages, the accumulators and the velocities themselves. A number of calls
        beyond int64 raises a ValueError here, although training can go on.
        """
        return weights.variables(self.built_state(), self.constant_rate())

    @property
    def variable_names(self) -> list[str]:
        """The names of ``variables``, such as ``SGD/kernel_momentum``."""
        return weights.names(self.built_state(), self.settings.name, self.constant_rate() is not None)

    def get_weights(self) -> list[Array]:
        """Return a copy of ``variables`` that also knows the meaning of each array; refused during a step."""
        with alone(self._running):
            return Weights([np.array(array) for array in self.variables], meaning_of(self))

    def set_weights(self, values: Sequence[Any]) -> None:
        """Set the state from arrays in the order of ``variables``, all of it or nothing.

        Parameters
        ----------
        values : list of ndarray
            Of the shapes of ``variables``, and of their dtypes or narrower ones. A list that ``get_weights``
            returned must come from an optimizer with the same kinds of state, the same
            ``gradient_accumulation_steps`` and the same names of variables, unless one of the two has default
            names. A plain list is read in order.

        Raises
        ------
        TypeError, ValueError
            If the number of arrays, a shape, a dtype or a counter does not fit, or the list comes from an
            optimizer of another kind.
        RuntimeError
            If the optimizer has no variables yet, or is at work.
        """
        with alone(self._running):
            check_meaning(values, meaning_of(self))
            rate = self.assign_weights(values)
            if rate is not None:
                # After everything is set, since a warning may be an error.
                self._losses.tell_rate(rate, near_one=True)

    def assign_weights(self, values: Sequence[Any]) -> np.float32 | None:
        """Set the state as ``set_weights`` does; the caller makes sure that the optimizer is at no work.

        Returns
        -------
        float32 or None
            The learning rate among the values, if there is one; the caller has to warn if a dtype loses it.
        """
        rate = weights.assign(self.built_state(), values, self.constant_rate())
        if rate is not None:
            self.rate_source = rate
        return rate
