"""Mistakes of overwriting variables by their averages, during training and at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD, Values


class OtherOverwriting(SGD):
    """The common base of mistakes in which ``is_due`` chooses the updates that overwrite variables."""

    def overwrite(self, values: Values, call: Call) -> Values:
        """Overwrite all variables by their averages, if it is due in this update."""
        frequency = self.settings.ema_overwrite_frequency
        if not self.settings.use_ema or frequency is None or not self.is_due(frequency, call):
            return values
        return replace(values, variables=list(values.averages))

    def is_due(self, frequency: int, call: Call) -> bool:
        """Whether the variables are overwritten in this update."""
        return (self.updates_before(call) + 1) % frequency == 0


class OverwriteOneLate(OtherOverwriting):
    """Variables are overwritten in updates 1, K + 1, 2 K + 1, ... for a frequency of K.

    The documentation: "Every ema_overwrite_frequency steps of iterations". Evidence: no report is known.
    """

    def is_due(self, frequency: int, call: Call) -> bool:
        """Count only the updates before this one."""
        return self.updates_before(call) % frequency == 0


class OverwriteCountsCalls(OtherOverwriting):
    """Under accumulation the frequency of overwriting counts calls, not updates.

    The core code counts updates (`iterations` in `keras/src/optimizers/base_optimizer.py`). Evidence: no
    report is known.
    """

    def is_due(self, frequency: int, call: Call) -> bool:
        """Count calls."""
        return (call.state.calls + 1) % frequency == 0


class OverwriteInEveryUpdate(OtherOverwriting):
    """Variables are overwritten in every update, whatever the frequency is.

    Evidence: no report is known.
    """

    def is_due(self, frequency: int, call: Call) -> bool:
        """Overwrite in every update."""
        return True


class OverwriteIgnored(OtherOverwriting):
    """`ema_overwrite_frequency` is accepted and does nothing.

    Evidence: no report is known.
    """

    def is_due(self, frequency: int, call: Call) -> bool:
        """Overwrite in no update."""
        return False


class OverwriteAverages(SGD):
    """Where overwriting is due the averages are overwritten by the variables.

    The documentation: "we overwrite the model variable by its moving average". Evidence: no report is
    known.
    """

    def overwrite(self, values: Values, call: Call) -> Values:
        """Copy in the other direction."""
        overwritten = super().overwrite(values, call)
        if overwritten is values:
            return values
        return replace(values, averages=[np.array(w) for w in values.variables])


class OverwriteExchanges(SGD):
    """Where overwriting is due variables and averages are exchanged.

    The documentation: "we overwrite the model variable by its moving average". Evidence: no report is
    known.
    """

    def overwrite(self, values: Values, call: Call) -> Values:
        """Keep the variables as averages."""
        overwritten = super().overwrite(values, call)
        if overwritten is values:
            return values
        # Without the copy, averages and variables would be the same arrays, and the step writes the variables
        # first.
        return replace(overwritten, averages=[np.array(w) for w in values.variables])


class OverwriteBeforeAverage(SGD):
    """Variables are overwritten by the averages of the update before, and then averaged.

    The core code averages first. Evidence: no report is known.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Overwrite, then average."""
        if self.updates_before(call) > 0:
            values = super().overwrite(values, call)
        return super().average(values, call)

    def overwrite(self, values: Values, call: Call) -> Values:
        """Leave the variables as they are, since they were overwritten before."""
        return values


class OverwriteWhileAccumulating(SGD):
    """Variables are also overwritten in the calls that accumulate for an update with which it is due.

    The documentation: variables "will be updated every `gradient_accumulation_steps` steps". Evidence: no
    report is known.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Overwrite after accumulating, too, once there are averages."""
        advanced = super().advance(values, call, loss_scale)
        if self.accumulates(call) and self.updates_before(call) > 0:
            return self.overwrite(advanced, call)
        return advanced


class OverwriteResetsVelocities(SGD):
    """Where variables are overwritten their velocities become 0.

    The documentation overwrites only the variables. Evidence: no report is known.
    """

    def overwrite(self, values: Values, call: Call) -> Values:
        """Reset the velocities, too."""
        overwritten = super().overwrite(values, call)
        if overwritten is values:
            return values
        return replace(overwritten, velocities=[np.zeros_like(v) for v in values.velocities])


class FinalizeIgnored(SGD):
    """``finalize_variable_values`` does nothing.

    The documentation: it "updates the model variables in-place". Evidence: no report is
    known.
    """

    def finalize_variable_values(self, variables: Sequence[Array]) -> None:
        """Do nothing."""


class FinalizeOverwritesAverages(SGD):
    """``finalize_variable_values`` overwrites the averages by the variables.

    Evidence: no report is known.
    """

    def finalize_variable_values(self, variables: Sequence[Array]) -> None:
        """Copy in the other direction."""
        state = self.built_state()
        for average, w in zip(state.averages, state.variables, strict=False):
            average[...] = w


class FinalizeExchanges(SGD):
    """``finalize_variable_values`` exchanges variables and averages.

    The averages must stay as they are. Evidence: no report is known.
    """

    def finalize_variable_values(self, variables: Sequence[Array]) -> None:
        """Keep the variables as averages."""
        state = self.built_state()
        before = [np.array(w) for w in state.variables]
        super().finalize_variable_values(variables)
        for average, w in zip(state.averages, before, strict=False):
            average[...] = w


class FinalizeAveragesOnceMore(SGD):
    """``finalize_variable_values`` averages the variables once more before it copies the averages.

    The core code copies. Evidence: no report is known.
    """

    def finalize_variable_values(self, variables: Sequence[Array]) -> None:
        """Average and copy."""
        state = self.built_state()
        values = Values(state.variables, state.velocities, state.averages, state.accumulators)
        if self.iterations > 0:
            with np.errstate(all="ignore"):
                averaged = self.average(values, Call(state, [], np.float32(0)))
            for average, result in zip(state.averages, averaged.averages, strict=True):
                average[...] = result
        super().finalize_variable_values(variables)


class FinalizeLostInWrapper(LossScaleOptimizer):
    """Under dynamic loss scaling ``finalize_variable_values`` does nothing.

    Evidence: a wrapper that did not pass it on, https://github.com/keras-team/keras/pull/17225.
    """

    def finalize_variable_values(self, variables: Sequence[Array]) -> None:
        """Do nothing."""


OVERWRITING = (
    mistake("overwrite-one-late", OverwriteOneLate),
    mistake("overwrite-counts-calls", OverwriteCountsCalls),
    mistake("overwrite-in-every-update", OverwriteInEveryUpdate),
    mistake("overwrite-ignored", OverwriteIgnored),
    mistake("averages-overwritten-by-variables", OverwriteAverages),
    mistake("overwrite-exchanges", OverwriteExchanges),
    mistake("overwrite-before-average", OverwriteBeforeAverage),
    mistake("overwrite-while-accumulating", OverwriteWhileAccumulating),
    mistake("overwrite-resets-velocities", OverwriteResetsVelocities),
    mistake("finalize-ignored", FinalizeIgnored),
    mistake("finalize-overwrites-averages", FinalizeOverwritesAverages),
    mistake("finalize-exchanges", FinalizeExchanges),
    mistake("finalize-averages-once-more", FinalizeAveragesOnceMore),
    mistake("finalize-lost-in-wrapper", wrapper=FinalizeLostInWrapper),
)
