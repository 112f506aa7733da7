"""Settings and calls that must be refused, with the category of the error and the argument that it names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.golden.content.rejected import REJECTIONS, TYPE, VALUE, Rejection
from sgd_ref.conformance.golden.content.rejected_closely import NEARLY_RIGHT
from sgd_ref.conformance.golden.format.document import hashed
from sgd_ref.conformance.golden.format.provenance import provenance
from sgd_ref.conformance.protocol.arrays import array_from_json, array_to_json
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.gradients import SparseRows
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD

CATEGORIES: dict[str, type[Exception]] = {TYPE: TypeError, VALUE: ValueError}


def rejection_entries() -> list[Json]:
    """Return the entries, always the same.

    >>> rejection_entries()[0]["id"]
    'rejection/momentum/above-one'
    """
    return [_entry(rejection) for rejection in (*REJECTIONS, *NEARLY_RIGHT)]


def refusal(entry: Json) -> Exception | None:
    """Return the refusal of an entry by the reference; None if there is none.

    Examples
    --------
    >>> str(refusal(rejection_entries()[0]))
    'momentum must be a real number in [0, 1], got 1.5'
    """
    try:
        optimizer: Any = SGD.from_config(_decoded(entry["config"]))
        if entry["loss_scaling"] is not None:
            optimizer = LossScaleOptimizer(optimizer, **_decoded(entry["loss_scaling"]))
        optimizer.build([array_from_json(array) for array in entry["variables"]], entry["names"])
        if entry["call"] is not None:
            optimizer.apply([_gradient_from_json(part) for part in entry["call"]["gradients"]])
    except (TypeError, ValueError) as error:
        return error
    return None


def problem(entry: Json) -> str | None:
    """Return how the refusal by the reference differs from what an entry states; None if it does not."""
    error = refusal(entry)
    if error is None:
        return "it is not refused"
    if type(error) is not CATEGORIES[entry["category"]]:
        return f"the category is {entry['category']}, but the reference raises {type(error).__name__}"
    if entry["argument"] not in str(error):
        return f"the reference does not name {entry['argument']}: {error}"
    return None


def _entry(rejection: Rejection) -> Json:
    group = rejection.argument.split("[")[0]
    gradients = rejection.gradients
    return hashed(
        {
            "id": f"rejection/{group}/{rejection.name}",
            "config": _encoded(PLAIN_CONFIG | rejection.settings),
            "loss_scaling": _encoded(rejection.loss_scaling),
            "names": list(rejection.names),
            "variables": [array_to_json(np.ones(2, rejection.dtype)) for _ in rejection.names],
            "call": None
            if gradients is None
            else {"gradients": [_gradient_to_json(part) for part in gradients]},
            "when": rejection.when,
            "category": rejection.category,
            "argument": rejection.argument,
            "reason": rejection.reason,
            "provenance": provenance(__name__),
        }
    )


def _encoded(value: Any) -> Any:
    """Return settings for JSON, which has no NaN and no infinity: these are arrays of shape []."""
    if isinstance(value, dict):
        return {key: _encoded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_encoded(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return array_to_json(np.float64(value))
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"dtype", "shape", "bits"}:
            return float(array_from_json(value))
        return {key: _decoded(part) for key, part in value.items()}
    return [_decoded(part) for part in value] if isinstance(value, list) else value


def _gradient_to_json(gradient: Any) -> Any:
    if isinstance(gradient, dict):
        return {**gradient, "values": array_to_json(gradient["values"])}
    return gradient if gradient is None else array_to_json(gradient)


def _gradient_from_json(gradient: Any) -> Array | SparseRows | None:
    if isinstance(gradient, dict) and "indices" in gradient:
        return SparseRows(gradient["indices"], array_from_json(gradient["values"]), tuple(gradient["shape"]))
    return None if gradient is None else array_from_json(gradient)
