"""One accepted call on the device, with everything that its launches need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.cuda.host.device_state import DeviceState
from numba_kernels.cuda.host.program import Launch
from numba_kernels.shared.rows import Rows
from sgd_ref.arithmetic.formats import Array


class Placed(NamedTuple):
    """A call with the addresses of its gradients.

    Attributes
    ----------
    state : DeviceState
        The state to advance; a fresh one in the call that builds the optimizer.
    gradients : list
        The given gradients that are on the device.
    addresses : ndarray of int64
        The addresses of the gradients; 0 for a missing one.
    has_gradient : list of bool
        Whether each variable has a gradient.
    before : list of Launch
        Launches that copy gradients before the step.
    learning_rate : float32
        The learning rate of the call; NaN if the values of a schedule are in a table.
    rows : mapping of int to Rows
        The sparse gradients that change their own rows only, by the position of their variable.
    """

    state: DeviceState
    gradients: Sequence[Any]
    addresses: Array
    has_gradient: list[bool]
    before: list[Launch]
    learning_rate: np.float32
    rows: Mapping[int, Rows] = {}
