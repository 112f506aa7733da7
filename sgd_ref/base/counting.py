"""The number of calls made, and which of the calls update the variables."""

from __future__ import annotations

from sgd_ref.base.call import Call
from sgd_ref.base.settings import Settings
from sgd_ref.base.state import State


class Counting:
    """The counts of an optimizer."""

    settings: Settings
    _state: State | None

    @property
    def calls(self) -> int:
        """Number of calls of ``apply`` made, accumulating ones included."""
        return 0 if self._state is None else self._state.calls

    @property
    def iterations(self) -> int:
        """Number of updates made: one for each call or, with accumulation, one for every N calls."""
        return self.calls // (self.settings.gradient_accumulation_steps or 1)

    def accumulates(self, call: Call) -> bool:
        """Whether a call only adds to the accumulators: every N-th call updates, all others accumulate."""
        steps = self.settings.gradient_accumulation_steps
        return steps is not None and (call.state.calls + 1) % steps != 0

    def updates_before(self, call: Call) -> int:
        """Return the number of updates made before a call."""
        return call.state.calls // (self.settings.gradient_accumulation_steps or 1)
