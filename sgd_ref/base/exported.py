"""Exported weights: a list of arrays that knows if an array is a velocity, an average or something else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.settings import Settings
from sgd_ref.base.state import State
from sgd_ref.base.variables import check_names


class Meaning(NamedTuple):
    """The meaning of the arrays of a state.

    Attributes
    ----------
    arrays : tuple of str
        The names of the numbers, which come first, then the kinds of state, in order.
    names : tuple of str
        The names of the variables; each kind of state has one array for each variable. Empty if there is no
        state.
    gradient_accumulation_steps : int or None
        The setting: an update in every so many calls.
    """

    arrays: tuple[str, ...]
    names: tuple[str, ...]
    gradient_accumulation_steps: int | None

    def differences(self, other: Meaning) -> list[str]:
        """Return the features that `self` has and `other` lacks, in the words of an error message."""
        found = []
        if self.arrays != other.arrays:
            found.append(f"the arrays {', '.join(self.arrays)}")
        if self.gradient_accumulation_steps != other.gradient_accumulation_steps:
            found.append(f"gradient_accumulation_steps={self.gradient_accumulation_steps}")
        if self.names != other.names and not (self.has_default_names() or other.has_default_names()):
            found.append(f"the variables {list(self.names)}")
        return found

    def has_default_names(self) -> bool:
        """Whether the variables have only their default names, made from their positions."""
        return list(self.names) == check_names(None, len(self.names))


class Weights(list[Array]):
    """The list of arrays that ``get_weights`` returns; it also knows the meaning of each array.

    It is a list in every other respect. Copies and pickles of the list keep the meaning; slices and sums are
    plain lists. You may replace single arrays in it.

    Parameters
    ----------
    arrays : iterable of ndarray
        In the order of ``variables``.
    meaning : Meaning, optional
        Without a meaning the list counts as a plain one.

    Examples
    --------
    >>> import numpy as np, sgd_ref
    >>> optimizer = sgd_ref.SGD(0.5)
    >>> optimizer.build([np.zeros(2)])
    >>> weights = optimizer.get_weights()
    >>> weights, type(weights).__name__, type(weights[:]).__name__
    ([array(0), array(0.5, dtype=float32)], 'Weights', 'list')
    """

    meaning: Meaning | None = None

    def __init__(self, arrays: Iterable[Array] = (), meaning: Meaning | None = None) -> None:
        super().__init__(arrays)
        self.meaning = meaning


class Exporting(Protocol):
    """The attributes of an optimizer that its weights depend on."""

    settings: Settings

    def built_state(self) -> State:
        """Return the state; the optimizer must be built."""

    def constant_rate(self) -> np.float32 | None:
        """Return the learning rate if it is a number."""


def meaning_of(optimizer: Exporting, before: tuple[str, ...] = ()) -> Meaning:
    """Return the meaning of the weights of an optimizer; the arrays named by `before` come first."""
    state = optimizer.built_state()
    rate = () if optimizer.constant_rate() is None else ("learning_rate",)
    kinds = tuple(dict.fromkeys(kind for kind, _ in state.slots()))
    return Meaning(
        (*before, "iteration", *rate, *kinds),
        tuple(state.names) if kinds else (),
        optimizer.settings.gradient_accumulation_steps,
    )


def check_meaning(values: Any, needed: Meaning) -> None:
    """Check that weights with a meaning were exported from an optimizer of the same kind.

    Raises
    ------
    ValueError
        If they were not.
    """
    given = values.meaning if isinstance(values, Weights) else None
    if given is None:
        return
    accepted = needed.differences(given)
    if accepted:
        raise ValueError(
            f"values must be weights of an optimizer that has {' and '.join(accepted)}, "
            f"got those that were exported from one with {' and '.join(given.differences(needed))}; "
            "list(values) is taken by position, whatever it means"
        )
