"""The options of a parameter group, checked: rate, momentum, decay and the form of momentum."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from numba_kernels.torch.rules import RuledSettings
from sgd_ref.base.learning_rate import to_float32
from sgd_ref.base.losses import Losses
from sgd_ref.base.settings import SETTINGS
from sgd_ref.schedules import LearningRateSchedule
from sgd_ref.schedules.serialization import deserialize
from sgd_ref.validation import (
    boolean,
    finite_real,
    integer_at_least,
    reject_type,
    reject_value,
    unit_interval,
)

OF_A_GROUP = ("momentum", "nesterov", "weight_decay")
"""The settings of ``sgd_ref.SGD``, besides the rate, that each group has separately."""

OF_THE_OPTIMIZER = (
    "rule",
    *(name for name in SETTINGS if name not in (*OF_A_GROUP, "name", "loss_scale_factor")),
)
"""The settings that all groups share."""

DEFAULTS: dict[str, Any] = {
    "lr": 0.001,
    "momentum": 0.0,
    "weight_decay": None,
    "nesterov": False,
    "schedule": None,
    "calls": 0,
}
"""The options of a group, besides its parameters."""

WITHOUT_MEANING = {
    "dampening": 0,
    "maximize": False,
    "differentiable": False,
    "capturable": False,
}
"""Options of ``torch.optim.SGD`` that are not offered, each with the only value that is accepted."""

IMPLEMENTATIONS = ("foreach", "fused")
"""Options of ``torch.optim.SGD`` that choose an implementation; here there is only one."""

RATE = "a real number that is finite in float32, a tensor of one element, or a schedule of sgd_ref"


def adopt_schedule(group: dict[str, Any]) -> None:
    """Move a schedule that was given as the rate, or as plain data, to its own option."""
    if isinstance(group.get("lr"), LearningRateSchedule):
        group["schedule"] = group["lr"]
        group["lr"] = float(group["schedule"](group.get("calls", 0)))
    elif "lr" in group:
        group.setdefault("schedule", None)
    if isinstance(group.get("schedule"), Mapping):
        group["schedule"] = deserialize(group["schedule"])


def check_group(name: str, group: Mapping[str, Any]) -> None:
    """Check the options of a group, which must be complete.

    Raises
    ------
    TypeError, ValueError
        If an option has the wrong type or value, or cannot be set for a group.
    """
    check_options_of_pytorch(f"{name}[{{!r}}]", group)
    given = [option for option in OF_THE_OPTIMIZER if option in group]
    if given:
        raise ValueError(
            f"{name} must not have {', '.join(given)}, which the constructor takes for all groups together"
        )
    if group["schedule"] is not None and not isinstance(group["schedule"], LearningRateSchedule):
        reject_type(f"{name}['schedule']", group["schedule"], "None or a schedule of sgd_ref")
    rounded_rate(f"{name}['lr']", group["lr"])
    integer_at_least(f"{name}['calls']", group["calls"], 0)
    settings_of(name, group, RuledSettings())


def check_options_of_pytorch(name: str, given: Mapping[str, Any]) -> None:
    """Check options that only ``torch.optim.SGD`` has.

    Parameters
    ----------
    name : str
        The name of an option in error messages, with a field for the option.
    given : mapping
        Any options; others are not looked at.

    Raises
    ------
    ValueError
        If one of them has a value with a meaning.

    Examples
    --------
    >>> check_options_of_pytorch("{}", {"dampening": 0, "fused": None})
    >>> check_options_of_pytorch("{}", {"fused": True})
    Traceback (most recent call last):
    ValueError: fused must be left out, None or False, since each step is one pass over memory, got True
    """
    for option, only in WITHOUT_MEANING.items():
        if given.get(option, only) != only:
            raise ValueError(
                f"{name.format(option)} must be left out or {only!r}, since it is not offered, "
                f"got {given[option]!r}"
            )
    for option in IMPLEMENTATIONS:
        if given.get(option) not in (None, False):
            raise ValueError(
                f"{name.format(option)} must be left out, None or False, since each step is one pass over "
                f"memory, got {given[option]!r}"
            )


def check_further(given: Mapping[str, Any]) -> None:
    """Check the further arguments of the constructor, which can only be options of ``torch.optim.SGD``.

    Raises
    ------
    TypeError
        If there is no such argument.
    ValueError
        If it has a value with a meaning.
    """
    for option in given:
        if option not in (*WITHOUT_MEANING, *IMPLEMENTATIONS):
            raise TypeError(f"numba_kernels.torch.SGD must not get {option!r}, which is no argument of it")
    check_options_of_pytorch("{}", given)


def settings_of(name: str, group: Mapping[str, Any], common: RuledSettings) -> RuledSettings:
    """Return the settings of a group: its own and those of the optimizer."""
    decay = _number(group["weight_decay"])
    if decay is not None:
        decay = finite_real(f"{name}['weight_decay']", decay)
        if decay == 0 and not common.of_rule.decays_by_zero:
            decay = None
    return replace(
        common,
        momentum=unit_interval(f"{name}['momentum']", _number(group["momentum"])),
        nesterov=boolean(f"{name}['nesterov']", group["nesterov"]),
        weight_decay=decay,
    )


def rounded_rate(name: str, value: Any) -> np.float32:
    """Return a rate as float32.

    >>> rounded_rate("lr", torch.tensor(0.5))
    np.float32(0.5)
    """
    if isinstance(value, torch.Tensor):
        if value.numel() != 1:
            reject_value(name, tuple(value.shape), "a tensor of one element (Tensor lr must be 1-element)")
        value = value.item()
    return to_float32(name, value, RATE)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value


class Options(NamedTuple):
    """The options of a group for one call.

    Attributes
    ----------
    settings : RuledSettings
        The same object as long as no option changes.
    rate : float32
        The same object as long as the rate does not change.
    """

    settings: RuledSettings
    rate: np.float32


class OptionsOfGroup:
    """The options of one group, which are read before each call, and checked if they have changed.

    Parameters
    ----------
    index : int
        The index of the group, for error messages.
    common : RuledSettings
        The settings that all groups share.
    dtypes : list of dtype
        The dtypes of the parameters of the group.
    losses : Losses
        The warnings already given.
    """

    def __init__(
        self, index: int, common: RuledSettings, dtypes: list[np.dtype[Any]], losses: Losses
    ) -> None:
        self._name = f"param_groups[{index}]"
        self._common, self._dtypes, self._losses = common, dtypes, losses
        self._given: tuple[Any, ...] = ()
        self._given_rate: Any = None
        self._read: Options | None = None

    def read(self, group: dict[str, Any]) -> Options:
        """Return the options of the next call.

        Raises
        ------
        TypeError, ValueError
            If an option has the wrong type or value. Then nothing has changed, except that a schedule that
            was assigned to ``lr`` has been moved to its own option.
        """
        given = tuple(group[option] for option in OF_A_GROUP)
        rate = self._rate(group)
        old = self._read
        if old is not None and old.rate is rate and _are_same(given, self._given):
            return old
        if old is not None and _are_same(given, self._given):
            settings = old.settings
        else:
            settings = settings_of(self._name, group, self._common)
            settings.check_dtypes(self._dtypes, rate, self._losses)
        if not self._losses.keep(float(rate)):
            self._losses.tell_rate(rate)
        self._given, self._read = given, Options(settings, rate)
        return self._read

    def _rate(self, group: dict[str, Any]) -> np.float32:
        value = group["lr"]
        old = self._read
        if (
            old is not None
            and value is self._given_rate
            and type(value) is float
            and group["schedule"] is None
        ):
            return old.rate
        name = f"{self._name}['lr']"
        adopt_schedule(group)
        rate = rounded_rate(name, group["lr"])
        if group["schedule"] is not None:
            scheduled = np.float32(group["schedule"](group["calls"]))
            if rate != scheduled:
                raise ValueError(
                    f"{name} must be left to {self._name}['schedule'], which gives {float(scheduled)!r}, "
                    f"got {float(rate)!r}; set the schedule to None first"
                )
        self._given_rate = group["lr"]
        # A comparison does not see the sign of a zero.
        if old is not None and old.rate == rate and rate != 0:
            return old.rate
        return rate


def _are_same(given: tuple[Any, ...], known: tuple[Any, ...]) -> bool:
    """Whether options are the checked objects, and no tensors, which may change in place."""
    if len(given) != len(known) or not all(
        a is b or (type(a) is type(b) is float and a == b) for a, b in zip(given, known, strict=True)
    ):
        return False
    return not any(isinstance(value, torch.Tensor) for value in itertools.chain(given))
