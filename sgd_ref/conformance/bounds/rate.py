"""The learning rate of a call: the values of a faithful schedule, and the dtypes that may hold the rate."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np

from sgd_ref.arithmetic import exact
from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, FORMATS
from sgd_ref.arithmetic.rounded import nearest, setting
from sgd_ref.conformance.bounds.enclosure import Arithmetic, Enclosure
from sgd_ref.conformance.bounds.endpoints import WIDER
from sgd_ref.conformance.bounds.settings import KEPT, ROUNDED
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.optimizer import SGD
from sgd_ref.schedules.base import FormulaSchedule


class Rates:
    """The learning rates of one case.

    A schedule may be evaluated in float32, with the error in units that the case states, or in float64 from
    the unrounded settings, with the same error in units of float64. If an implementation reports the rate of
    a call, the reported rate is judged, and then taken as the rate that it used.

    Parameters
    ----------
    case : Case
        Its `learning_rate_units` bound an evaluation of its schedule.
    optimizer : subclass of SGD, optional
        The optimizer that reads the schedule in the config of the case.
    """

    def __init__(self, case: Case, optimizer: type[SGD] = SGD) -> None:
        self._case = case
        self._units = case.learning_rate_units
        given = case.config["learning_rate"]
        self._schedule = optimizer.from_config(case.config).rate_source if isinstance(given, dict) else None

    @property
    def is_constant(self) -> bool:
        """Whether the rate is the same in every call."""
        return self._schedule is None and self._case.learning_rate_calls is None

    @property
    def in_double(self) -> tuple[float, ...]:
        """The rate of each call, computed in float64 from the settings as given."""
        before = 0 if self._case.state is None else self._case.state.calls
        ends = (self._double(call, before + call) for call in range(len(self._case.gradients)))
        return tuple((low + high) / 2 for low, high in ends)

    def is_possible(self, call: int, calls: int, documented: Any, reported: Any) -> bool:
        """Whether a faithful evaluation may give the reported rate."""
        if reported is None:
            return True
        observed = float(reported)
        if observed == float(np.float32(documented)):
            return True
        for low, high in (self._single(documented), self._double(call, calls)):
            if low <= observed <= high or low <= float(np.float32(observed)) <= high:
                return True
        # The schedule may be evaluated in float64 and then rounded.
        return any(float(np.float32(end)) == observed for end in self._double(call, calls))

    def held(
        self, call: int, calls: int, documented: Any, reported: Any, arithmetic: Arithmetic, kind: str
    ) -> Enclosure:
        """Return the rate of a call in one arithmetic under one reading.

        Parameters
        ----------
        call : int
            The position of the call in the case.
        calls : int
            The count of calls before the call.
        documented : float32
            The rate of the definition.
        reported : float or None
            The rate that the implementation reports.
        arithmetic : Arithmetic
            The arithmetic of the dtype of a variable.
        kind : str
            "rounded" or "kept".
        """
        single = self._single(documented) if reported is None else (float(np.float32(reported)),) * 2
        is_wide = reported is not None and single[0] != float(reported)
        double = (float(reported or 0),) * 2 if is_wide else self._double(call, calls)
        low, high = double if kind == KEPT else single
        if kind == KEPT and arithmetic.dtype not in WIDER:
            # For half types, a float32 counts as kept, too.
            low, high = min(low, *single), max(high, *single)
        if kind == ROUNDED:
            low, high = (float(setting(end, arithmetic.dtype)) for end in (low, high))
        lower, upper = arithmetic.point(np.float64(low)), arithmetic.point(np.float64(high))
        return Enclosure(arithmetic, lower.lower, upper.upper, lower.nan | upper.nan)

    def _single(self, documented: Any) -> tuple[float, float]:
        value = float(np.float32(documented))
        if not math.isfinite(value):
            return value, value
        unit = _unit(value, FORMATS[FLOAT32].precision)
        return value - self._units * unit, value + self._units * unit

    def _double(self, call: int, calls: int) -> tuple[float, float]:
        if self._case.learning_rate_calls is not None:
            value = float(self._case.learning_rate_calls[call])
            return value, value
        if self._schedule is None:
            value = float(self._case.config["learning_rate"])
            return value, value
        if not isinstance(self._schedule, FormulaSchedule):
            return _piecewise(self._case.config["learning_rate"]["config"], calls)
        settings = SimpleNamespace(
            **{
                name: Fraction(value)
                for name, value in self._schedule.get_config().items()
                if type(value) in (int, float)
            }
        )
        value = float(nearest(self._schedule.formula(calls, settings, exact), FLOAT64))
        unit = _unit(value, FORMATS[FLOAT64].precision)
        return value - self._units * unit, value + self._units * unit


def _unit(value: float, precision: int) -> float:
    """Return the unit in the last place of a number in a format of some precision."""
    return math.ldexp(1.0, math.frexp(value)[1] - precision) if value else 0.0


def _piecewise(config: dict[str, Any], calls: int) -> tuple[float, float]:
    passed = sum(boundary < calls for boundary in config["boundaries"])
    value = float(config["values"][passed])
    return value, value
