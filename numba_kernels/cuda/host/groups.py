"""The variables of one dtype on the device: tables of addresses and chunks, made once."""

from __future__ import annotations

import numpy as np

from numba_kernels.cuda.device import layout
from numba_kernels.cuda.device.storage import storage
from numba_kernels.cuda.host.buffers import Buffer, words
from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.shared.constants import Constants
from numba_kernels.shared.slots import EMA_COMPLEMENT, EMA_MOMENTUM, HIGHEST, MOMENTUM, STEPS, WEIGHT_DECAY
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.settings import Settings
from sgd_ref.base.state import State

CHUNK = 40 if IS_SIMULATED else 8192
"""The elements of a chunk; a block of 256 threads processes a float32 chunk in 8 steps of 16 bytes for each
thread."""


class Group:
    """The variables of one dtype.

    Parameters
    ----------
    settings : Settings
        The checked settings.
    state : State
        A state of headers, which have the addresses on the device.
    positions : list of int
        The positions of the variables among those of the optimizer.
    addresses : list of int
        The addresses of all variables of the optimizer, each in one piece.

    Attributes
    ----------
    table, gradients, chunks, decays, settings : Buffer
        Tables in the form that the kernels take.
    first_chunks : ndarray of int64, shape (n + 1,)
        The first chunk of each variable.
    rows : int
        The number of rows of the tables: one for each variable.
    form : tuple of int
        Tells groups apart whose launches differ; empty here.
    """

    def __init__(self, settings: Settings, state: State, positions: list[int], addresses: list[int]) -> None:
        self.positions, self.rows = positions, len(positions)
        self.form: tuple[int, ...] = ()
        self.dtype = state.variables[positions[0]].dtype
        self.constants = Constants(settings, self.dtype)
        table = np.zeros((len(positions), layout.COLUMNS), np.int64)
        for row, position in enumerate(positions):
            table[row, layout.VARIABLE] = addresses[position]
            for column, kept in (
                (layout.VELOCITY, state.velocities),
                (layout.AVERAGE, state.averages),
                (layout.ACCUMULATOR, state.accumulators),
            ):
                if kept:
                    table[row, column] = kept[position].ctypes.data
        sizes = [state.variables[position].size for position in positions]
        decays = [settings.weight_decay is not None and state.decayed[position] for position in positions]
        chunks = [
            (row, start, min(CHUNK, size - start))
            for row, size in enumerate(sizes)
            for start in range(0, size, CHUNK)
        ]
        self.table = Buffer(table)
        # Without addresses, so that the first call uploads its own, even without gradients: a graph that is
        # captured later needs the memory of the host that the first upload allocates.
        self.gradients = Buffer(np.full(len(positions), -1, np.int64))
        self.chunks = Buffer(words(*chunks))
        self.chunk_count = len(chunks)
        self.first_chunks = np.cumsum([0, *(-(-size // CHUNK) for size in sizes)])
        self.decays = Buffer(words(decays))
        self.settings = Buffer(self._settings(settings))

    def buffers(self) -> list[Buffer]:
        """Return all buffers that the kernels may access."""
        return [self.table, self.gradients, self.chunks, self.decays, self.settings]

    def set_gradients(self, addresses: Array) -> bool:
        """Write the addresses of the gradients, 0 for a missing one; return whether one has changed."""
        if np.array_equal(self.gradients.host, addresses):
            return False
        self.gradients.host[...] = addresses
        return True

    def _settings(self, settings: Settings) -> Array:
        values = np.ones(layout.SETTING_COUNT, storage(self.dtype).compute)
        for place, source in (
            (layout.STEPS, STEPS),
            (layout.HIGHEST, HIGHEST),
            (layout.WEIGHT_DECAY, WEIGHT_DECAY),
            (layout.MOMENTUM, MOMENTUM),
            (layout.EMA_MOMENTUM, EMA_MOMENTUM),
            (layout.EMA_COMPLEMENT, EMA_COMPLEMENT),
        ):
            values[place] = self.constants.values[source]
        if settings.loss_scale_factor is not None:
            values[layout.LOSS_SCALE] = setting(settings.loss_scale_factor, values.dtype)
        return values


def groups_of(settings: Settings, state: State, addresses: list[int]) -> list[Group]:
    """Return the groups of all variables, in the order in which their dtypes first occur."""
    dtypes = list(dict.fromkeys(variable.dtype for variable in state.variables))
    return [
        Group(settings, state, [i for i, w in enumerate(state.variables) if w.dtype == dtype], addresses)
        for dtype in dtypes
    ]
