"""Weight decay in other roundings, and of other variables."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.base.call import Call
from sgd_ref.base.state import State
from sgd_ref.conformance.deviations.deviation import SINGLE_AND_DOUBLE, apart, has_dtype
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.optimizer import SGD, Gradients, Values


class ZeroDecaySkipped(SGD):
    """A `weight_decay` of 0.0 decays nothing, so that an infinite weight stays infinite.

    0.0 counts as set: the core code (`BaseOptimizer._apply_weight_decay`) omits decay only for None, and
    infinity times 0 is NaN. Evidence: `if weight_decay != 0` in `torch/optim/sgd.py`, PyTorch 2.13.0.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        # This holds for every formula of weight decay.
        if self.settings.weight_decay == 0:
            self.settings = replace(self.settings, weight_decay=None)


class DecayByOneFactor(SGD):
    """Weights are multiplied by ``1 - weight_decay * learning_rate``, formed in float32 or wider.

    The core code (`BaseOptimizer._apply_weight_decay`) subtracts ``w * weight_decay * learning_rate``;
    so an infinite weight stays infinite with a weight_decay of 0.0, where the definition has NaN.
    Evidence: `_apply_weight_decay` in `keras/src/backend/torch/optimizers/torch_optimizer.py`.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Multiply once."""
        mine, others = apart(gradients, has_dtype(*HALF_FORMATS, FLOAT32))
        values = super().decay(values, others, call)
        return _decayed(values, mine, call, self.settings.weight_decay, _times_factor)


class DecayFactorInSingle(SGD):
    """The factor ``1 - weight_decay * learning_rate`` for float64 weights is formed in float32.

    The core code casts both settings to the dtype of the variable first. Rounding the factor to float32
    causes a relative error of up to 2**-25 in every weight. Evidence: as for the factor in float32, in
    `keras/src/backend/torch/optimizers/torch_optimizer.py`, where the learning rate is a float32 tensor.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Multiply float64 variables once."""
        mine, others = apart(gradients, has_dtype(FLOAT64))
        values = super().decay(values, others, call)
        return _decayed(values, mine, call, self.settings.weight_decay, _times_factor)


class DecayReassociated(SGD):
    """The settings are multiplied first: ``w - w * (weight_decay * learning_rate)``.

    The core code multiplies from left to right. Evidence: Grappler, the graph optimizer that
    `tf.function` runs, and XLA both move the product of constants together.
    """

    def decayed(self, w: Array, weight_decay: Any, rate: Any) -> Any:
        """Multiply the settings first."""
        return w - w * (weight_decay * rate)


class DecayFused(SGD):
    """In float32 and float64 ``fma(-w, weight_decay * learning_rate, w)``, with one rounding less.

    The core code multiplies from left to right and rounds each product. Evidence: XLA reassociates the
    product and contracts it with the difference, for processors that have the instruction.
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Decay by a fused formula where the gradient is in float32 or float64."""
        mine, others = apart(gradients, has_dtype(*SINGLE_AND_DOUBLE))
        values = super().decay(values, others, call)
        return _decayed(
            values,
            mine,
            call,
            self.settings.weight_decay,
            lambda w, weight_decay, rate: fused_multiply_add(
                -w, setting(weight_decay, w.dtype) * setting(float(rate), w.dtype), w
            ),
        )


class ExclusionByPattern(SGD):
    """Strings in `var_names` are regular expressions: 'pr.be' excludes 'probe'.

    The documentation says that a variable is excluded if the string appears in its name. Evidence:
    `re.compile` in `exclude_from_weight_decay` and `re.search` in `_use_weight_decay` of
    `keras/src/optimizers/base_optimizer.py`.
    """

    def fresh_state(self, variables: Sequence[Array], names: Sequence[str] | None) -> State:
        """Search for the strings as patterns."""
        state = super().fresh_state(variables, names)
        pattern = re.compile("|".join(self.exclusion.substrings))
        if self.exclusion.substrings:
            state.decayed = [
                applies and pattern.search(name) is None
                for name, applies in zip(state.names, state.decayed, strict=True)
            ]
        return state


Formula = Callable[[Array, float, np.floating[Any]], Array]


def _decayed(
    values: Values, gradients: Gradients, call: Call, weight_decay: float | None, formula: Formula
) -> Values:
    if weight_decay is None:
        return values
    return replace(
        values,
        variables=[
            formula(w, weight_decay, call.learning_rate) if gradient is not None and applies else w
            for w, gradient, applies in zip(values.variables, gradients, call.state.decayed, strict=True)
        ],
    )


def _times_factor(w: Array, weight_decay: float, learning_rate: np.floating[Any]) -> Array:
    """Multiply by a factor formed in the dtype of the learning rate.

    A float32 factor is a tensor, and half weights meet it in float32; a float64 one is a Python number
    and is rounded to the dtype of the weights.
    """
    factor = 1 - setting(weight_decay, learning_rate.dtype) * learning_rate
    wide = w.dtype if learning_rate.dtype == FLOAT64 else promoted([w.dtype, FLOAT32])
    return convert(np.asanyarray(convert(w, wide) * setting(float(factor), wide)), w.dtype)
