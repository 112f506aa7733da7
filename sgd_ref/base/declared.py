"""Refuse attributes that a class does not declare: to set one would silently change nothing."""

from __future__ import annotations

import difflib
import functools
from types import FunctionType

from sgd_ref.base.fixed_setting import FixedSetting

MEANT = {
    "lr": "learning_rate",
    "rate": "learning_rate",
    "eta": "learning_rate",
    "step_size": "learning_rate",
    "decay": "weight_decay",
    "wd": "weight_decay",
    "beta": "momentum",
    "beta_1": "momentum",
    "mu": "momentum",
    "clip": "clipnorm",
    "max_norm": "clipnorm",
    "max_grad_norm": "global_clipnorm",
    "clip_value": "clipvalue",
    "ema": "use_ema",
    "scale": "loss_scale",
}
"""Names of settings in other libraries and papers, with the names that they have here."""


class Declared:
    """A base class: only attributes that the class declares can be set.

    A class declares a public name by an annotation, a class attribute, a property or another descriptor.
    Names that begin with an underscore need no declaration.

    >>> class Counted(Declared):
    ...     count: int
    >>> counted = Counted()
    >>> counted.count = 1
    >>> counted.counts = 1
    Traceback (most recent call last):
    AttributeError: Counted has no attribute 'counts' that could be set; count is meant
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            owner: type = type(self)
            if not _is_settable(owner, name, callable(value)):
                raise AttributeError(_refusal(owner, name))
        super().__setattr__(name, value)


@functools.lru_cache(maxsize=4096)
def _is_settable(owner: type, name: str, is_callable: bool) -> bool:
    for base in owner.__mro__:
        if name in vars(base):
            found = vars(base)[name]
            if isinstance(found, FunctionType):
                # A wrapped method may replace a method; a number under the name of a method can only be a
                # mistake.
                return is_callable
            return not isinstance(found, property) or found.fset is not None
        if name in vars(base).get("__annotations__", {}):
            return True
    return False


def _refusal(owner: type, name: str) -> str:
    if isinstance(getattr(owner, name, None), property):
        return f"{name!r} of {owner.__name__} can only be read"
    if isinstance(getattr(owner, name, None), FunctionType):
        start = f"{name!r} of {owner.__name__} is a method"
        advice = f"; {MEANT[name]} is meant, which is fixed by the constructor" if name in MEANT else ""
        return start + advice
    start = f"{owner.__name__} has no attribute {name!r} that could be set"
    declared = [
        known
        for known in dir(owner)
        if not known.startswith("_") and not isinstance(getattr(owner, known), FunctionType)
    ]
    declared += [
        known
        for base in owner.__mro__
        for known in vars(base).get("__annotations__", {})
        if not known.startswith("_")
    ]
    meant = MEANT.get(name.lower())
    if meant not in declared:
        meant = next(iter(difflib.get_close_matches(name.lower(), declared, n=1)), None)
    if meant is None:
        return start
    is_fixed = isinstance(getattr(owner, meant, None), FixedSetting)
    return f"{start}; {meant} is meant" + (", which is fixed by the constructor" if is_fixed else "")
