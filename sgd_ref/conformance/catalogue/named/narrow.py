"""The construction of a narrow case: few numbers, each so that almost any error changes the result.

A step along ``-g`` at a rate of 1, from weights of 0.0, shows every bit of the processed gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.case import Case, LossScaling, State
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG, Gradient
from sgd_ref.conformance.catalogue.numbers import readonly, readonly_gradient

PREFIX = "named/narrow/"

ALL = tuple(FORMATS)


def narrow_case(
    name: str,
    notes: str,
    variables: Mapping[str, Array],
    gradients: Sequence[Sequence[Gradient]],
    *,
    state: State | None = None,
    loss_scaling: LossScaling | None = None,
    units: int = 0,
    finalize: bool = False,
    exposes: tuple[str, ...] = (),
    **settings: Any,
) -> Case:
    """Return a case of a few small variables, by name, with the gradients of each call."""
    for array in variables.values():
        readonly(array)
    return Case(
        id=f"{PREFIX}{name}",
        config=PLAIN_CONFIG | {"learning_rate": 1.0} | settings,
        names=tuple(variables),
        variables=tuple(variables.values()),
        gradients=tuple(tuple(readonly_gradient(gradient) for gradient in call) for call in gradients),
        state=state,
        loss_scaling=loss_scaling,
        finalize=finalize,
        learning_rate_units=units,
        exposes=exposes,
        notes=notes,
    )


def numbers(dtype: np.dtype[Any], *values: float) -> Array:
    """Return an array of the values, each rounded once to a dtype."""
    return convert(np.array(values, np.float64), dtype)


def precision(dtype: np.dtype[Any]) -> int:
    """Return the number of bits of a significand.

    >>> precision(np.dtype("float16"))
    11
    """
    return FORMATS[dtype].precision
