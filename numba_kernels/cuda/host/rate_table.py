"""Learning rates of the next calls, in device memory; the device's own count finds the right one."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.cuda.host.buffers import Buffer
from sgd_ref.base import learning_rate as rates
from sgd_ref.base.losses import Losses
from sgd_ref.schedules import LearningRateSchedule

AHEAD = 32
"""The number of learning rates that are computed and copied at a time."""


class RateTable:
    """The table of learning rates of one optimizer.

    Parameters
    ----------
    capacity : int
        Number of calls that the table has room for; a power of two, at least 2.

    Attributes
    ----------
    values, calls : Buffer
        The rates (float32), and the call that each belongs to (int64); the rate of call c is at c modulo the
        capacity.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.values = Buffer(np.zeros(capacity, np.float32))
        self.calls = Buffer(np.full(capacity, -1, np.int64))
        self._given: list[Any] = [None] * capacity
        self._source: Any = None
        self._end = 0

    @property
    def count(self) -> int:
        """The number of rates among which the device chooses: 1 if the rate is always the same."""
        return self.capacity if isinstance(self._source, LearningRateSchedule) else 1

    def forget(self) -> None:
        """Forget the rates, so that they are written again even if the table has them."""
        self._source = None

    def is_current(self, source: Any, first: int, last: int) -> bool:
        """Whether the rates of the calls from `first` to `last` are in the table."""
        if source is not self._source or not isinstance(source, (LearningRateSchedule, np.float32)):
            return False
        return isinstance(source, np.float32) or last < self._end

    def fill(self, source: Any, value: np.float32 | None, first: int, last: int) -> None:
        """Write the rates of calls on the host.

        Parameters
        ----------
        source : float32, schedule or callable
            The learning rate of the optimizer.
        value : float32 or None
            The value of a callable for the next call.
        first, last : int
            Calls that may come next; all rates of these, and of some more calls, are written.

        Raises
        ------
        ValueError
            If the table has no room for as many calls.
        """
        if not isinstance(source, LearningRateSchedule):
            self.values.host[0] = source if isinstance(source, np.float32) else value
            self._source = source
            return
        if last - first >= self.capacity:
            raise ValueError(
                f"calls must be at most {self.capacity}, as rates_ahead says, got {last - first + 1}"
            )
        end = min(max(last + 1, first + AHEAD), first + self.capacity)
        begin = first if source is not self._source or not first <= self._end else self._end
        found = []
        for call in range(begin, end):
            try:
                value = rates.given(source, call)
                found.append((value, rates.rounded(source, call, value)))
            except Exception:
                # The rate of a later call may never be needed, or may be in the table by then.
                if call <= last:
                    raise
                break
        for call, (value, rate) in enumerate(found, begin):
            place = call % self.capacity
            self.values.host[place], self.calls.host[place], self._given[place] = rate, call, value
        self._source, self._end = source, begin + len(found)

    def tell(self, losses: Losses, first: int, last: int) -> None:
        """Warn of the rates of calls, from a schedule and in the table, that a dtype loses."""
        for call in range(first, last + 1):
            place = call % self.capacity
            rate = self.values.host[place]
            if not losses.keep(float(rate)):
                losses.tell_given_rate(self._given[place], rate)
