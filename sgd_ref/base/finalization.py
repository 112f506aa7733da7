"""The end of training: the averages become the variables."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.copying import places
from sgd_ref.base.state import State
from sgd_ref.base.variables import check_writable


def is_due(state: State, variables: Sequence[Array], use_ema: bool, updates: int) -> bool:
    """Whether there are averages to copy into the variables.

    Raises
    ------
    TypeError, ValueError
        If `variables` are not all the variables of the optimizer.

    Warns
    -----
    UserWarning
        Before the first update, when there is no average yet and nothing is done.
    """
    found = places(variables, state)
    if len(found) != len(state.variables):
        raise ValueError(
            f"variables must be all {len(state.variables)} arrays that the optimizer was built with, "
            f"got {len(found)}"
        )
    if not use_ema:
        return False
    if updates == 0:
        warnings.warn("no update was made yet, so there is no average to finalize with", stacklevel=3)
        return False
    check_writable(zip(state.names, state.variables, strict=True))
    return True
