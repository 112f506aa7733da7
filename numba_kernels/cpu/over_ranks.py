"""Norms of gradients whose elements are spread over processes: the same bits for any number of processes.

Each rank sends its sum of squares with the bound on the error. Rank 0 adds the sums of all ranks like the
sums of chunks, and decides by the same test. If the bound does not decide the rounding, each rank sends its
exact sum as integer limbs. Rank 0 adds these, which is exact in any order, and computes the root.

A rank adds its chunks before it sends one sum, and rank 0 adds these sums. So there are two more additions,
each with an error of ``ERROR_OF_TOTAL`` or ``ERROR_OF_WIDE_TOTAL``; the bounds on the sums of chunks leave
room for both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.cpu import rounding
from numba_kernels.cpu.norm import Measurement
from numba_kernels.cpu.sums import HIGH, LOW
from numba_kernels.cpu.totals import totals, wide_totals
from numba_kernels.ranks.rounds import Ranks
from numba_kernels.shared.exact_sums import LIMBS
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import promoted

CODES = (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)
"""The dtypes in the order of their flag bits in a message."""

WIDTH = LIMBS + 2
"""The length of an exact sum: the limbs, then the counts of NaNs and of infinities."""


class Known(NamedTuple):
    """The knowledge of one rank about the gradients of a call.

    Attributes
    ----------
    finite : bool
        Whether its own part is finite.
    dtypes : list of dtype
        The dtypes of its gradients.
    sums : ndarray of float64, shape (n, 2)
        One row for each norm: the sum of squares of its own part.
    exact : callable
        A function from indices of norms to their exact sums, of shape (k, WIDTH).
    """

    finite: bool
    dtypes: Sequence[np.dtype[Any]]
    sums: Array
    exact: Callable[[Array], Array]


class Agreed(NamedTuple):
    """The common knowledge of all ranks about the gradients of a call.

    Attributes
    ----------
    finite : bool
        Whether all parts are finite.
    dtypes : list of dtype
        The dtypes of all gradients.
    norms : ndarray of float64, shape (n,)
        The correctly rounded norms.
    """

    finite: bool
    dtypes: list[np.dtype[Any]]
    norms: Array


def agreed(
    ranks: Ranks, settings: dict[str, Any], known: Known, dtypes: Sequence[np.dtype[Any]] | None
) -> Agreed:
    """Return the common knowledge of all ranks about the gradients of a call.

    Parameters
    ----------
    ranks : Ranks
        The ranks, all of which call this function.
    settings : dict
        Data that must be the same on all ranks, and can be written as JSON.
    known : Known
        The knowledge of this rank.
    dtypes : sequence of dtype, or None
        The dtype of each norm; None if each norm has the narrowest dtype that holds all gradients.

    Raises
    ------
    RankError
        In the same cases as ``Ranks.round``; then nothing has changed.
    """
    flags = np.array([not known.finite, _bits(known.dtypes)], np.int64)
    parts = [flags.tobytes(), np.ascontiguousarray(known.sums).tobytes()]

    def decide(of_ranks: list[list[bytes]]) -> list[bytes]:
        flags = np.array([np.frombuffer(flags, np.int64) for flags, _ in of_ranks])
        all_dtypes = int(np.bitwise_or.reduce(flags[:, 1]))
        sums = np.array([np.frombuffer(sums).reshape(-1, 2) for _, sums in of_ranks])
        of_each = _dtypes_of_norms(sums.shape[1], all_dtypes, dtypes)
        norms = decided(sums, of_each) if of_each else np.empty(0)
        return [np.array([flags[:, 0].any(), all_dtypes], np.int64).tobytes(), norms.tobytes()]

    answer = ranks.round("the norms", json.dumps(settings).encode(), parts, decide)
    not_finite, all_dtypes = np.frombuffer(answer[0], np.int64).tolist()
    norms = np.array(np.frombuffer(answer[1]))
    found = Agreed(not not_finite, [dtype for bit, dtype in enumerate(CODES) if all_dtypes >> bit & 1], norms)
    undecided = np.flatnonzero(norms == rounding.UNDECIDED)
    if len(undecided):
        of_each = _dtypes_of_norms(len(norms), all_dtypes, dtypes)
        norms[undecided] = _exactly(ranks, undecided, known, [of_each[row] for row in undecided.tolist()])
    return found


def decided(sums: Array, dtypes: Sequence[np.dtype[Any]]) -> Array:
    """Return the norms that the sums of all ranks decide, and ``rounding.UNDECIDED`` for the others.

    Parameters
    ----------
    sums : ndarray of float64, shape (ranks, n, 2)
        The sums of each rank, for each norm.
    dtypes : sequence of dtype
        The dtype of each norm.
    """
    count = len(sums)
    norms = np.empty(len(dtypes))
    for dtype in set(dtypes):
        rows = [row for row, of_row in enumerate(dtypes) if of_row == dtype]
        results = np.zeros((len(rows), count, 3))
        results[:, :, : sums.shape[2]] = sums.transpose(1, 0, 2)[rows]
        bounds = np.arange(0, len(rows) * count + 1, count)
        if dtype == FLOAT64:
            added = wide_totals(results.reshape(-1, 3), bounds).tolist()
            found = [rounding.decided_norm(*total) for total in added]
            norms[rows] = [rounding.UNDECIDED if norm is None else norm for norm in found]
        else:
            norms[rows], _ = rounding.decided_norms(totals(results.reshape(-1, 3), bounds)[:, 0], dtype)
    return norms


def _exactly(ranks: Ranks, rows: Array, known: Known, dtypes: Sequence[np.dtype[Any]]) -> Array:
    """Return the norms that the sums did not decide, from exact sums."""
    name = "the exact norms"
    try:
        own = known.exact(rows)
    except Exception as error:  # noqa: BLE001  (the other ranks wait for this one)
        ranks.refuse(name, error)

    def add(of_ranks: list[list[bytes]]) -> list[bytes]:
        added = np.array([np.frombuffer(limbs, np.int64) for (limbs,) in of_ranks]).sum(axis=0)
        limbs = added.reshape(-1, WIDTH)
        exact = [rounding.exact_norm(row, dtype) for row, dtype in zip(limbs, dtypes, strict=True)]
        return [np.array(exact).tobytes()]

    (answer,) = ranks.round(name, json.dumps({"norms": rows.tolist()}).encode(), [own.tobytes()], add)
    return np.frombuffer(answer)


def _dtypes_of_norms(
    count: int, all_dtypes: int, dtypes: Sequence[np.dtype[Any]] | None
) -> Sequence[np.dtype[Any]]:
    if dtypes is not None:
        return dtypes
    present = [dtype for bit, dtype in enumerate(CODES) if all_dtypes >> bit & 1]
    return [promoted(present)] * count if present else []


def _bits(dtypes: Sequence[np.dtype[Any]]) -> int:
    return sum(1 << CODES.index(dtype) for dtype in set(dtypes))


class Parts:
    """The part of the gradients that a rank counts, of some groups of variables.

    Parameters
    ----------
    measurements : sequence of Measurement
        One for each group.
    counted : sequence of ndarray of bool
        For each group, the rows that this rank counts. An element that lies on several ranks is counted on
        one of them.
    wide : bool
        Whether the sums may have to decide about a float64.
    """

    def __init__(self, measurements: Sequence[Measurement], counted: Sequence[Array], wide: bool) -> None:
        self._measurements, self._counted, self._wide = measurements, counted, wide
        for measurement, rows in zip(measurements, counted, strict=True):
            if not rows.all():
                measurement.results[~rows[measurement.group.chunks[:, 0]]] = 0.0

    @property
    def finite(self) -> bool:
        """Whether no counted gradient, as it was given, has an infinity or NaN."""
        return all(measurement.finite for measurement in self._measurements)

    def sum_of_all(self) -> Array:
        """Return the sum of squares of all gradients together, of shape (1, 2)."""
        results = np.concatenate([measurement.results for measurement in self._measurements])
        return _added(results, np.array([0, len(results)]), self._wide)

    def exact_sum_of_all(self, rows: Array) -> Array:
        """Return the exact sum of all gradients together, of shape (1, WIDTH)."""
        limbs = np.zeros((1, WIDTH), np.int64)
        for measurement, counted in zip(self._measurements, self._counted, strict=True):
            if counted.all():
                limbs[0] += measurement.exact_sum()
            else:
                for row in np.flatnonzero(counted):
                    limbs[0] += measurement.exact_sum(int(row))
        return limbs

    def sums_of_each(self) -> Array:
        """Return the sum of squares of each gradient, group by group, of shape (n, 2)."""
        return np.concatenate(
            [
                _added(measurement.results, measurement.group.chunks_of_row, self._is_wide(measurement))
                for measurement in self._measurements
            ]
        )

    def exact_sums_of_each(self, rows: Array) -> Array:
        """Return the exact sums of some gradients, counted over all groups, of shape (k, WIDTH)."""
        places = [
            (measurement, row, counts)
            for measurement, counted in zip(self._measurements, self._counted, strict=True)
            for row, counts in enumerate(counted)
        ]
        limbs = np.zeros((len(rows), WIDTH), np.int64)
        for index, place in enumerate(rows.tolist()):
            measurement, row, counts = places[place]
            if counts:
                limbs[index] = measurement.exact_sum(row)
        return limbs

    def _is_wide(self, measurement: Measurement) -> bool:
        return measurement.group.dtype == FLOAT64


def _added(results: Array, bounds: Array, wide: bool) -> Array:
    if wide:
        return wide_totals(results, bounds)
    sums = np.zeros((len(bounds) - 1, 2))
    sums[:, HIGH : HIGH + 1] = totals(results, bounds)
    return sums


assert (HIGH, LOW) == (0, 1)
