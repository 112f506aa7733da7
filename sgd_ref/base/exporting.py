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
    """What an optimizer gives of its state, and takes."""

    settings: Settings
    rate_source: Any
    _running: Running
    _losses: Losses

    @abstractmethod
    def built_state(self) -> State:
        """Return the state, which must be there."""

    @abstractmethod
    def constant_rate(self) -> np.float32 | None:
        """Return the learning rate where it is a number."""

    @property
    def variables(self) -> list[Array]:
        """The state in the order of Keras.

        The number of calls (int64) and the learning rate (float32) where it is a number, as copies of shape
        (); then the averages, the accumulators and the velocities themselves. A number of calls beyond int64
        is a ValueError; training goes on beyond it.
        """
        return weights.variables(self.built_state(), self.constant_rate())

    @property
    def variable_names(self) -> list[str]:
        """The names of ``variables``, such as ``SGD/kernel_momentum``."""
        return weights.names(self.built_state(), self.settings.name, self.constant_rate() is not None)

    def get_weights(self) -> list[Array]:
        """Return a copy of ``variables``, a list with the meaning of its arrays; refused during a step."""
        with alone(self._running):
            return Weights([np.array(array) for array in self.variables], meaning_of(self))

    def set_weights(self, values: Sequence[Any]) -> None:
        """Set the state from arrays in the order of ``variables``, all of it or nothing.

        Parameters
        ----------
        values : list of ndarray
            Of the shapes of ``variables``, and of their dtypes or narrower ones. What ``get_weights``
            returned must come from an optimizer with the same kinds of state, ``gradient_accumulation_steps``
            and names of variables, unless one of the two has default names. A plain list goes by position.

        Raises
        ------
        TypeError, ValueError
            If the number of arrays, a shape, a dtype or a counter does not fit, or the list knows that its
            arrays are others.
        RuntimeError
            If the optimizer has no variables yet, or is at work.
        """
        with alone(self._running):
            check_meaning(values, meaning_of(self))
            rate = self.assign_weights(values)
            if rate is not None:
                # When all is set, since a warning may be an error.
                self._losses.tell_rate(rate, near_one=True)

    def assign_weights(self, values: Sequence[Any]) -> np.float32 | None:
        """Set the state as ``set_weights`` does, for one who has seen to it that the optimizer is at no work.

        Returns
        -------
        float32 or None
            The learning rate among the values, where there is one; a loss of it is still to be told.
        """
        rate = weights.assign(self.built_state(), values, self.constant_rate())
        if rate is not None:
            self.rate_source = rate
        return rate
