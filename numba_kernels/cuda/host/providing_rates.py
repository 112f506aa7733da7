"""The transfer of the learning rate of a call to the device before the step is launched."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.cuda.host.device_state import DeviceState
from sgd_ref.base.losses import Losses
from sgd_ref.schedules import LearningRateSchedule


def provide(
    state: DeviceState,
    rate_source: Any,
    learning_rate: np.float32,
    handle: int,
    is_captured: bool,
    losses: Losses,
) -> None:
    """Give the device the learning rate of a call.

    Parameters
    ----------
    state : DeviceState
        The state that the call changes.
    rate_source : float32, schedule or callable
        The learning rate as it was given.
    learning_rate : float32
        The rate of the call; NaN if the device finds it in a table.
    handle : int
        The stream of the launch.
    is_captured : bool
        Whether the stream is being captured.
    losses : Losses
        Warns of values of a schedule that a dtype loses. If the host does not know which calls were skipped,
        it warns as if none were.

    Raises
    ------
    RuntimeError
        If the stream is being captured, and the rate comes from a callable or is not on the device.
    """
    is_schedule = isinstance(rate_source, LearningRateSchedule)
    first, last = state.possible_calls()
    if is_captured:
        if not is_schedule and not isinstance(rate_source, np.float32):
            raise RuntimeError(
                "learning_rate must be a number or a schedule while a graph is captured, got a callable"
            )
        if not state.rates.is_current(rate_source, first, last):
            raise RuntimeError(
                "the device must know the learning rate before a graph is captured: "
                "make a call of apply, or of prepare_replays, outside of it"
            )
        return
    # So many calls may have been skipped, or replayed without the host knowing, that only the device knows
    # the count.
    if is_schedule and (state.has_graph or last - first >= state.rates.capacity // 2):
        state.learn_counts()
        first, last = state.possible_calls()
    state.provide_rates(rate_source, learning_rate, (first, last), handle)
    if is_schedule:
        state.rates.tell(losses, last, last)
