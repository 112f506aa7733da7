"""A case: what an optimizer is given, as plain data, and the trajectory that it answers with."""

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
        Number of calls made, which are more than the updates where gradients are accumulated.
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
    """How the arrays of a case lie in memory: for each variable a layout of ``layouts.LAYOUTS``.

    Attributes
    ----------
    variables, gradients : tuple of str
        That of each variable, and that of its gradient in every call. What is sparse has none.

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
    """What the arrays of a big case are made from.

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
        Never changes its meaning. The numbers of a case are not drawn from it.
    config : dict
        What ``SGD.get_config()`` gives. The learning rate is a float, a schedule as
        ``{"class_name": ..., "config": {...}}``, or None where `learning_rate_calls` is given. Settings that
        a schedule leaves out are added with their defaults.
    names : tuple of str
        Names of the variables.
    variables : tuple of ndarray
        Values before the first call: float16, bfloat16, float32 or float64.
    gradients : tuple of tuple of (ndarray, SparseRows or None)
        For each call, one gradient for each variable, as passed to ``apply``, that is already scaled.
    state : State or None
        The state to resume from; None for a fresh optimizer.
    excluded_from_weight_decay : tuple of str
        Substrings of names.
    loss_scaling : LossScaling or None
        Settings of the LossScaleOptimizer around the optimizer, if there is one.
    learning_rate_calls : tuple of float or None
        What a callable learning rate returns, one value for each call.
    finalize : bool
        Whether ``finalize_variable_values`` follows the last call.
    features : dict of str to str
        The value of each feature axis, such as ``{"update": "nesterov"}``; None for a case that is no
        combination of them.
    learning_rate_units : int
        How many units in the last place of float32 an evaluation in float32 of the schedule of this
        case may be off.
    exposes : tuple of str
        Names of known deviations that the case is for: the author of the case states them, and the audit of
        the kit says whether they diverge in it. In golden data, all known deviations that diverge in it.
    notes : str
        What the case is for, with addresses where it stems from a known bug.
    kind : str
        ``"trajectory"``.
    layouts : Layouts or None
        How `variables` and `gradients` lie in memory; None where every array is contiguous. The layouts
        change no value, and a program in another language may ignore them.
    made : Made or None
        What all variables and gradients of a big case are made from; None where they are listed. Nothing is
        rounded in such a case, so that hashes of its arrays are compared.
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
        """Make the config whole, so that an adapter finds every setting in it."""
        object.__setattr__(self, "config", whole(self.config))

    def rate(self, call: int, skipped: int = 0) -> float:
        """Return the learning rate of a call, whatever gives it: a number, a schedule or a callable.

        Parameters
        ----------
        call : int
            The call, counted from 0 within this case, also where the case resumes.
        skipped : int, default 0
            How many calls of this case dynamic loss scaling skipped before: a schedule does not count them.

        Returns
        -------
        float
            A float32 as a Python float: the rate passes through float32, for float64 variables too.

        Raises
        ------
        TypeError, ValueError
            If `call` or `skipped` is no such number.

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
"learning_rate" (the rate that this call read) are welcome."""

Trajectory = Sequence[Record]
"""One record for each gradient call, then one more after finalisation if ``case.finalize``."""

Implementation = Callable[[Case], Trajectory]
"""An implementation under test: one function from a case to a trajectory."""
