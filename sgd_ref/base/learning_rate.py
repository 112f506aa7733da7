"""The learning rate: a number, a schedule, or a callable without arguments."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.losses import Losses
from sgd_ref.schedules import LearningRateSchedule
from sgd_ref.validation import finite_real, reject_value

LearningRate = float | LearningRateSchedule | Callable[[], Any]

ACCEPTED = "a real number that is finite in float32"


def checked(
    learning_rate: Any, losses: Losses | None = None
) -> np.float32 | LearningRateSchedule | Callable[[], Any]:
    """Return a number as float32, a schedule or a callable as it is.

    The module `losses` warns of a number that becomes 0.

    Raises
    ------
    TypeError
        If it is none of the three, or a callable that cannot be called without arguments.
    ValueError
        If it is a number that is not finite in float32.

    Examples
    --------
    >>> checked(0.1)
    np.float32(0.1)
    """
    if isinstance(learning_rate, LearningRateSchedule):
        return learning_rate
    if callable(learning_rate) and not isinstance(learning_rate, type):
        function: Callable[[], Any] = learning_rate
        _check_takes_nothing(function)
        return function
    rate = to_float32("learning_rate", learning_rate, f"{ACCEPTED}, a schedule or a callable")
    if losses is not None:
        losses.tell("learning_rate", float(learning_rate), FLOAT32, near_one=False)
    return rate


def read(
    learning_rate: np.float32 | LearningRateSchedule | Callable[[], Any],
    calls: int,
    losses: Losses | None = None,
) -> np.float32:
    """Return the learning rate of the call after `calls` calls.

    The module `losses` warns of a lost value of a schedule or a callable.

    Raises
    ------
    TypeError
        If a callable returns something that is not a real number.
    ValueError
        If the value is not finite in float32.
    """
    if isinstance(learning_rate, np.float32):
        return learning_rate
    value = given(learning_rate, calls)
    # The name of the value for an error takes longer to write than most schedules take to compute.
    if losses is not None and type(value) is np.float32 and losses.keep(float(value)):
        return value
    rate = rounded(learning_rate, calls, value)
    if losses is not None and not losses.keep(float(rate)):
        losses.tell_given_rate(value, rate)
    return rate


def given(learning_rate: LearningRateSchedule | Callable[[], Any], calls: int) -> Any:
    """Return the value of a schedule or a callable, not yet rounded."""
    return learning_rate(calls) if isinstance(learning_rate, LearningRateSchedule) else _called(learning_rate)


def rounded(learning_rate: LearningRateSchedule | Callable[[], Any], calls: int, value: Any) -> np.float32:
    """Return a value of a schedule or a callable as float32.

    Raises
    ------
    TypeError, ValueError
        As for ``read``.
    """
    name = "the value returned by the callable learning_rate"
    if isinstance(learning_rate, LearningRateSchedule):
        name = f"the value of learning_rate {learning_rate!r} at step {calls}"
    return to_float32(name, value)


def _called(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except TypeError as error:
        # The call itself raised it, not the code of the callable: some callables have no signature to check.
        traceback = error.__traceback__
        if traceback is not None and traceback.tb_next is None:
            error.add_note(f"learning_rate, {function!r}, is called without arguments")
        raise


def _check_takes_nothing(function: Callable[[], Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        # Some callables that are not written in Python have no signature.
        return
    try:
        signature.bind()
    except TypeError as error:
        raise TypeError(
            f"learning_rate must be {ACCEPTED}, a schedule or a callable without arguments, "
            f"got {function!r}, which takes {signature}: {error}"
        ) from None


def refuse_changed_arrays(error: Exception | None = None) -> NoReturn:
    """Raise the error for a callable that has replaced arrays of the call that reads it."""
    raise RuntimeError(
        "the callable learning_rate must not change the shape, dtype or layout of variables, state or "
        "gradients, nor make them read-only, while a call asks for it; their values it may change"
    ) from error


def to_float32(name: str, value: Any, accepted: str = ACCEPTED) -> np.float32:
    """Round a real number to float32, or raise an error that names it."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    rounded: np.float32 = setting(finite_real(name, value, accepted), FLOAT32)
    if math.isinf(rounded):
        reject_value(name, value, accepted)
    return rounded
