"""Mistakes that lose digits: settings, state and results have fewer bits than the variable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.base.call import Call
from sgd_ref.base.settings import CLIPPINGS, Settings
from sgd_ref.conformance.deviations.deviation import SINGLE_AND_DOUBLE, apart, has_dtype
from sgd_ref.conformance.deviations.mistakes.mistake import each, mistake
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import SGD, Gradients, Values


class RateInBfloat(SGD):
    """The learning rate is rounded to bfloat16.

    The definition rounds it to float32 and to the dtype of the variable. Evidence: no report is known.
    """

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> Call:
        """Round the rate."""
        call = super().validated(gradients, variables)
        return call._replace(learning_rate=np.float32(setting(float(call.learning_rate), BFLOAT16)))


class MomentumInBfloat(SGD):
    """`momentum` is rounded to bfloat16: 0.9 becomes 0.8984375.

    The definition rounds it to the dtype of the variable. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.settings = _in_bfloat16(self.settings, "momentum")


class DecayInBfloat(SGD):
    """`weight_decay` is rounded to bfloat16.

    The definition rounds it to the dtype of the variable. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.settings = _in_bfloat16(self.settings, "weight_decay")


class LimitsInBfloat(SGD):
    """`clipnorm`, `clipvalue` and `global_clipnorm` are rounded to bfloat16.

    The definition rounds them to the dtype of the gradient. Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.settings = _in_bfloat16(self.settings, *CLIPPINGS)


class AveragingInBfloat(SGD):
    """`ema_momentum` is rounded to bfloat16: 0.999 becomes 1, and the averages stand still.

    The definition rounds it to the dtype of the variable. Evidence: averages that never changed,
    https://github.com/konpatp/diffae/issues/16.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.settings = _in_bfloat16(self.settings, "ema_momentum")


class VelocitiesInBfloat(SGD):
    """Velocities are rounded to bfloat16 as they are stored.

    The definition keeps them in the dtype of the variable. Evidence:
    https://github.com/tinygrad/tinygrad/pull/10387.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update, then round the velocities."""
        updated = super().update(values, gradients, call)
        return replace(updated, velocities=[_through(BFLOAT16, v) for v in updated.velocities])


class AveragesInBfloat(SGD):
    """Averages are rounded to bfloat16 as they are stored.

    The definition keeps them in the dtype of the variable. Evidence:
    https://github.com/d8ahazard/sd_dreambooth_extension/pull/1417.
    """

    def average(self, values: Values, call: Call) -> Values:
        """Average, then round."""
        averaged = super().average(values, call)
        return replace(averaged, averages=[_through(BFLOAT16, average) for average in averaged.averages])


class StateInSingle(SGD):
    """The whole state of float64 variables is stored in float32: velocities, averages and accumulators.

    The definition keeps them in the dtype of the variable. Evidence: no report is known.
    """

    narrowed: tuple[np.dtype[Any], ...] = (FLOAT64,)
    stored: np.dtype[Any] = FLOAT32

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Make the step, then round the state."""
        advanced = super().advance(values, call, loss_scale)
        return replace(
            advanced,
            velocities=[self._stored(array) for array in advanced.velocities],
            averages=[self._stored(array) for array in advanced.averages],
            accumulators=[self._stored(array) for array in advanced.accumulators],
        )

    def _stored(self, array: Array) -> Array:
        return _through(self.stored, array) if array.dtype in self.narrowed else array


class StateInHalf(StateInSingle):
    """The whole state of float32 and float64 variables is stored in float16.

    The definition keeps it in the dtype of the variable. Evidence: no report is known.
    """

    narrowed = SINGLE_AND_DOUBLE
    stored = FLOAT16


class VariablesInBfloat(SGD):
    """Variables are rounded to bfloat16 by every update.

    A step below half a unit is lost. The definition keeps them in their dtype. Evidence: weights that never
    moved, https://github.com/workofart/ml-by-hand/pull/85.
    """

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update, then round the variables."""
        updated = super().update(values, gradients, call)
        rounded = [
            old if gradient is None else _through(BFLOAT16, new)
            for old, new, gradient in zip(values.variables, updated.variables, gradients, strict=True)
        ]
        return replace(updated, variables=rounded)


class GradientsInHalf(SGD):
    """Unscaled gradients are rounded to float16, as if to compress them.

    The definition keeps them in the dtype of the variable. Evidence: no report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Unscale, then round."""
        return each(super().unscale(gradients, loss_scale), lambda g: _through(FLOAT16, g))


