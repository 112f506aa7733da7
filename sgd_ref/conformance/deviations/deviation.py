"""A deviation: one way in which an implementation is known to differ from the definition."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD, Gradients

Kind = Literal["contradiction", "rounding"]

SINGLE_AND_DOUBLE = (FLOAT32, FLOAT64)


@dataclass(frozen=True)
class Deviation:
    """A known deviation, as subclasses of the reference that each override one stage.

    Attributes
    ----------
    name : str
        The mistake or the difference, in a few words.
    kind : {"contradiction", "rounding"}
        "contradiction": the deviation computes something other than the documentation or the core code of
        Keras, or loses data. "rounding": it is another faithful evaluation of the same formula.
    optimizer : subclass of SGD
        The optimizer that deviates; SGD itself if only the wrapper deviates.
    wrapper : subclass of LossScaleOptimizer
        The wrapper that deviates; LossScaleOptimizer itself if only the optimizer deviates.
    address : str
        The URL of a report about it; empty if no report is known.
    """

    name: str
    kind: Kind
    optimizer: type[SGD] = SGD
    wrapper: type[LossScaleOptimizer] = LossScaleOptimizer
    address: str = ""

    @property
    def summary(self) -> str:
        """The first paragraph of its docstring, as one line."""
        return " ".join(self.description.split("\n\n")[0].split())

    @property
    def description(self) -> str:
        """The docstring: what the deviation does, what it contradicts, and where the evidence is."""
        deviating = self.wrapper if self.optimizer is SGD else self.optimizer
        return inspect.getdoc(deviating) or ""


def apart(gradients: Gradients, condition: Callable[[Array], bool]) -> tuple[Gradients, Gradients]:
    """Return the gradients that satisfy a condition, and the others; None replaces those of the other list.

    A stage does not change a variable without a gradient. So a deviation for some variables only passes the
    others on to the stage that it overrides.

    >>> small, large = apart([np.zeros(1), np.zeros(3)], lambda gradient: gradient.size < 2)
    >>> [gradient is None for gradient in small], [gradient is None for gradient in large]
    ([False, True], [True, False])
    """
    chosen = [gradient is not None and condition(gradient) for gradient in gradients]
    return (
        [gradient if mine else None for gradient, mine in zip(gradients, chosen, strict=True)],
        [None if mine else gradient for gradient, mine in zip(gradients, chosen, strict=True)],
    )


def has_dtype(*dtypes: np.dtype[np.generic]) -> Callable[[Array], bool]:
    """Return a condition: whether an array has one of these dtypes.

    >>> has_dtype(np.dtype("f4"))(np.zeros(2, "f8"))
    False
    """
    return lambda array: array.dtype in dtypes
