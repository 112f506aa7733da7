"""Vectors of one stage alone, for implementations that are made of parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from sgd_ref import rule
from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.conformance.catalogue.numbers import NumberStream
from sgd_ref.conformance.golden.content.norms import NORM, norm_entries
from sgd_ref.conformance.golden.format.document import hashed
from sgd_ref.conformance.golden.format.provenance import provenance
from sgd_ref.conformance.protocol.arrays import array_from_json, array_to_json, result_to_json
from sgd_ref.conformance.protocol.encoding import Json

ORDINARY_ELEMENTS = 24

MOST_SPECIAL_ELEMENTS = 144
"""All 144 pairs of the 12 special values are used; of their triples, as many are drawn by a seed."""


class Stage(NamedTuple):
    """One function of ``rule.py``.

    Attributes
    ----------
    function : callable
        The function; its name is that of the stage.
    arrays : tuple of str
        The arguments that are arrays, of one shape.
    settings : dict of str to sequence of float
        For each argument that is a number the values that it takes, one for each entry; each is rounded
        once to the dtype.
    """

    function: Callable[..., Any]
    arrays: tuple[str, ...]
    settings: dict[str, Sequence[float]]

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.function.__name__


STAGES = (
    Stage(rule.unscale, ("gradient",), {"loss_scale_factor": (1024.0, 96.0, 3.0)}),
    Stage(rule.accumulate, ("gradient", "accumulator"), {}),
    Stage(rule.mean_of_accumulated, ("gradient", "accumulator"), {"steps": (2.0, 3.0, 7.0)}),
    Stage(rule.clip_by_norm, ("gradient",), {"norm": (2.9, 0.7, math.inf), "clipnorm": (1.5, 1.7, 0.3)}),
    Stage(rule.clip_by_value, ("gradient",), {"clipvalue": (0.625, 0.6, 0.1)}),
    Stage(
        rule.global_clip_factor,
        (),
        {
            "norm": (2.9, 0.7, 1.7, 0.0, math.inf, math.nan),
            "clipnorm": (1.7, 1.7, 1.7, 1.5, 1.5, 1.5),
            "reciprocal_of_clipnorm": (1 / 1.7, 1 / 1.7, 1 / 1.7, 1 / 1.5, 1 / 1.5, 1 / 1.5),
        },
    ),
    Stage(rule.clip_by_global_norm, ("gradient",), {"factor": (0.6, 1.0, math.nan)}),
    Stage(rule.decay_weights, ("w",), {"weight_decay": (0.05, 0.3, 0.0), "learning_rate": (0.1, 0.7, 0.1)}),
    Stage(rule.descend, ("w", "g"), {"learning_rate": (0.1, 0.7, 0.0)}),
    Stage(
        rule.accelerate, ("velocity", "g"), {"momentum": (0.9, 0.875, 1.0), "learning_rate": (0.1, 0.7, 0.0)}
    ),
    Stage(rule.move, ("w", "velocity"), {}),
    Stage(
        rule.move_nesterov, ("w", "velocity", "g"), {"momentum": (0.9, 0.875), "learning_rate": (0.1, 0.7)}
    ),
    Stage(rule.average, ("old_average", "w"), {"ema_momentum": (0.9, 0.99, 1.0)}),
)


def stage_entries() -> Iterator[tuple[str, list[Json]]]:
    """Yield for each stage the path of its file and its entries, the norm first.

    >>> [path for path, _ in stage_entries()][:2]
    ['stages/norm.json', 'stages/unscale.json']
    """
    yield f"stages/{NORM}.json", list(norm_entries())
    for stage in STAGES:
        yield f"stages/{stage.name}.json", [_entry(*chosen) for chosen in _vectors(stage)]


def evaluated(stage: str, arguments: dict[str, Array], dtype: np.dtype[Any]) -> Array:
    """Return the result of the reference for the arguments of a stage, as an array.

    Every argument has the dtype of the computation. Except for ``unscale`` the result has it, too.
    """
    function = next(known.function for known in STAGES if known.name == stage)
    with np.errstate(all="ignore"):
        result = function(**{name: array if array.ndim else array[()] for name, array in arguments.items()})
    return convert(np.asarray(result), dtype)


def replayed(entry: Json) -> Array:
    """Return the result of the reference for an entry of a stage other than the norm."""
    arguments = {name: array_from_json(array, name) for name, array in entry["arguments"].items()}
    return evaluated(entry["stage"], arguments, array_from_json(entry["expected"]).dtype)


class _Vector(NamedTuple):
    stage: Stage
    dtype: np.dtype[Any]
    name: str
    arrays: dict[str, Array]
    settings: dict[str, Array]


def _vectors(stage: Stage) -> Iterator[_Vector]:
    counts = {len(values) for values in stage.settings.values()} or {1}
    for dtype in FORMATS:
        wide = _computed_in(stage, dtype)
        for index in range(*counts):
            settings = {
                name: np.asarray(setting(values[index], wide)) for name, values in stage.settings.items()
            }
            if not stage.arrays:
                yield _Vector(stage, dtype, f"numbers-{index + 1}", {}, settings)
                continue
            for name, arrays in (
                ("ordinary", _ordinary(stage, dtype, index)),
                ("special", _special(stage, dtype)),
            ):
                widened = {argument: convert(array, wide) for argument, array in arrays.items()}
                yield _Vector(stage, dtype, f"{name}-{index + 1}", widened, settings)


def _computed_in(stage: Stage, dtype: np.dtype[Any]) -> np.dtype[Any]:
    # A loss scale may be too large for half types, so gradients are unscaled in float32 at least.
    return promoted([dtype, FLOAT32]) if stage.function is rule.unscale else dtype


def _ordinary(stage: Stage, dtype: np.dtype[Any], index: int) -> dict[str, Array]:
    numbers = NumberStream(_identifier(stage.name, dtype, f"ordinary-{index + 1}"))
    return {name: numbers.array((ORDINARY_ELEMENTS,), dtype, 2.0) for name in stage.arrays}


def _special(stage: Stage, dtype: np.dtype[Any]) -> dict[str, Array]:
    rows = list(product(special_values(dtype), repeat=len(stage.arrays)))
    if len(rows) > MOST_SPECIAL_ELEMENTS:
        order = np.argsort(
            NumberStream(f"{stage.name}/{dtype}").array((len(rows),), FLOAT64, 1.0), kind="stable"
        )
        rows = [rows[position] for position in order[:MOST_SPECIAL_ELEMENTS]]
    return {
        name: convert(np.array([row[position] for row in rows], np.float64), dtype)
        for position, name in enumerate(stage.arrays)
    }


def special_values(dtype: np.dtype[Any]) -> tuple[float, ...]:
    """Return zeros, infinities, NaN, and the numbers at the ends of a dtype.

    >>> special_values(np.dtype("float16"))[2:6]
    (inf, -inf, nan, 1.0)
    """
    form = FORMATS[dtype]
    normal, largest = float(form.smallest_normal), float(form.largest)
    smallest = float(form.smallest_normal * Fraction(2) ** (1 - form.precision))
    ends = (normal, -(normal - smallest), smallest, -smallest, largest, -largest)
    return (0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, *ends)


def _identifier(stage: str, dtype: np.dtype[Any], name: str) -> str:
    return f"stage/{stage}/{dtype.name}/{name}"


def _entry(
    stage: Stage, dtype: np.dtype[Any], name: str, arrays: dict[str, Array], settings: dict[str, Array]
) -> Json:
    identifier = _identifier(stage.name, dtype, name)
    arguments = arrays | settings
    return hashed(
        {
            "id": identifier,
            "stage": stage.name,
            "dtype": dtype.name,
            "arguments": {argument: array_to_json(array) for argument, array in arguments.items()},
            "expected": result_to_json(evaluated(stage.name, arguments, dtype)),
            "provenance": provenance(__name__, identifier if name.startswith("ordinary") else None),
        }
    )