class GradientsInBfloat(SGD):
    """Unscaled gradients are rounded to bfloat16, as if to compress them.

    The definition keeps them in the dtype of the variable. Evidence: no report is known.
    """

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Unscale, then round."""
        return each(super().unscale(gradients, loss_scale), lambda g: _through(BFLOAT16, g))


class UpdatedInOtherDtype(SGD):
    """The common base of mistakes that update in another dtype, and round the results in another way."""

    concerned: tuple[np.dtype[Any], ...] = ()
    working = FLOAT32

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Convert operands, update, and round the results."""
        mine, others = apart(gradients, has_dtype(*self.concerned))
        updated = super().update(values, others, call)
        converted = replace(
            updated,
            variables=[self._converted(array) for array in updated.variables],
            velocities=[self._converted(array) for array in updated.velocities],
        )
        results = super().update(converted, each(mine, self._converted), call)
        return replace(
            updated,
            variables=self._chosen(updated.variables, results.variables, mine, call),
            velocities=self._chosen(updated.velocities, results.velocities, mine, call),
        )

    def rounded(self, result: Array, dtype: np.dtype[Any], call: Call) -> Array:
        """Return a result in the dtype of its variable."""
        return convert(result, dtype)

    def _converted(self, array: Array) -> Array:
        return convert(np.asarray(array), self.working) if array.dtype in self.concerned else array

    def _chosen(self, others: list[Array], results: list[Array], mine: Gradients, call: Call) -> list[Array]:
        return [
            other if gradient is None else self.rounded(np.asarray(result), other.dtype, call)
            for other, result, gradient in zip(others, results, mine, strict=False)
        ]


class DoubleInSingle(UpdatedInOtherDtype):
    """Variables and velocities of float64 are updated in float32.

    The definition stays in the dtype of the variable. Evidence: no report is known.
    """

    concerned = (FLOAT64,)


class RoundedTowardsZero(UpdatedInOtherDtype):
    """Half variables are updated in float32, and the results are cut off.

    The definition rounds to nearest. Evidence: no report is known.
    """

    concerned = HALF_FORMATS

    def rounded(self, result: Array, dtype: np.dtype[Any], call: Call) -> Array:
        """Round towards zero."""
        return _towards_zero(result, dtype)


class RoundedAtRandom(UpdatedInOtherDtype):
    """Half variables are updated in float32, and the results are rounded up or down at random.

    The nearer neighbour is more likely. The definition rounds to nearest. Evidence: an option of other
    optimizers, https://github.com/pytorch/ao/pull/1124.
    """

    concerned = HALF_FORMATS

    def rounded(self, result: Array, dtype: np.dtype[Any], call: Call) -> Array:
        """Round to one of the two neighbours."""
        lower = _towards_zero(result, dtype)
        upper = np.nextafter(lower, np.copysign(np.array(np.inf, dtype), lower))
        share = (convert(result, FLOAT64) - convert(lower, FLOAT64)) / (
            convert(upper, FLOAT64) - convert(lower, FLOAT64)
        )
        chance = np.random.default_rng(call.state.calls).random(result.shape)
        return np.where(chance < share, upper, lower)


def _in_bfloat16(settings: Settings, *names: str) -> Settings:
    values = {name: getattr(settings, name) for name in names}
    rounded: dict[str, Any] = {
        name: float(setting(value, BFLOAT16)) for name, value in values.items() if value is not None
    }
    return replace(settings, **rounded)


def _through(dtype: np.dtype[Any], array: Array) -> Array:
    """Round to a dtype and back."""
    return convert(convert(np.asarray(array), dtype), array.dtype)


def _towards_zero(array: Array, dtype: np.dtype[Any]) -> Array:
    nearest = convert(array, dtype)
    too_large = np.abs(convert(nearest, array.dtype)) > np.abs(array)
    return np.where(too_large, np.nextafter(nearest, np.array(0, dtype)), nearest)


PRECISION = (
    mistake("state-in-float16", StateInHalf),
    mistake("state-in-float32", StateInSingle),
    mistake("rate-in-bfloat16", RateInBfloat),
    mistake("momentum-in-bfloat16", MomentumInBfloat),
    mistake("weight-decay-in-bfloat16", DecayInBfloat),
    mistake("limits-in-bfloat16", LimitsInBfloat),
    mistake("ema-momentum-in-bfloat16", AveragingInBfloat),
    mistake("velocities-in-bfloat16", VelocitiesInBfloat),
    mistake("averages-in-bfloat16", AveragesInBfloat),
    mistake("variables-in-bfloat16", VariablesInBfloat),
    mistake("gradients-in-float16", GradientsInHalf),
    mistake("gradients-in-bfloat16", GradientsInBfloat),
    mistake("float64-updated-in-float32", DoubleInSingle),
    mistake("half-rounded-towards-zero", RoundedTowardsZero),
    mistake("half-rounded-at-random", RoundedAtRandom),
)
