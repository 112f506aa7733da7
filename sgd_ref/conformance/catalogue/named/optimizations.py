"""Cases in which an optimisation by compilers or fused kernels changes bits.

Such an optimisation is a faithful evaluation, or a processor's mode that flushes subnormal numbers. So no
implementation fails because of these cases. They show which optimisations an implementation makes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT16, FLOAT32, FLOAT64
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import CALLS, named_case
from sgd_ref.conformance.catalogue.numbers import NumberStream, with_subnormals

PREFIX = "optimization/"
FLUSH_TO_ZERO = "flush-to-zero"


class Optimization(NamedTuple):
    """An optimisation: the variants that make it, and a case that distinguishes them from the reference.

    Attributes
    ----------
    name : str
        The optimisation, in a few words.
    variants : tuple of str
        Names of faithful variants, each of which makes the optimisation.
    dtype : dtype
        The dtype of the case.
    settings : dict
        The settings that differ from plain ones.
    """

    name: str
    variants: tuple[str, ...]
    dtype: np.dtype[Any]
    settings: dict[str, Any]


OPTIMIZATIONS = (
    Optimization(
        "fused-multiply-add",
        ("descent-fused", "every-product-fused"),
        FLOAT32,
        {"learning_rate": 0.1484375 + 2.0**-20},
    ),
    Optimization(
        "fused-multiply-add-of-the-velocity",
        ("velocity-fused-with-momentum", "velocity-fused-with-rate", "update-fused", "every-product-fused"),
        FLOAT32,
        {"learning_rate": 0.1484375 + 2.0**-20, "momentum": 0.875 + 2.0**-20},
    ),
    Optimization(
        "reassociated-sum",
        ("nesterov-gradient-first", "nesterov-velocity-first", "nesterov-from-both-velocities"),
        FLOAT32,
        {"momentum": 0.875, "nesterov": True},
    ),
    Optimization(
        "premultiplied-settings",
        ("decay-rate-first", "decay-reassociated"),
        FLOAT32,
        {"learning_rate": 0.1484375 + 2.0**-20, "weight_decay": 0.0625 + 2.0**-21},
    ),
    Optimization(
        "decay-as-one-factor",
        ("decay-by-factor",),
        FLOAT32,
        {"learning_rate": 0.1484375 + 2.0**-20, "weight_decay": 0.0625 + 2.0**-21},
    ),
    Optimization(
        "velocity-without-rate",
        ("rate-factored-velocity", "rate-factored-velocity-fused"),
        FLOAT32,
        {"learning_rate": 0.1484375 + 2.0**-20, "momentum": 0.875 + 2.0**-20},
    ),
    Optimization(
        "multiplication-by-the-reciprocal",
        ("mean-by-reciprocal", "mean-of-products", "products-accumulated"),
        FLOAT32,
        {"gradient_accumulation_steps": 3},
    ),
    Optimization(
        "double-inside",
        ("step-in-float64", "stages-in-float64", "everything-in-double"),
        FLOAT32,
        {
            "learning_rate": 0.1484375 + 2.0**-20,
            "momentum": 0.875 + 2.0**-20,
            "weight_decay": 0.0625 + 2.0**-21,
        },
    ),
    Optimization(
        "single-inside-of-half",
        ("step-in-float32", "stages-in-float32"),
        FLOAT16,
        {"momentum": 0.875, "weight_decay": 0.0625},
    ),
    Optimization(
        "extended-inside-of-double",
        ("step-in-extended",),
        FLOAT64,
        {
            "learning_rate": 0.1484375 + 2.0**-20,
            "momentum": 0.875 + 2.0**-40,
            "weight_decay": 0.0625 + 2.0**-41,
        },
    ),
    Optimization(
        "average-as-a-step",
        ("average-towards-weights", "average-from-weights", "average-less-difference"),
        FLOAT32,
        {"use_ema": True, "ema_momentum": 0.875 + 2.0**-20},
    ),
    Optimization(
        FLUSH_TO_ZERO,
        ("subnormals-flushed",),
        FLOAT32,
        {},
    ),
)
"""All optimisations with a case, whose id is ``optimization/{name}``."""


def cases() -> Iterator[Case]:
    """Yield the cases."""
    for optimization in OPTIMIZATIONS:
        yield _case(optimization)


def _case(optimization: Optimization) -> Case:
    numbers = NumberStream(PREFIX + optimization.name)
    weights, *gradients = [numbers.array((40,), optimization.dtype, 2.0) for _ in range(CALLS + 1)]
    if optimization.name == FLUSH_TO_ZERO:
        weights, *gradients = [with_subnormals(array) for array in (weights, *gradients)]
    return named_case(
        PREFIX + optimization.name,
        f"Whether an implementation does this: {', or '.join(optimization.variants)}.",
        weights,
        gradients.__getitem__,
        prefix="",
        **optimization.settings,
    )
