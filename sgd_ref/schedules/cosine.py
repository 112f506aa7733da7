"""Schedules that decay along half a period of the cosine (Loshchilov and Hutter, SGDR, 2016)."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from sgd_ref.arithmetic import exact
from sgd_ref.schedules.base import (
    Arithmetic,
    FormulaSchedule,
    length_or_zero_setting,
    length_setting,
    real_setting,
)
from sgd_ref.validation import finite_real, non_negative_real, reject_value, text


class CosineDecay(FormulaSchedule):
    """The rate falls along a cosine, after a linear warmup if there is a `warmup_target`.

    Parameters
    ----------
    initial_learning_rate : float
        Learning rate at step 0, finite.
    decay_steps : int or float
        Length of the decay, greater than 0, not counting the warmup.
    alpha : float
        Learning rate at the end, as a fraction of the rate at the start of the decay, finite.
    name : str
        Part of the config only.
    warmup_target : float or None
        Learning rate at the end of the warmup and the start of the decay, finite; None: no warmup.
    warmup_steps : int or float
        Length of the warmup, 0 or more; unused without a `warmup_target`.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type, or is outside of the range above or of that of float32.

    Notes
    -----
    For ``step < warmup_steps``: ``step / warmup_steps * (warmup_target - initial_learning_rate) +
    initial_learning_rate``. (The formula in the documentation leaves out the last term; its prose and the
    code have it.) Then, with `warmup_target` for `initial_learning_rate` and the step counted from the end
    of the warmup: ``initial_learning_rate * ((1 - alpha) * cosine_decay + alpha)`` with ``cosine_decay =
    0.5 * (1 + cos(pi * min(step, decay_steps) / decay_steps))``. Source: documentation of
    ``keras.optimizers.schedules.CosineDecay``, Keras 3.15.1.

    Examples
    --------
    >>> schedule = CosineDecay(0.0, decay_steps=10, warmup_target=0.5, warmup_steps=4)
    >>> schedule(2), schedule(4), schedule(9), schedule(14)
    (np.float32(0.25), np.float32(0.5), np.float32(0.25), np.float32(0.0))
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        super().__init__(
            {
                "initial_learning_rate": real_setting("initial_learning_rate", initial_learning_rate),
                "decay_steps": length_setting("decay_steps", decay_steps),
                "alpha": real_setting("alpha", alpha),
                "name": text("name", name),
                "warmup_target": None
                if warmup_target is None
                else real_setting("warmup_target", warmup_target),
                "warmup_steps": length_or_zero_setting("warmup_steps", warmup_steps),
            }
        )

    def formula(self, step: int, settings: SimpleNamespace, arithmetic: Arithmetic) -> Any:
        """Return the value; see the notes of the class."""
        if self.config["warmup_target"] is None:
            completed_fraction = min(step / self.exact_settings.decay_steps, Fraction(1))
            return settings.initial_learning_rate * _decayed(completed_fraction, settings.alpha, arithmetic)
        warmup_steps = self.exact_settings.warmup_steps
        if step < warmup_steps:
            completed_fraction = arithmetic.number(step / warmup_steps)
            total_delta = settings.warmup_target - settings.initial_learning_rate
            return completed_fraction * total_delta + settings.initial_learning_rate
        completed_fraction = min((step - warmup_steps) / self.exact_settings.decay_steps, Fraction(1))
        return settings.warmup_target * _decayed(completed_fraction, settings.alpha, arithmetic)


class CosineDecayRestarts(FormulaSchedule):
    """The rate falls along a cosine, then jumps up and falls again, in longer and longer periods.

    Parameters
    ----------
    initial_learning_rate : float
        Learning rate at step 0, finite.
    first_decay_steps : int or float
        Length of the first period, greater than 0.
    t_mul : float
        Factor by which each period is longer than the period before, finite and 1 or more.
    m_mul : float
        Factor between the learning rates at the starts of two successive periods (if `alpha` is 0), finite
        and 0 or more.
    alpha : float
        Learning rate before each restart, as a fraction of `initial_learning_rate`, finite.
    name : str
        Part of the config only.

    Raises
    ------
    TypeError, ValueError
        If a setting has another type, or is outside of the range above or of that of float32.

    Notes
    -----
    ``initial_learning_rate * ((1 - alpha) * cosine_decay + alpha)`` with ``cosine_decay = 0.5 * m_mul **
    i * (1 + cos(pi * completed_fraction))``. Here i is the number of the period, from 0, and
    `completed_fraction` is the part of this period that is over. A period contains its first step and not its
    last. Source: documentation and, for the place of `m_mul`, code of
    ``keras.optimizers.schedules.CosineDecayRestarts``, Keras 3.15.1.

    Examples
    --------
    >>> schedule = CosineDecayRestarts(0.5, first_decay_steps=10)
    >>> schedule(5), schedule(10), schedule(20), schedule(30)
    (np.float32(0.25), np.float32(0.5), np.float32(0.25), np.float32(0.5))
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        super().__init__(
            {
                "initial_learning_rate": real_setting("initial_learning_rate", initial_learning_rate),
                "first_decay_steps": length_setting("first_decay_steps", first_decay_steps),
                "t_mul": real_setting("t_mul", t_mul, _at_least_one),
                "m_mul": real_setting("m_mul", m_mul, non_negative_real),
                "alpha": real_setting("alpha", alpha),
                "name": text("name", name),
            }
        )

    def formula(self, step: int, settings: SimpleNamespace, arithmetic: Arithmetic) -> Any:
        """Return the value; see the notes of the class."""
        exactly = self.exact_settings
        restarts, completed_fraction = period(step / exactly.first_decay_steps, exactly.t_mul)
        m_factor = arithmetic.power(settings.m_mul, arithmetic.number(restarts))
        return settings.initial_learning_rate * _decayed(
            completed_fraction, settings.alpha, arithmetic, m_factor
        )


def _decayed(completed_fraction: Fraction, alpha: Any, arithmetic: Arithmetic, m_factor: Any = 1) -> Any:
    """Return the rate as a fraction of the initial rate."""
    cosine_decay = m_factor * (1 + arithmetic.cosine_of_pi_times(arithmetic.number(completed_fraction))) / 2
    return (1 - alpha) * cosine_decay + alpha


def period(completed: Fraction, t_mul: Fraction) -> tuple[int, Fraction]:
    """Return the number of restarts before a time, and the fraction of the present period that is over.

    The unit of time is the first period. The i-th period, from 0, has the length t_mul**i and starts at
    1 + t_mul + ... + t_mul**(i - 1) = (t_mul**i - 1) / (t_mul - 1).
    """
    if t_mul == 1:
        restarts = math.floor(completed)
        return restarts, completed - restarts
    largest_length = 1 + completed * (t_mul - 1)
    # The quotient of two rounded logarithms can miss a restart; comparing the lengths cannot.
    restarts = math.floor(_logarithm(largest_length) / _logarithm(t_mul))
    length = exact.power(t_mul, Fraction(restarts))
    while length > largest_length:
        restarts, length = restarts - 1, length / t_mul
    while length * t_mul <= largest_length:
        restarts, length = restarts + 1, length * t_mul
    return restarts, (completed - (length - 1) / (t_mul - 1)) / length


def _logarithm(x: Fraction) -> float:
    return math.log(x.numerator) - math.log(x.denominator)


def _at_least_one(name: str, value: Any) -> float:
    accepted = "a finite real number of at least 1"
    number = finite_real(name, value, accepted)
    if number < 1:
        reject_value(name, value, accepted)
    return number
