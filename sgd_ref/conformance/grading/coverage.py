"""Coverage: which dtypes and features were graded, and which never were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from sgd_ref.arithmetic.rounded import convert, setting
from sgd_ref.base.settings import CLIPPINGS
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.qualities import arrays, qualities
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import equal_bits

NARROWER: Mapping[Any, tuple[Any, ...]] = {FLOAT64: (FLOAT32,), FLOAT32: (BFLOAT16, FLOAT16)}
"""For each dtype, the narrower dtypes that an implementation might compute in by mistake; the half types have
none."""

WITHOUT: Mapping[str, Mapping[str, Any]] = {
    "update": {"momentum": 0.0, "nesterov": False},
    "weight_decay": {"weight_decay": None},
    "clipping": dict.fromkeys(CLIPPINGS),
    "averages": {"use_ema": False, "ema_overwrite_frequency": None},
    "accumulation": {"gradient_accumulation_steps": None},
    "loss_scaling": {"loss_scale_factor": None},
}
"""For each axis, the settings with which its feature is off."""


@dataclass(frozen=True)
class Coverage:
    """The number of cases with each value of each axis that were run, and that were graded.

    Attributes
    ----------
    asked, graded : dict of str to dict of str to int
        By axis and value, the number of cases that have it: of all that were run, and of those that were
        graded "exact", "rounding" or "diverges".

    Examples
    --------
    >>> coverage = Coverage({"update": {"plain": 3, "momentum": 2}}, {"update": {"plain": 1}})
    >>> coverage.never_graded
    {'update': ('momentum',)}
    >>> coverage.in_words
    'update momentum'
    """

    asked: Mapping[str, Mapping[str, int]]
    graded: Mapping[str, Mapping[str, int]]

    @property
    def never_graded(self) -> dict[str, tuple[str, ...]]:
        """By axis, the values for which cases were run, but none was graded."""
        missing = {
            axis: tuple(value for value in values if not self.graded.get(axis, {}).get(value))
            for axis, values in self.asked.items()
        }
        return {axis: values for axis, values in missing.items() if values}

    @property
    def in_words(self) -> str:
        """The values that were never graded, as one text; empty if all were."""
        return "; ".join(
            f"{axis.replace('_', ' ')} {', '.join(values)}" for axis, values in self.never_graded.items()
        )


def coverage(asked: Iterable[Case], graded: Iterable[Case]) -> Coverage:
    """Return the coverage of some cases."""
    return Coverage(_counted(asked), _counted(graded))


def _counted(cases: Iterable[Case]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {axis: {} for axis in AXES}
    for case in cases:
        for axis, values in qualities(case).items():
            of_axis = counts.setdefault(axis, {})
            for value in values:
                of_axis[value] = of_axis.get(value, 0) + 1
    known = {axis: [*values, *sorted(set(counts[axis]) - set(values))] for axis, values in AXES.items()}
    return {
        axis: {value: found[value] for value in known.get(axis, sorted(found)) if value in found}
        for axis, found in counts.items()
    }


def discriminates(case: Case, axis: str, value: str) -> bool:
    """Whether a right answer to a case shows a feature: without the feature, the answer would be different.

    The feature must change the variables. If its setting is a number, no narrower dtype may hold the number,
    so that the answer shows in which dtype the setting was kept. For a dtype, there must be at least one such
    number.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case = next(case for case in conformance.cases() if case.id == "axes/momentum/decimal")
    >>> discriminates(case, "update", "momentum"), discriminates(case, "clipping", "clipnorm")
    (True, False)
    """
    if value not in qualities(case).get(axis, ()):
        return False
    if axis == "dtype":
        return value == "mixed" or _needs_dtype(case, value)
    if axis not in WITHOUT or value in ("plain", "none"):
        return True
    return _is_seen_whole(case, axis, value) and _has_effect(case, axis, value)


def _needs_dtype(case: Case, name: str) -> bool:
    return any(
        array.dtype.name == name
        and all(
            (convert(array, narrower).astype(FLOAT64) != array).any()
            for narrower in NARROWER.get(array.dtype, ())
        )
        for array in arrays(case)
        if array.size
    )


def _is_seen_whole(case: Case, axis: str, value: str) -> bool:
    """Whether no narrower dtype holds the number that a feature is set to."""
    names = {
        "update": "momentum",
        "weight_decay": "weight_decay",
        "clipping": value,
        "averages": "ema_momentum",
    }
    if axis not in names:
        return True
    number = case.config[names[axis]]
    return any(
        all(
            float(setting(number, narrower)) != float(setting(number, dtype))
            for narrower in NARROWER.get(dtype, ())
        )
        for dtype in {variable.dtype for variable in case.variables}
    )


def _has_effect(case: Case, axis: str, value: str) -> bool:
    changed = dict(WITHOUT[axis])
    if value == "nesterov":
        del changed["momentum"]
    if value == "overwrite":
        del changed["use_ema"]
    without = replace(
        case,
        config=case.config | changed,
        loss_scaling=None if axis == "loss_scaling" else case.loss_scaling,
        excluded_from_weight_decay=() if value == "exclusion" else case.excluded_from_weight_decay,
        state=None,
    )
    if value == "exclusion":
        without = replace(without, config=case.config)
    pairs = zip(reference.run(replace(case, state=None)), reference.run(without), strict=True)
    return any(
        not equal_bits(np.asarray(one), np.asarray(other)).all()
        for record, record_without in pairs
        for one, other in zip(record["variables"], record_without["variables"], strict=True)
    )
