"""The optimizer of arrays behind an optimizer of Keras, and the lists of variables that it works on."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from numba_kernels.cpu import optimizer as cpu
from numba_kernels.cpu.threads import Task
from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.call import Call
from sgd_ref.base.losses import Losses
from sgd_ref.base.settings import SETTINGS, Settings
from sgd_ref.base.state import State

Lists = list[list[Any]]
"""Variables, velocities, averages and accumulators; an empty list where the feature is off."""


def lists_of(optimizer: Any) -> Lists:
    """Return the variables that a step of a Keras optimizer reads and writes, besides the count."""
    return [
        list(optimizer._trainable_variables),
        list(optimizer.momentums),
        list(getattr(optimizer, "_model_variables_moving_average", ())) if optimizer.use_ema else [],
        list(getattr(optimizer, "_accumulated_gradients", ()))
        if optimizer.gradient_accumulation_steps
        else [],
    ]


class Engine(cpu.SGD):
    """An optimizer whose state lies in given memory, and which counts there, too.

    Parameters
    ----------
    settings : Settings
        The checked settings.
    state : State
        The arrays to update, in place.
    threads : int
        The number of threads that may work on a step.
    losses : Losses
        The warnings already given.
    counter : ndarray of one integer, optional
        Receives the number of calls, together with each step.
    """

    _counter: Array | None = None

    def __init__(
        self, settings: Settings, state: State, threads: int, losses: Losses, counter: Array | None = None
    ) -> None:
        super().__init__(0.0, **asdict(settings), threads=threads)
        self._counter = counter
        self._losses = losses
        dtypes = [variable.dtype for variable in state.variables]
        settings.check_dtypes(dtypes, None, losses)
        losses.use(dtypes)
        self._state = state

    def step(self, gradients: list[Any], rate: Any, calls: int) -> None:
        """Make one call with a learning rate, after a number of calls."""
        # A comparison does not see the sign of a zero.
        if rate != self.rate_source or rate == 0:
            self.learning_rate = rate
        self.built_state().calls = calls
        self.apply(gradients)

    def counting(self, call: Call) -> list[Task]:
        """Return the tasks that count a call, also in the memory of the caller."""
        counted = super().counting(call)
        return (
            counted
            if self._counter is None
            else [*counted, partial(self._counter.fill, call.state.calls + 1)]
        )


class Engines:
    """The engine of an optimizer of Keras, made anew where a setting or an array has changed.

    Settings are attributes in Keras, which users may set at any time.
    """

    def __init__(self) -> None:
        self._given: list[Any] = []
        self._identities: Any = None
        self._engine: Engine | None = None
        self._losses = Losses()

    def current(
        self,
        optimizer: Any,
        identities: Any,
        arrays: Callable[[], tuple[list[list[Array]], Array | None]],
        threads: int,
    ) -> Engine:
        """Return the engine for the present settings and arrays.

        Parameters
        ----------
        optimizer : SGD
            Its attributes are the settings.
        identities : object
            Equal in two calls if the arrays are at the same addresses.
        arrays : callable
            Returns the four lists of arrays, and the counter if it is an array.
        threads : int
            The number of threads.

        Raises
        ------
        TypeError, ValueError
            If a setting that was changed is not acceptable, or needs state that was not built.
        """
        given = [getattr(optimizer, name) for name in SETTINGS] + [threads]
        engine = self._engine
        if engine is None or identities != self._identities or not all(map(operator.is_, given, self._given)):
            settings = checked_settings(optimizer)
            lists, counter = arrays()
            _check_has_state(settings, lists)
            engine = Engine(settings, _state(optimizer, lists), threads, self._losses, counter)
            self._engine, self._given, self._identities = engine, given, identities
        return engine


def checked_settings(optimizer: Any) -> Settings:
    """Return the settings that an optimizer of Keras has as attributes, checked."""
    return Settings.checked(**{name: getattr(optimizer, name) for name in SETTINGS})


def _state(optimizer: Any, lists: Sequence[list[Array]]) -> State:
    variables, velocities, averages, accumulators = lists
    known = optimizer._trainable_variables
    return State(
        names=[variable.path for variable in known],
        variables=variables,
        decayed=[bool(optimizer._use_weight_decay(variable)) for variable in known],
        velocities=velocities,
        averages=averages,
        accumulators=accumulators,
    )


def _check_has_state(settings: Settings, lists: Sequence[list[Array]]) -> None:
    needed = {
        "momentum": (settings.momentum != 0, settings.momentum, "0.0"),
        "use_ema": (settings.use_ema, settings.use_ema, "False"),
        "gradient_accumulation_steps": (
            settings.gradient_accumulation_steps is not None,
            settings.gradient_accumulation_steps,
            "None",
        ),
    }
    for arrays, (name, (is_needed, value, off)) in zip(lists[1:], needed.items(), strict=True):
        if is_needed and not arrays:
            raise ValueError(
                f"{name} must stay {off}, as it was when the optimizer was built without state for it, "
                f"got {value!r}"
            )
