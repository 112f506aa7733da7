"""A case: the input of an optimizer, as plain data, and the trajectory that is its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.catalogue.rates import rate_of_call
from sgd_ref.conformance.catalogue.whole import whole
from sgd_ref.gradients import SparseRows


class Unsupported(Exception):
    """Raised by an implementation under test for a feature that it does not offer, with the reason."""


@dataclass(frozen=True)
class LossScaling:
    """Dynamic loss scaling: the arguments of LossScaleOptimizer around the optimizer of the case.

    Attributes
    ----------
    initial_scale : float
        Positive and normal in float32, without a unit.
    dynamic_growth_steps : int
        Finite calls until the scale doubles, at least 1.

    Examples
    --------
    >>> LossScaling(initial_scale=2.0**15, dynamic_growth_steps=2000)
    LossScaling(initial_scale=32768.0, dynamic_growth_steps=2000)
    """

    initial_scale: float
    dynamic_growth_steps: int


@dataclass(frozen=True)
class State:
    """The state of an optimizer in mid-training, from which a case resumes.

    Tuples have one array for each variable, of its shape and dtype, in the order of the variables; they are
    empty where the feature is off.

    Attributes
    ----------
    calls : int
        Number of calls made, which exceeds the number of updates if gradients are accumulated.
    velocities, averages, accumulators : tuple of ndarray
        With momentum, with moving averages, with gradient accumulation.
    loss_scale : float or None
        The present scale; None without loss scaling.
    growth_counter : int or None
        Finite calls since the scale changed or was kept from changing; None without loss scaling.

    Examples
    --------
    >>> import numpy as np
    >>> State(calls=3, velocities=(np.array([0.5, -1.0], "float32"),)).velocities
    (array([ 0.5, -1. ], dtype=float32),)
    """

    calls: int
    velocities: tuple[Array, ...] = ()
    averages: tuple[Array, ...] = ()
    accumulators: tuple[Array, ...] = ()
    loss_scale: float | None = None
    growth_counter: int | None = None


@dataclass(frozen=True)
class Layouts:
    """The layouts of the arrays of a case in memory: for each variable a key of ``layouts.LAYOUTS``.

    Attributes
    ----------
    variables, gradients : tuple of str
        The layout of each variable, and of its gradient in every call. Sparse gradients have no layout.

    Examples
    --------
    >>> Layouts(variables=("contiguous",), gradients=("transposed",)).gradients
    ('transposed',)
    """

    variables: tuple[str, ...]
    gradients: tuple[str, ...]


MadeFrom = tuple[int, int]
"""The two numbers from which ``made.made`` makes an array: multiplier and offset."""


@dataclass(frozen=True)
class Made:
    """The numbers that the arrays of a big case are made from.

    Attributes
    ----------
    variables : tuple of (int, int)
        For each variable.
    gradients : tuple of tuple of (int, int)
        For each call, for each variable.
    """

    variables: tuple[MadeFrom, ...]
    gradients: tuple[tuple[MadeFrom, ...], ...]


@dataclass(frozen=True, eq=False)
class Case:
    """One run of an optimizer: settings, variables, and the gradients of every call.

    Attributes
    ----------
    id : str
        The id, whose meaning never changes. The numbers of a case do not depend on it.
    config : dict
        The result of ``SGD.get_config()``. The learning rate is a float, a schedule as ``{"class_name": ...,
        "config": {...}}``, or None if `learning_rate_calls` is given. Settings that a schedule leaves out are
        added with their defaults.
    names : tuple of str
        Names of the variables.
    variables : tuple of ndarray
        Values before the first call: float16, bfloat16, float32 or float64.
    gradients : tuple of tuple of (ndarray, SparseRows or None)
        For each call, one gradient for each variable, as passed to ``apply``: already multiplied by the loss
        scale.
    state : State or None
        The state to resume from; None for a fresh optimizer.
    excluded_from_weight_decay : tuple of str
        Substrings of names.
    loss_scaling : LossScaling or None
        Settings of the LossScaleOptimizer around the optimizer, if there is one.
    learning_rate_calls : tuple of float or None
        The values of a callable learning rate, one for each call.
    finalize : bool
        Whether ``finalize_variable_values`` follows the last call.
    features : dict of str to str
        The value of each feature axis, such as ``{"update": "nesterov"}``; None for a case that is no
        combination of them.
    learning_rate_units : int
        The largest error of an evaluation of the schedule of this case in float32, in units in the last
        place.
    exposes : tuple of str
        Names of known deviations for which the case was made. Its author states them, and the audit of
        the kit checks that they diverge in the case. Small cases in golden data name all known deviations
        that their bounds reject.
    notes : str
        The purpose of the case, with addresses if it stems from a known bug.
    kind : str
        ``"trajectory"``.
    layouts : Layouts or None
        The layouts of `variables` and `gradients` in memory; None if every array is contiguous. The layouts
        change no value, and a program in another language may ignore them.
    made : Made or None
        The numbers that all variables and gradients of a big case are made from; None if the elements are
        listed. Nothing is rounded in a big case, so that hashes of its arrays can be compared.
    """

    id: str
    config: dict[str, Any]
    names: tuple[str, ...]
    variables: tuple[Array, ...]
    gradients: tuple[tuple[Array | SparseRows | None, ...], ...]
    state: State | None = None
    excluded_from_weight_decay: tuple[str, ...] = ()
    loss_scaling: LossScaling | None = None
    learning_rate_calls: tuple[float, ...] | None = None
    finalize: bool = False
    features: dict[str, str] | None = None
    learning_rate_units: int = 0
    exposes: tuple[str, ...] = ()
    notes: str = ""
    kind: str = "trajectory"
    layouts: Layouts | None = None
    made: Made | None = None

    def __post_init__(self) -> None:
        """Complete the config, so that an adapter finds every setting in it."""
        object.__setattr__(self, "config", whole(self.config))

    def rate(self, call: int, skipped: int = 0) -> float:
        """Return the learning rate of a call, from a number, a schedule or a callable.

        Parameters
        ----------
        call : int
            The call, counted from 0 within this case, even if the case resumes.
        skipped : int, default 0
            The number of earlier calls of this case that dynamic loss scaling skipped, which a schedule does
            not count.

        Returns
        -------
        float
            A float32 as a Python float: the rate passes through float32, for float64 variables too.

        Raises
        ------
        TypeError, ValueError
            If `call` or `skipped` is not such a number.

        Examples
        --------
        >>> from sgd_ref import conformance
        >>> by_id = {case.id: case for case in conformance.cases()}
        >>> [by_id["axes/momentum/piecewise"].rate(call) for call in range(4)]
        [0.25, 0.25, 0.25, 0.03125]
        """
        first = 0 if self.state is None else self.state.calls
        return rate_of_call(self.config, self.learning_rate_calls, first, call, skipped)


Record = dict[str, Any]
"""The state after one call: "variables" (a list of ndarrays) is required; "velocities", "averages",
"accumulators" (lists of ndarrays), "iterations", "calls", "growth_counter" (integers), "loss_scale" and
"learning_rate" (the rate that this call read) are optional."""

Trajectory = Sequence[Record]
"""One record for each gradient call, then one more after finalisation if ``case.finalize``."""

Implementation = Callable[[Case], Trajectory]
"""An implementation under test: one function from a case to a trajectory."""
