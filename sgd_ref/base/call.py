"""One call of ``apply``, checked, before anything changes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.state import State


class Call(NamedTuple):
    """One call of ``apply`` after validation.

    Attributes
    ----------
    state : State
        The state to advance; a fresh one in the call that builds the optimizer.
    gradients : list of ndarray or None
        One for each variable, dense, in the dtype of the variable. The fast kernels keep sparse and
        narrower gradients as they are.
    learning_rate : float32
        Read once, before anything changes.
    """

    state: State
    gradients: list[Any]
    learning_rate: np.float32

    def rate(self, dtype: np.dtype[Any]) -> Any:
        """Return the learning rate, rounded once to the dtype of a variable."""
        return setting(float(self.learning_rate), dtype)
