"""The launches of an accepted call, on the stream of its arrays and without waiting for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_kernels.cuda.arrays.streams import is_capturing, refuse_capture, stream_of
from numba_kernels.cuda.host.groups import Group
from numba_kernels.cuda.host.placed import Placed
from numba_kernels.cuda.host.providing_rates import provide
from numba_kernels.cuda.toolkit import without_frees
from sgd_ref.base.losses import Losses


def launch(placed: Placed, source: Any, losses: Losses, is_dynamic: bool) -> bool:
    """Launch a call, and return whether it was captured in a graph.

    Parameters
    ----------
    placed : Placed
        The call.
    source : float32, schedule or callable
        The learning rate as it was given.
    losses : Losses
        Warns of values of a schedule that a dtype loses.
    is_dynamic : bool
        Whether the loss is scaled dynamically.

    Raises
    ------
    RuntimeError
        If the stream is being captured, and the call needs something that does not exist yet.
    """
    state = placed.state
    handle = stream_of([*placed.gradients, state.arrays[0]])
    is_captured = is_capturing(handle)
    if is_captured and not state.has_program(placed.has_gradient, is_dynamic):
        refuse_capture(state.arrays[:1], "gradients for other variables")
    if is_captured and placed.rows:
        name = state.names[min(placed.rows)]
        refuse_capture(state.arrays[:1], f"a sparse gradient for {name}, which is on the host")
    with without_frees(is_captured):
        provide(state, source, placed.learning_rate, handle, is_captured, losses)
        groups = _groups(placed, handle, is_captured)
        program = state.program(placed.has_gradient, is_dynamic, groups)
        state.launch(state.around([*placed.before, *program.launches]), handle, placed.gradients)
        state.count(is_captured, is_dynamic)
    return is_captured


def _groups(placed: Placed, handle: int, is_captured: bool) -> list[Group]:
    """Return the groups of a call, with the addresses of its gradients on the device."""
    state = placed.state
    groups: list[Group] = []
    for index, group in enumerate(state.groups):
        if any(position in placed.rows for position in group.positions):
            groups.append(state.row_group(index, placed.rows, placed.addresses, handle))
            continue
        are_new = group.set_gradients(placed.addresses[np.array(group.positions)])
        # A graph must write its own numbers, and does so at every replay without the host knowing.
        if are_new or is_captured or state.has_graph:
            group.gradients.upload(handle, is_captured)
        groups.append(group)
    return groups
