"""The results of the reference for one element, as expressions: its stages run on symbols.

The settings have distinct values that are exact in every dtype, so that a number in a formula identifies its
setting. The kernels get the same settings through ``shared/constants.py``, so that the content of a slot is
identified in the same way.
"""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from numba_kernels.selfcheck.proof.expressions import FLOAT, Expressions, Node
from numba_kernels.selfcheck.proof.memory import PRESENT, SETTINGS, Situation
from numba_kernels.selfcheck.proof.symbols import KINDS, Symbols, convert
from numba_kernels.shared.constants import Constants
from numba_kernels.shared.element import (
    ACCUMULATED,
    DIVIDED,
    KERAS,
    NESTEROV,
    NO_MOMENTUM,
    PLAIN,
    PYTORCH,
    Variant,
)
from sgd_ref import optimizer as stages
from sgd_ref import rule
from sgd_ref.arithmetic.formats import HALF_FORMATS
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.conformance.dialects.pytorch import PytorchSGD
from sgd_ref.optimizer import SGD, Values

VALUES: dict[str, float] = {
    "learning_rate": 0.0625,
    "momentum": 0.5,
    "weight_decay": 0.125,
    "clipnorm": 5.0,
    "clipvalue": 3.0,
    "global_clipnorm": 32.0,
    "ema_momentum": 0.75,
    "loss_scale_factor": 11.0,
    "gradient_accumulation_steps": 13,
}
"""The values of the settings that are on."""

NAMES = {float(value): name for name, value in VALUES.items()} | {
    0.25: "ema_complement",
    1 / 32.0: "reciprocal_of_global_clipnorm",
}
NAMES_OF_SLOTS = {"loss_scale_factor": "loss_scale"}
NONE, BY_NORM, BY_VALUE, GLOBALLY = "none", "clipnorm", "clipvalue", "global_clipnorm"


class Features(NamedTuple):
    """The features of an optimizer that its kernels depend on.

    Attributes
    ----------
    variant : Variant
        The variant of the kernel.
    clipping : str
        "none" or the name of the clipping.
    has_loss_scale, has_decay : bool
        Whether these are on; decay may be on for other variables only.
    """

    variant: Variant
    clipping: str
    has_loss_scale: bool
    has_decay: bool

    def __str__(self) -> str:
        parts = [
            f"clipping {self.clipping}",
            *["loss scale"] * self.has_loss_scale,
            *["decay"] * self.has_decay,
        ]
        return ", ".join(parts)


def features_of(variant: Variant) -> list[Features]:
    """Return all combinations of features that lead to a kernel.

    >>> len(features_of(Variant(NO_MOMENTUM, PLAIN, averages=False)))
    6
    """
    found = []
    for clipping, has_loss_scale, has_decay in product(
        (NONE, BY_NORM, BY_VALUE, GLOBALLY), (False, True), (False, True)
    ):
        gradient = variant.gradient
        if gradient != ACCUMULATED:
            gradient = DIVIDED if has_loss_scale or clipping == BY_NORM else PLAIN
        if gradient == variant.gradient:
            found.append(Features(variant, clipping, has_loss_scale, has_decay))
    return found


class OnSymbols(SGD):
    """A reference with symbols for norms; everything else is as in ``sgd_ref.SGD``."""

    symbols: Symbols

    def norm(self, gradients: list[Any]) -> Any:
        """Return the norm, which no elementwise kernel computes."""
        if not gradients:
            return super().norm(gradients)
        dtype = gradients[0].dtype
        return self.symbols.of(dtype, self.symbols.e.make("setting", KINDS[dtype], "norm"))


class PytorchOnSymbols(OnSymbols, PytorchSGD):
    """The same for the rule of PyTorch."""


OF_RULES: dict[int, type[OnSymbols]] = {KERAS: OnSymbols, PYTORCH: PytorchOnSymbols}


def optimizer_with(features: Features, situation: Situation) -> OnSymbols:
    """Return an optimizer with these features, in a situation."""
    variant = features.variant
    chosen: dict[str, Any] = {
        "learning_rate": VALUES["learning_rate"],
        "momentum": 0.0 if variant.momentum == NO_MOMENTUM else VALUES["momentum"],
        "nesterov": variant.momentum == NESTEROV,
        "weight_decay": VALUES["weight_decay"] if features.has_decay else None,
        "use_ema": variant.averages,
        "ema_momentum": VALUES["ema_momentum"],
        "loss_scale_factor": VALUES["loss_scale_factor"] if features.has_loss_scale else None,
    }
    if variant.averages and situation.overwrites:
        chosen["ema_overwrite_frequency"] = 1
    if variant.gradient == ACCUMULATED:
        chosen["gradient_accumulation_steps"] = VALUES["gradient_accumulation_steps"]
    if features.clipping != NONE:
        chosen[features.clipping] = VALUES[features.clipping]
    return OF_RULES[variant.rule](**chosen)


