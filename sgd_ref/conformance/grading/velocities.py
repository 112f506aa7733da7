"""Velocities that an implementation keeps in another form, and their conversion to the documented form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.case import Case, Implementation, Record, Trajectory, Unsupported
from sgd_ref.conformance.protocol.digest import Digest
from sgd_ref.validation import boolean, reject_value


@dataclass(frozen=True)
class Velocities:
    """The form in which an implementation keeps a velocity, as a multiple of the documented one.

    The documented velocity is ``v = momentum * v - learning_rate * g``, and is added to the variable. If the
    implementation keeps the array ``kept``, then ``v`` is ``sign * kept``, or ``sign * learning_rate * kept``
    without the rate.

    Attributes
    ----------
    sign : int
        1, or -1 if the kept array is subtracted from the variable.
    without_rate : bool
        Whether the kept array leaves out the rate. It can be converted to a velocity only at a constant rate.

    Examples
    --------
    ``torch.optim.SGD`` keeps ``t = momentum * t + g`` and subtracts ``learning_rate * t``:

    >>> Velocities(sign=-1, without_rate=True).kept(np.array([0.5, -1.0], "float32"), 0.25)
    array([-2.,  4.], dtype=float32)
    """

    sign: int = 1
    without_rate: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if isinstance(self.sign, bool) or self.sign not in (1, -1):
            reject_value("sign", self.sign, "1 or -1")
        boolean("without_rate", self.without_rate)

    @property
    def is_documented(self) -> bool:
        """Whether the kept array is the documented velocity."""
        return self.sign == 1 and not self.without_rate

    def kept(self, velocity: Array, rate: float | None) -> Array | None:
        """Return the kept form of a documented velocity, or None if the conversion is not exact.

        Parameters
        ----------
        velocity : ndarray
            The documented velocity.
        rate : float or None
            The constant rate of the case; None where it may change.
        """
        factor = self._factor(velocity, rate)
        return None if not factor else exactly_scaled(velocity, 1 / factor)

    def documented(self, kept: Array, rate: float | None) -> Array | None:
        """Return the documented velocity for a kept array, or None if the conversion is not exact."""
        factor = self._factor(kept, rate)
        return None if not factor else exactly_scaled(kept, factor)

    def _factor(self, array: Array, rate: float | None) -> Fraction | None:
        if not self.without_rate:
            return Fraction(self.sign)
        # The dtype in which the rate is kept is unknown, unless every dtype holds the rate.
        if rate is None or float(array.dtype.type(rate)) != rate:
            return None
        return self.sign * Fraction(rate)


DOCUMENTED = Velocities()


def exactly_scaled(array: Array, factor: Fraction) -> Array | None:
    """Return a multiple of an array, or None if an element of it would have to be rounded.

    A zero keeps its sign: a velocity begins as +0.0 in every form.

    Examples
    --------
    >>> exactly_scaled(np.array([3.0, -0.0, np.inf], "float32"), Fraction(-1, 2))
    array([-1.5, -0. , -inf], dtype=float32)
    >>> exactly_scaled(np.array([1.0], "float32"), Fraction(1, 3)) is None
    True
    """
    if abs(factor) == 1:
        return np.where(array == 0, array, array if factor > 0 else -array)
    scaled = np.array(array)
    for index, element in np.ndenumerate(array):
        number = float(element)
        if not math.isfinite(number):
            scaled[index] = -element if factor < 0 else element
        elif number != 0:
            wanted = Fraction(number) * factor
            with np.errstate(all="ignore"):
                scaled[index] = _nearest(wanted)
            found = float(scaled[index])
            if not math.isfinite(found) or Fraction(found) != wanted:
                return None
    return scaled


def _nearest(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def with_velocities(run: Implementation, velocities: Velocities) -> Implementation:
    """Wrap an implementation that keeps other velocities: the result takes and reports documented ones.

    Reported velocities are left out if the conversion would have to round.

    Raises
    ------
    Unsupported
        By the wrapped implementation, for a case that resumes from velocities without an exact kept form.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> def run(case):  # it steps from what it keeps, as PyTorch does
    ...     w, t = case.variables[0], case.state.velocities[0]
    ...     t = case.config["momentum"] * t + case.gradients[0][0]
    ...     return [{"variables": [w - case.rate(0) * t], "velocities": [t]}]
    >>> one, two, four = (np.array([x], "float32") for x in (1.0, 2.0, 4.0))
    >>> state = conformance.State(calls=1, velocities=(-two,))
    >>> case = conformance.Case(
    ...     "", {"learning_rate": 0.5, "momentum": 0.25}, ("w",), (four,), ((one,),), state=state
    ... )
    >>> with_velocities(run, Velocities(sign=-1, without_rate=True))(case)[0]["velocities"]
    [array([-1.], dtype=float32)]
    """
    if velocities.is_documented:
        return run

    def mapped(case: Case) -> Trajectory:
        rate = _constant_rate(case)
        if case.state is not None and case.state.velocities:
            kept = [velocities.kept(velocity, rate) for velocity in case.state.velocities]
            if any(array is None for array in kept):
                raise Unsupported("what it keeps for the velocities of the state would have to be rounded")
            case = replace(
                case, state=replace(case.state, velocities=tuple(a for a in kept if a is not None))
            )
        return [_documented(record, velocities, rate) for record in run(case)]

    return mapped


def _documented(record: Any, velocities: Velocities, rate: float | None) -> Record:
    reported: Sequence[Any] = record.get("velocities") or ()
    if not reported:
        return dict(record)
    others = {key: value for key, value in record.items() if key != "velocities"}
    if any(isinstance(array, Digest) for array in reported):
        return others
    found = [velocities.documented(np.asarray(array), rate) for array in reported]
    return others if any(array is None for array in found) else {**others, "velocities": found}


def _constant_rate(case: Case) -> float | None:
    given = case.config["learning_rate"]
    return float(given) if isinstance(given, (int, float)) and case.learning_rate_calls is None else None
