"""The construction of a named case: a probe in the special situation, and an ordinary companion variable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, Array
from sgd_ref.conformance.catalogue.case import Case, LossScaling, State
from sgd_ref.conformance.catalogue.numbers import NumberStream, readonly, readonly_gradient
from sgd_ref.gradients import SparseRows

COMPANION = (17, 4)
CALLS = 10

Gradient = Array | SparseRows | None

PLAIN_CONFIG: dict[str, Any] = {
    "learning_rate": 0.15625,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "ema_momentum": 0.75,
    "ema_overwrite_frequency": None,
    "name": "SGD",
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


def named_case(
    name: str,
    notes: str,
    probe: Array,
    probe_gradient: Callable[[int], Gradient],
    *,
    excluded: Sequence[str] = (),
    loss_scaling: LossScaling | None = None,
    state: State | None = None,
    units: int = 0,
    companion_magnitude: float = 1.0,
    prefix: str = "named/",
    seed: str | None = None,
    exposes: Sequence[str] = (),
    **settings: Any,
) -> Case:
    """Return a case with a probe, its gradient in each call, and settings that differ from plain ones.

    The numbers of the companion are drawn from the text `seed`. The seed is the first name of the case, so a
    renamed case keeps its numbers. `exposes` says which known deviations the case is for.
    """
    numbers = NumberStream(name if seed is None else seed)
    companion = numbers.array(COMPANION, probe.dtype, companion_magnitude if loss_scaling is None else 1.0)
    return Case(
        id=f"{prefix}{name}",
        config=PLAIN_CONFIG | settings,
        names=("probe", "companion"),
        variables=(readonly(probe), readonly(companion)),
        gradients=tuple(
            (
                readonly_gradient(probe_gradient(call)),
                readonly(numbers.array(COMPANION, probe.dtype, companion_magnitude)),
            )
            for call in range(CALLS)
        ),
        state=state,
        excluded_from_weight_decay=tuple(excluded),
        loss_scaling=loss_scaling,
        finalize=bool(settings.get("use_ema")),
        learning_rate_units=units,
        exposes=tuple(exposes),
        notes=notes,
    )


def floats(*values: float, dtype: np.dtype[Any] = FLOAT32) -> Array:
    """Return an array with these values."""
    return np.array(values, dtype)