class Reference:
    """The results of the reference, for the kernels of one dtype.

    Parameters
    ----------
    e : Expressions
        The expressions of the proof.
    dtype : dtype
        The dtype of the variables.
    """

    def __init__(self, e: Expressions, dtype: np.dtype[Any]) -> None:
        self._e, self._dtype = e, dtype
        self._symbols = Symbols(e, NAMES)

    def results(self, features: Features, situation: Situation, accumulates: bool = False) -> dict[str, Node]:
        """Return the content of each array after a call: its bits, in terms of the arrays before the call.

        Parameters
        ----------
        features : Features
            The features that are on.
        situation : Situation
            The situation of the call and the variable.
        accumulates : bool
            Whether the call only adds to the accumulators.
        """
        optimizer = optimizer_with(features, situation)
        optimizer.symbols = self._symbols
        values = Values(
            [self._element("variable")],
            [self._element("velocity")] if features.variant.momentum != NO_MOMENTUM else [],
            [self._element("average")] if features.variant.averages else [],
            [self._element("accumulator")] if features.variant.gradient == ACCUMULATED else [],
        )
        gradient = self._element("gradient") if situation.gradient == PRESENT else None
        call = self._call(optimizer, gradient, situation, accumulates)
        scale = VALUES["loss_scale_factor"] if features.has_loss_scale else None
        with mock.patch.object(stages, "convert", convert):
            advanced = optimizer.advance(values, call, scale)
        arrays: dict[str, list[Any]] = {
            "variable": advanced.variables,
            "velocity": advanced.velocities,
            "average": advanced.averages,
            "accumulator": advanced.accumulators,
        }
        return {name: self._stored(kept[0].node) for name, kept in arrays.items() if kept}

    def _call(self, optimizer: OnSymbols, gradient: Any, situation: Situation, accumulates: bool) -> Call:
        steps = optimizer.settings.gradient_accumulation_steps or 1
        updates = 0 if situation.is_first_average else 1
        state: Any = SimpleNamespace(
            calls=updates * steps + (0 if accumulates else steps - 1), decayed=[situation.decays]
        )
        return Call(state, [gradient], np.float32(VALUES["learning_rate"]))

    def _element(self, array: str) -> Any:
        if self._dtype in HALF_FORMATS:
            bits = self._e.raw("own", "16 bits", array)
            return self._symbols.of(self._dtype, self._e.make("widen", FLOAT, self._dtype.name, bits))
        return self._symbols.of(self._dtype, self._e.raw("own", KINDS[self._dtype], array))

    def _stored(self, node: Node) -> Node:
        if self._dtype in HALF_FORMATS:
            return self._e.make("narrow", "16 bits", self._dtype.name, node)
        return node

    def arguments(self, features: Features, situation: Situation) -> dict[Node, Node]:
        """Return the content of a kernel's slots of settings and factors, in the names of the reference."""
        optimizer = optimizer_with(features, situation)
        constants = Constants(optimizer.settings, self._dtype)
        scale = VALUES["loss_scale_factor"] if features.has_loss_scale else None
        constants.set_call(
            np.float32(VALUES["learning_rate"]), scale, situation.is_first_average, situation.overwrites
        )
        kind = KINDS[self._dtype]
        found = {
            self._e.raw("slot", kind, name): self._named(float(constants.values[slot]))
            for slot, name in SETTINGS.items()
        }
        factor, divisor = self._factors(features.clipping)
        found[self._e.raw("factor", kind, "factor")] = factor
        found[self._e.raw("factor", kind, "divisor")] = divisor
        return found

    def _named(self, value: float) -> Node:
        kind = KINDS[self._dtype]
        if value in NAMES:
            return self._e.make("setting", kind, NAMES[value])
        # Placeholders for settings that are off.
        return self._e.number(kind, value)

    def _factors(self, clipping: str) -> tuple[Node, Node]:
        """Return factor and divisor, computed as in ``cpu/clipping.py``."""
        symbols, dtype = self._symbols, self._dtype
        one = self._e.number(KINDS[dtype], 1.0)
        norm = symbols.of(dtype, self._e.make("setting", KINDS[dtype], "norm"))
        if clipping == BY_NORM:
            limit = setting(VALUES[clipping], dtype)
            return symbols.node(limit, dtype), symbols.applied("maximum", (norm, limit), dtype).node
        if clipping == GLOBALLY:
            limit = setting(VALUES[clipping], dtype)
            reciprocal = setting(1 / VALUES[clipping], dtype)
            return rule.global_clip_factor(norm, limit, reciprocal).node, one
        return one, one
