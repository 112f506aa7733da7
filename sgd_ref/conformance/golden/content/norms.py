"""Vectors of the norm, which is rounded once: sums that are hard, squares that overflow, ties."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.arithmetic.rounded import convert
from sgd_ref.conformance.catalogue.numbers import NumberStream
from sgd_ref.conformance.golden.format.document import hashed
from sgd_ref.conformance.golden.format.provenance import provenance
from sgd_ref.conformance.protocol.arrays import array_from_json, array_to_json, result_to_json
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.norm import euclidean_norm

NORM = "norm"


def norm_entries() -> Iterator[Json]:
    """Yield the entries: several arrays, and the norm of all their elements together.

    >>> next(norm_entries())["id"]
    'stage/norm/float16/zeros'
    """
    for dtype in FORMATS:
        for name, values in _plain(dtype):
            yield _entry(dtype, name, [_array(values, dtype)])
        for count in (2, 3, 5, 17, 100):
            identifier = _identifier(dtype, f"ordinary-{count}")
            array = NumberStream(identifier).array((count,), dtype, 2.0)
            yield _entry(dtype, f"ordinary-{count}", [array], identifier)
    yield _entry(FLOAT32, "just-above-a-tie", [_array([2**24, 4096, 4096, 1, 2**-20], FLOAT32)])
    yield _entry(FLOAT32, "tie-to-even", [_array([2**24, 4096, 4096, 1], FLOAT32)])
    yield _entry(FLOAT64, "just-above-a-tie", [_array([2**53, 2**27, 1, 2**-20], FLOAT64)])
    yield _entry(FLOAT64, "tie-to-even", [_array([2**53, 2**27, 1], FLOAT64)])
    yield _entry(FLOAT32, "two-half-types", [_array([0.1, -3.0], FLOAT16), _array([[2.5], [0.3]], BFLOAT16)])
    yield _entry(
        FLOAT64,
        "every-dtype",
        [_array([0.1, -0.7], dtype) for dtype in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)],
    )


def _plain(dtype: np.dtype[Any]) -> Iterator[tuple[str, Sequence[float]]]:
    form = FORMATS[dtype]
    largest, normal = float(form.largest), float(form.smallest_normal)
    smallest = float(form.smallest_normal * Fraction(2) ** (1 - form.precision))
    yield "zeros", [0.0, -0.0, 0.0]
    yield "nothing", []
    yield "pythagorean", [3.0, -4.0]
    yield "nan-and-infinity", [math.nan, math.inf, 1.0]
    yield "infinity", [1.0, -math.inf]
    yield "largest-alone", [-largest]
    yield "overflows", [largest, largest]
    yield "squares-overflow", [largest / 4, largest / 8, 1.0]
    yield "squares-underflow", [normal, normal, -normal]
    yield "subnormal", [smallest, smallest, smallest]
    yield "subnormal-alone", [-smallest]
    yield "many-small-beside-one", [1.0, *[2.0 ** -(form.precision // 2)] * 64]


def replayed_norm(entry: Json) -> Array:
    """Return the norm that the reference gives for an entry."""
    arrays = [array_from_json(array) for array in entry["arguments"]["arrays"]]
    return np.asarray(euclidean_norm(arrays, array_from_json(entry["expected"]).dtype))


def _array(values: Any, dtype: np.dtype[Any]) -> Array:
    return convert(np.array(values, np.float64), dtype)


def _identifier(dtype: np.dtype[Any], name: str) -> str:
    return f"stage/{NORM}/{dtype.name}/{name}"


def _entry(dtype: np.dtype[Any], name: str, arrays: Sequence[Array], seed: str | None = None) -> Json:
    return hashed(
        {
            "id": _identifier(dtype, name),
            "stage": NORM,
            "dtype": dtype.name,
            "arguments": {"arrays": [array_to_json(array) for array in arrays]},
            "expected": result_to_json(euclidean_norm(arrays, dtype)),
            "provenance": provenance(__name__, seed),
        }
    )
