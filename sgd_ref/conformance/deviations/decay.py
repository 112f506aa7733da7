"""Weight decay in other roundings, and of other variables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.rounded import BFLOAT16, FLOAT32, FLOAT64, Array, convert, promoted, setting
from sgd_ref.base import Call
from sgd_ref.conformance.deviations.deviation import SINGLE_AND_DOUBLE, apart, has_dtype
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.optimizer import SGD, Gradients, Values
from sgd_ref.state import State


class _DecayOfSomeDtypes(SGD):
    """Decay the variables of some dtypes by a formula of its own, the others by that of the definition."""

    dtypes: tuple[np.dtype[Any], ...]

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        weight_decay = self.settings.weight_decay
        if weight_decay is None:
            return values
        mine, others = apart(gradients, has_dtype(*self.dtypes))
        values = super().decay(values, others, call)
        return replace(
            values,
            variables=[
                w if gradient is None or not applies else self.decayed(w, weight_decay, call.learning_rate)
                for w, gradient, applies in zip(values.variables, mine, call.state.decayed, strict=True)
            ],
        )

    def decayed(self, w: Array, weight_decay: float, learning_rate: np.floating[Any]) -> Array:
        raise NotImplementedError


class DecayByOneFactor(_DecayOfSomeDtypes):
    """Weights are multiplied by ``1 - weight_decay * learning_rate``, formed in float32 or wider.

    The core code (`BaseOptimizer._apply_weight_decay`) subtracts ``w * weight_decay * learning_rate``;
    so an infinite weight stays infinite with a weight_decay of 0.0, where the definition has NaN.
    Evidence: `_apply_weight_decay` in `keras/src/backend/torch/optimizers/torch_optimizer.py`.
    """

    dtypes = (np.dtype(np.float16), BFLOAT16, FLOAT32)

    def decayed(self, w: Array, weight_decay: float, learning_rate: np.floating[Any]) -> Array:
        return _times(w, _factor(weight_decay, learning_rate))


class DecayFactorInSingle(_DecayOfSomeDtypes):
    """The factor ``1 - weight_decay * learning_rate`` for float64 weights is formed in float32.

    The core code casts both to the dtype of the variable first. What float32 cuts off the factor is an
    error of up to 2**-25 in every weight. Evidence: as for the factor in float32, in
    `keras/src/backend/torch/optimizers/torch_optimizer.py`, where the learning rate is a float32 tensor.
    """

    dtypes = (FLOAT64,)

    def decayed(self, w: Array, weight_decay: float, learning_rate: np.floating[Any]) -> Array:
        return _times(w, _factor(weight_decay, learning_rate))


class DecayReassociated(_DecayOfSomeDtypes):
    """The settings are multiplied first: ``w - w * (weight_decay * learning_rate)``.

    The core code multiplies from left to right. Evidence: Grappler, the graph optimizer that
    `tf.function` runs, and XLA both move the product of constants together.
    """

    dtypes = (np.dtype(np.float16), BFLOAT16, FLOAT32, FLOAT64)

    def decayed(self, w: Array, weight_decay: float, learning_rate: np.floating[Any]) -> Array:
        return np.asanyarray(w - w * _product(w, weight_decay, learning_rate))


class DecayFused(_DecayOfSomeDtypes):
    """In float32 and float64 ``fma(-w, weight_decay * learning_rate, w)``, with one rounding less.

    The core code multiplies from left to right and rounds each product. Evidence: XLA reassociates the
    product and contracts it with the difference, for processors that have the instruction.
    """

    dtypes = SINGLE_AND_DOUBLE

    def decayed(self, w: Array, weight_decay: float, learning_rate: np.floating[Any]) -> Array:
        return fused_multiply_add(-w, _product(w, weight_decay, learning_rate), w)


class ExclusionByPattern(SGD):
    """Strings in `var_names` are regular expressions: 'pr.be' excludes 'probe'.

    The documentation says that a variable is excluded if the string appears in its name. Evidence:
    `re.compile` in `exclude_from_weight_decay` and `re.search` in `_use_weight_decay` of
    `keras/src/optimizers/base_optimizer.py`.
    """

    def _fresh_state(self, variables: Sequence[Array], names: Sequence[str] | None) -> State:
        state = super()._fresh_state(variables, names)
        pattern = re.compile("|".join(self._exclusion.substrings))
        if self._exclusion.substrings:
            state.decayed = [
                applies and pattern.search(name) is None
                for name, applies in zip(state.names, state.decayed, strict=True)
            ]
        return state


def _product(w: Array, weight_decay: float, learning_rate: np.floating[Any]) -> Any:
    return setting(weight_decay, w.dtype) * setting(float(learning_rate), w.dtype)


def _factor(weight_decay: float, learning_rate: np.floating[Any]) -> Any:
    """Return the factor in the dtype of the learning rate, which is float64 for a callable."""
    return 1 - setting(weight_decay, learning_rate.dtype) * learning_rate


def _times(w: Array, factor: Any) -> Array:
    wide = promoted([w.dtype, FLOAT32])
    return convert(np.asanyarray(convert(w, wide) * setting(float(factor), wide)), w.dtype)
