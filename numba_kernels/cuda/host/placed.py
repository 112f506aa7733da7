"""One call on the device, accepted, with all that its launches need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.cuda.host.device_state import DeviceState
from numba_kernels.cuda.host.program import Launch
from sgd_ref.arithmetic.formats import Array


class Placed(NamedTuple):
    """A call with the addresses of its gradients.

    Attributes
    ----------
    state : DeviceState
        The state to advance; a fresh one in the call that builds the optimizer.
    gradients : list
        Those on the device, as they were given.
    addresses : ndarray of int64
        The addresses of the gradients; 0 for a missing one.
    has_gradient : list of bool
        Which variables have one.
    before : list of Launch
        Copies of gradients.
    learning_rate : float32
        Of the call; NaN where a schedule is in a table.
    """

    state: DeviceState
    gradients: Sequence[Any]
    addresses: Array
    has_gradient: list[bool]
    before: list[Launch]
    learning_rate: np.float32
