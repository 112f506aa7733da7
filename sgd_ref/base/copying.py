"""Copies of optimizers: each holds copies of the variables, which the user may have no reference to."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.exclusive import Running, alone
from sgd_ref.base.losses import Losses
from sgd_ref.base.matching import check_forms, order_of_names
from sgd_ref.base.state import State
from sgd_ref.base.variables import check_names, check_variables, positions

REMEDY = (
    "this optimizer is a copy, and its variables are copies; give those to build or apply where you have "
    "them, or bind the optimizer to your own arrays by rebind(variables)"
)


class Copying(ABC):
    """The part of an optimizer that deals with copies of it."""

    _state: State | None
    _running: Running
    _losses: Losses

    @abstractmethod
    def built_state(self) -> State:
        """Return the state; the optimizer must be built."""

    @abstractmethod
    def allocated_state(self, names: list[str], variables: list[Array], decayed: list[bool]) -> State:
        """Return the state before the first call, for variables that are checked."""

    def rebind(self, variables: Sequence[Array], names: Sequence[str] | None = None) -> None:
        """Let the optimizer go on with other arrays. A copy of an optimizer needs this to train your arrays.

        The new variables take over the state of the old ones: velocities, averages, accumulators, names,
        exclusion from weight decay, and the count. This state is copied into new arrays. The values of the
        new variables are not changed: they must equal the old values if training is to go on as with the old
        variables.

        A copy by ``copy.deepcopy``, pickle or ``torch.save`` has copies of the variables. If you copied
        variables and optimizer together, as in ``copy.deepcopy((variables, optimizer))``, your copied list
        has these very arrays, but the optimizer cannot know that. So a copy refuses ``apply`` without
        variables until you have given its variables to ``apply``, `build` or this method.

        Parameters
        ----------
        variables : list of ndarray
            One for each variable of the optimizer, of the same shape and dtype. Without `names` they must be
            in the same order.
        names : list of str, optional
            The name of each of `variables`, in any order; each must be given once. The state of each variable
            is found by its name.

        Raises
        ------
        TypeError, ValueError
            If a variable or a name is not acceptable or does not fit. Nothing has changed then.
        RuntimeError
            If the optimizer has no variables yet, or is at work.

        Examples
        --------
        >>> import copy
        >>> import numpy as np, sgd_ref
        >>> w, optimizer = np.array([1.0], "float32"), sgd_ref.SGD(0.5, momentum=0.5)
        >>> optimizer.apply([np.array([1.0], "float32")], [w])
        >>> twin, mine = copy.deepcopy(optimizer), w.copy()
        >>> twin.rebind([mine])
        >>> twin.apply([np.array([1.0], "float32")])
        >>> w, mine, twin.velocities
        (array([0.5], dtype=float32), array([-0.25], dtype=float32), [array([-0.75], dtype=float32)])
        """
        with alone(self._running):
            self._state = _moved(self, variables, names)

    def __copy__(self) -> Self:
        # An attribute that cannot be pickled raises its error here.
        attributes: Any = self.__getstate__()
        if self._state is not None:
            raise TypeError(
                "a shallow copy of an optimizer that has variables would share its state; use copy.deepcopy, "
                "or from_config(optimizer.get_config()) for one that begins anew"
            )
        twin = type(self).__new__(type(self))
        twin.__dict__.update(attributes)
        # A copy shares neither the work under way nor the warnings already given.
        twin._running, twin._losses = Running(), copy.deepcopy(self._losses)
        return twin


def _moved(optimizer: Copying, variables: Sequence[Array], names: Sequence[str] | None) -> State:
    """Return a state for other variables, with the values of the present one."""
    old = optimizer.built_state()
    checked = check_variables(variables)
    if len(checked) != len(old.variables):
        raise ValueError(
            f"variables must have one array for each of the {len(old.variables)} variables of the "
            f"optimizer, got {len(checked)}"
        )
    order = list(range(len(checked)))
    if names is not None:
        order = order_of_names(check_names(names, len(checked)), old.names)
    labels = [old.names[index] for index in order]
    check_forms(labels, [(old.variables[i].shape, old.variables[i].dtype.name) for i in order], checked)
    state = optimizer.allocated_state(labels, checked, [old.decayed[index] for index in order])
    kept = [array for _, array in old.slots()]
    for position, (_, slot) in enumerate(state.slots()):
        kind, index = divmod(position, len(order))
        slot[...] = kept[kind * len(order) + order[index]]
    state.calls = old.calls
    return state


def places(variables: Any, state: State) -> list[int]:
    """Return the position of each of some variables in a state; the error says if the state holds copies.

    Raises
    ------
    TypeError, ValueError
        As for ``positions``.
    """
    try:
        return positions(variables, state.variables)
    except ValueError as error:
        if state.has_copied_variables:
            raise ValueError(f"{error}; {REMEDY}") from None
        raise


def check_order(variables: Any, state: State) -> None:
    """Check that some variables are all those of a state, in its order.

    Raises
    ------
    TypeError, ValueError
        If they are not.
    """
    if places(variables, state) != list(range(len(state.variables))):
        raise ValueError(
            f"variables must be all {len(state.variables)} arrays that the optimizer was built with, in "
            f"their order, got {len(variables)}"
        )


def refuse_copied_variables() -> None:
    """Refuse a call without variables: it would train copies that the user may have no reference to.

    Raises
    ------
    RuntimeError
        Always.
    """
    raise RuntimeError(f"variables must be given: {REMEDY}")
