"""The plan of an optimizer: tables of addresses and chunks for the kernels, made once for all variables.

A whole model goes to a kernel as one table of addresses. Other ways to pass many arrays cost more: for a
tuple, the kernel is compiled anew for every number of arrays; a list of 100 arrays costs 1350 microseconds in
each call, and the table 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_kernels.cpu.alignment import elements_before_line
from numba_kernels.cpu.array_specs import ABSENT, ArraySpecs, are_same_objects
from numba_kernels.cpu.quick_rows import is_sparse, quick_rows
from numba_kernels.cpu.sums import LONGEST_CHUNK
from numba_kernels.cpu.threads import shares
from numba_kernels.shared.constants import Constants
from numba_kernels.shared.element import KERAS
from numba_kernels.shared.regions import regions
from numba_kernels.shared.rows import may_touch_rows_only
from numba_kernels.shared.slots import (
    ACCUMULATOR,
    AVERAGE,
    COLUMNS,
    GRADIENT,
    INDIRECT,
    MISSING,
    VARIABLE,
    VELOCITY,
)
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import promoted, setting
from sgd_ref.base.settings import Settings
from sgd_ref.base.state import State

CHUNK = LONGEST_CHUNK
"""Elements of a chunk; lengths from 4,096 to 262,144 are within 3 % of each other for one array of 32 M
(measured)."""

FEWEST_FOR_A_THREAD = 1048576
"""Elements for each thread; with half of this for each, two threads take 1.6 times as long as one, and with
all of it, 0.75 times (momentum, float32)."""

FEWEST_TO_ALIGN = 4096
"""The fewest elements of an array for which the first elements get a chunk of their own, for alignment; for
200 arrays of 1,000 this saves nothing (measured)."""


class Group:
    """The variables of one dtype.

    Attributes
    ----------
    dtype : dtype
        The dtype of all of them.
    positions : list of int
        The positions among the variables of the optimizer, one for each row of `table`.
    table : ndarray of int64, shape (n, COLUMNS)
        The addresses, in the form that the kernels take.
    chunks : ndarray of int64, shape (m, 3)
        Row, first element and number of elements of each chunk; the chunks of a row follow one another.
    chunks_of_row : ndarray of int64, shape (n + 1,)
        The first chunk of each row.
    decays : ndarray of bool, shape (n,)
        Whether the variable of each row decays.
    factors : ndarray of float64, shape (n, 2)
        The factor and the divisor by which each gradient is clipped.
    indirect_rows : list of int
        The rows that the kernels skip, because an array of the row is not contiguous, or the gradient is
        sparse or of a narrower dtype. `numba_kernels.cpu.indirect` updates them.
    has_gradients : bool
        Whether any of the variables has a gradient in this call.
    """

    def __init__(self, settings: Settings, state: State, positions: list[int], rule: int = KERAS) -> None:
        self.positions = positions
        self.dtype = state.variables[positions[0]].dtype
        self.constants = Constants(settings, self.dtype, rule)
        self.arrays = [_arrays_of(state, position) for position in positions]
        self.table = np.zeros((len(positions), COLUMNS), np.int64)
        self.decays = np.array([state.decayed[position] for position in positions])
        if settings.weight_decay is None:
            self.decays[:] = False
        self.factors = np.ones((len(positions), 2))
        if settings.clipnorm is not None:
            self.factors[:, 0] = float(setting(settings.clipnorm, self.dtype))
        self.scattered = [
            row for row, arrays in enumerate(self.arrays) if not all(map(is_one_piece, arrays.values()))
        ]
        for row, arrays in enumerate(self.arrays):
            for column, array in arrays.items():
                self.table[row, column] = array.ctypes.data
        self.indirect_rows: list[int] = []
        self.has_gradients = False
        sizes = [arrays[VARIABLE].size for arrays in self.arrays]
        self.chunks = chunks_of(sizes, [_head(arrays[VARIABLE]) for arrays in self.arrays])
        self.chunks_of_row = np.searchsorted(self.chunks[:, 0], np.arange(len(sizes) + 1))
        self.elements = sum(sizes)

    def gradients(self, gradients: Sequence[Any]) -> list[Any]:
        """Return the gradients, among all, that belong to the variables of this group."""
        return [gradients[position] for position in self.positions]

    def is_current(self) -> bool:
        """Whether every array is at the address in the table."""
        return all(
            array.ctypes.data == address
            for arrays, addresses in zip(self.arrays, self.table.tolist(), strict=True)
            for address, array in zip([addresses[column] for column in arrays], arrays.values(), strict=True)
        )

    def shares(self, threads: int) -> list[tuple[int, int]]:
        """Return the range of chunks for each thread."""
        threads = min(threads, max(1, self.elements // FEWEST_FOR_A_THREAD))
        if threads == 1:
            return [(0, len(self.chunks))]
        return shares(self.chunks[:, 2].tolist(), threads)

    def set_addresses(self, addresses: Array, indirect: Sequence[int] = ()) -> None:
        """Write the addresses of the gradients of all variables of the optimizer.

        Each gradient is in one piece, except those of the variables at the `indirect` positions.
        """
        self.table[:, GRADIENT] = (
            addresses if len(addresses) == len(self.table) else addresses[self.positions]
        )
        # For hundreds of variables, looking up each one takes as long as all the rest of this method.
        self.indirect_rows = (
            [row for row, position in enumerate(self.positions) if position in indirect] if indirect else []
        )
        self.has_gradients = True

    def set_gradients(self, gradients: Sequence[Any]) -> None:
        """Write the addresses of the gradients of a call, and collect the indirect rows."""
        self.indirect_rows = []
        self.has_gradients = any(gradients[position] is not None for position in self.positions)
        for row, position in enumerate(self.positions):
            gradient = gradients[position]
            if gradient is None and row not in self.scattered:
                self.table[row, GRADIENT] = MISSING
            elif row in self.scattered or not (
                isinstance(gradient, np.ndarray) and gradient.dtype == self.dtype and is_one_piece(gradient)
            ):
                self.table[row, GRADIENT] = INDIRECT
                self.indirect_rows.append(row)
            else:
                self.table[row, GRADIENT] = gradient.ctypes.data


class Plan:
    """The groups of an optimizer's variables, and a quick check for ordinary calls.

    Parameters
    ----------
    settings : Settings
        The checked settings.
    state : State
        The state, whose arrays have their addresses in the plan.

    Attributes
    ----------
    groups : list of Group
        One group for each dtype.
    dtype_of_norm : dtype
        The narrowest dtype that holds all gradients of this call.
    dtypes_of_norm : list of dtype
        All dtypes that `dtype_of_norm` can be.
    accumulates, clips_by_norm : bool
        Whether there are accumulators, and whether a clipping is set that limits a norm.
    loaded : object
        The gradients whose addresses `accepted` or `load` has set.
    is_ordinary : bool
        Whether every gradient of this call is read at its address, so that no row is indirect.
    """

    def __init__(self, settings: Settings, state: State) -> None:
        self.state = state
        dtypes = list(dict.fromkeys(variable.dtype for variable in state.variables))
        self.groups = [
            Group(settings, state, [i for i, w in enumerate(state.variables) if w.dtype == dtype])
            for dtype in dtypes
        ]
        self._arrays = [array for _, array in state.named_arrays()]
        self._identities = np.array([id(variable) for variable in state.variables], np.int64)
        self._specs = ArraySpecs(state.variables, self._arrays)
        # With one group, the check writes the addresses into the table itself.
        self._addresses = (
            self.groups[0].table[:, GRADIENT]
            if len(self.groups) == 1
            else np.zeros(len(state.variables), np.int64)
        )
        self._occupied = regions(self._arrays)
        self.loaded: Any = None
        self.accumulates = settings.gradient_accumulation_steps is not None
        self.clips_by_norm = settings.clips_by_norm
        self._touches_rows_only = may_touch_rows_only(settings)
        self._decays = [settings.weight_decay is not None and decays for decays in state.decayed]
        self._dtype_of_all = promoted(dtypes)
        self.dtype_of_norm = self._dtype_of_all
        # A dtype that holds the two widest of several dtypes holds all of them.
        self.dtypes_of_norm = list(dict.fromkeys(promoted([a, b]) for a in dtypes for b in dtypes))
        self.is_ordinary = False
        self._had_rows = False

    def accepted(self, gradients: list[Any], variables: Any) -> list[Any] | None:
        """Return the gradients in the form that the kernels take, if the quick check accepts the call.

        It then sets the addresses of the gradients. Otherwise it returns None.

        Parameters
        ----------
        gradients : list
            The gradients; no other code may have a reference to this list.
        variables : object
            The argument of ``apply``.
        """
        self.loaded = None
        ours = self.state.variables
        if len(gradients) != len(ours) or (
            variables is not None
            and not (
                type(variables) in (list, tuple)
                and len(variables) == len(ours)
                and are_same_objects(variables, ours, self._identities)
            )
        ):
            return None
        # A call mostly has gradients of the same kinds as the last one.
        found = self._with_rows(gradients) if self._had_rows else None
        if found is None and self._specs.fit(gradients, self._arrays, self._occupied, self._addresses):
            found = gradients
            if not self.is_ordinary or len(self.groups) > 1:
                self._set_addresses([])
                self.is_ordinary = True
        elif found is None and not self._had_rows:
            found = self._with_rows(gradients)
        self._had_rows = found is not None and found is not gradients
        if found is not None:
            self.dtype_of_norm = self._dtype_of_all
            self.loaded = found
        return found

    def is_current(self) -> bool:
        """Whether every array of the state is still at its address; after `accepted` this is known."""
        return all(group.is_current() for group in self.groups)

    def load(self, gradients: Sequence[Any]) -> None:
        """Set the addresses of gradients that had the full check."""
        self.is_ordinary = False
        for group in self.groups:
            group.set_gradients(gradients)
        self.dtype_of_norm = promoted([group.dtype for group in self.groups if group.has_gradients])
        self.loaded = gradients

    def _with_rows(self, gradients: list[Any]) -> list[Any] | None:
        """Return the gradients with the rows of the sparse ones, if these alone kept the check from fitting.

        If the rule changes all rows, the work for the others takes so long that the full check costs nothing.
        """
        positions = [index for index, gradient in enumerate(gradients) if is_sparse(gradient)]
        if not positions or not self._touches_rows_only or any(self._decays[index] for index in positions):
            return None
        found = list(gradients)
        for index in positions:
            found[index] = ABSENT
        if not self._specs.fit(found, self._arrays, self._occupied, self._addresses, True):
            return None
        for index in positions:
            rows = quick_rows(gradients[index], self._arrays[index], self._occupied)
            if rows is None:
                return None
            found[index] = rows
        self.is_ordinary = False
        self._set_addresses(positions)
        return found

    def _set_addresses(self, sparse: list[int]) -> None:
        for group in self.groups:
            group.set_addresses(self._addresses, sparse)


def chunks_of(sizes: Sequence[int], heads: Sequence[int] | None = None) -> Array:
    """Return the chunks of arrays of these sizes: row, first element and number of elements of each.

    `heads` has, for each array, the number of elements at the front that form a chunk of their own.

    >>> chunks_of([CHUNK + 1, 5], [0, 2]).tolist()
    [[0, 0, 65536], [0, 65536, 1], [1, 0, 2], [1, 2, 3]]
    """
    chunks: list[tuple[int, int, int]] = []
    for row, (size, head) in enumerate(zip(sizes, heads or [0] * len(sizes), strict=True)):
        if head:
            chunks.append((row, 0, head))
        chunks += [(row, start, min(CHUNK, size - start)) for start in range(head, size, CHUNK)]
    return np.array(chunks, np.int64).reshape(-1, 3)


def _head(variable: Array) -> int:
    """Return how many elements get a chunk of their own, so that the others begin at a cache line."""
    if variable.size < FEWEST_TO_ALIGN or not is_one_piece(variable):
        return 0
    return elements_before_line(variable)


def is_one_piece(array: Array) -> bool:
    """Whether the elements are contiguous and aligned, so that the processor can read them."""
    return bool(array.flags.c_contiguous and array.flags.aligned)


def _arrays_of(state: State, position: int) -> dict[int, Array]:
    arrays = {VARIABLE: np.asarray(state.variables[position])}
    for column, kept in (
        (VELOCITY, state.velocities),
        (AVERAGE, state.averages),
        (ACCUMULATOR, state.accumulators),
    ):
        if kept:
            arrays[column] = kept[position]
    return arrays
