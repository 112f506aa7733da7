"""The launches of one call, for the dtypes that have gradients in it; they are made once and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_kernels.cuda.device import layout, norm_layout
from numba_kernels.cuda.device.elementwise import update_kernel
from numba_kernels.cuda.device.exact import LIMB_WORDS, exact_kernel, finish_kernel
from numba_kernels.cuda.device.norm import decision_kernel
from numba_kernels.cuda.device.storage import storage
from numba_kernels.cuda.device.sums import THREADS, error_of_sum, sum_kernel
from numba_kernels.cuda.host.buffers import Buffer, words
from numba_kernels.cuda.host.groups import CHUNK, Group
from numba_kernels.cuda.toolkit import IS_SIMULATED, Kernel, cuda
from numba_kernels.shared.element import PLAIN
from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.arithmetic.rounded import promoted, setting
from sgd_ref.base.settings import Settings

BLOCKS_OF_PROCESSOR = 8
"""The number of blocks of 256 threads that fill a multiprocessor."""

Launch = tuple[Kernel, int, int, tuple[int, ...]]
"""A kernel, the numbers of blocks and of threads, and its arguments."""


class Program:
    """The launches of a call.

    Parameters
    ----------
    settings : Settings
        The checked settings.
    groups : sequence of Group
        All groups of the optimizer.
    has_gradients : sequence of bool
        Whether each group has a gradient in the call; groups without gradients do not contribute to a global
        norm.
    counts, numbers : Buffer
        The buffers of the optimizer.
    is_dynamic : bool
        Whether the loss is scaled dynamically.

    Attributes
    ----------
    launches : list of Launch
        The launches in order.
    """

    def __init__(
        self,
        settings: Settings,
        groups: Sequence[Group],
        has_gradients: Sequence[bool],
        counts: Buffer,
        numbers: Buffer,
        is_dynamic: bool,
    ) -> None:
        self._settings, self._groups, self._is_dynamic = settings, groups, is_dynamic
        self._counts, self._numbers = counts, numbers
        self._has_loss_scale = is_dynamic or settings.loss_scale_factor is not None
        self._buffers: list[Buffer] = []
        self._most_blocks = 3 if IS_SIMULATED else _processors() * BLOCKS_OF_PROCESSOR
        present = [group for group, has in zip(groups, has_gradients, strict=True) if has]
        self._norm_dtype = promoted([group.dtype for group in present])
        self._results, self._first_results = self._places_of_results()
        self._factors = self._all_factors()
        self._descriptors = [self._descriptor(index) for index in range(len(groups))]
        self.launches = [*self._norm_launches(), *self._update_launches()]

    def buffers(self) -> list[Buffer]:
        """Return the buffers that belong only to this program."""
        return self._buffers

    def _buffer(self, array: Array) -> Buffer:
        self._buffers.append(Buffer(array))
        return self._buffers[-1]

    @property
    def _is_global(self) -> bool:
        return self._settings.global_clipnorm is not None

    @property
    def _clips_by_norm(self) -> bool:
        return self._is_global or self._settings.clipnorm is not None

    def _places_of_results(self) -> tuple[Buffer, list[int]]:
        counts = [group.chunk_count for group in self._groups]
        first = np.cumsum([0, *counts])
        return self._buffer(np.zeros((max(int(first[-1]), 1), layout.RESULT_COUNT))), first.tolist()

    def _all_factors(self) -> list[Buffer]:
        """Return the clipping factors of each group: one pair for each row, or one pair for all rows."""
        if self._is_global:
            # Twice as long as usually needed: float64 variables without a gradient read two numbers in
            # float64.
            one = self._buffer(np.ones((2, 2), storage(self._norm_dtype).compute))
            return [one] * len(self._groups)
        clipnorm = self._settings.clipnorm
        factors = []
        for group in self._groups:
            values = np.ones((group.rows, 2), storage(group.dtype).compute)
            if clipnorm is not None:
                values[:, layout.FACTOR] = setting(clipnorm, group.dtype)
            factors.append(self._buffer(values))
        return factors

    def _descriptor(self, index: int) -> Buffer:
        group = self._groups[index]
        descriptor = np.zeros(layout.DESCRIPTOR_WORDS, np.int64)
        descriptor[layout.TABLE], descriptor[layout.GRADIENTS] = group.table.address, group.gradients.address
        descriptor[layout.CHUNKS], descriptor[layout.CHUNK_COUNT] = group.chunks.address, group.chunk_count
        descriptor[layout.SETTINGS], descriptor[layout.DECAYS] = group.settings.address, group.decays.address
        descriptor[layout.FACTORS] = self._factors[index].address
        descriptor[layout.FACTOR_ROWS] = 0 if self._is_global else 1
        descriptor[layout.COUNTS], descriptor[layout.NUMBERS] = self._counts.address, self._numbers.address
        descriptor[layout.RESULTS] = (
            self._results.address + 8 * layout.RESULT_COUNT * self._first_results[index]
        )
        descriptor[layout.IS_DYNAMIC] = int(self._is_dynamic)
        return self._buffer(descriptor)

    def _blocks(self, group: Group) -> int:
        return max(1, min(group.chunk_count, self._most_blocks))

    def _norm_launches(self) -> list[Launch]:
        if not self._clips_by_norm and not self._is_dynamic:
            return []
        is_wide = self._is_global and self._norm_dtype == FLOAT64
        launches: list[Launch] = []
        for group, descriptor in zip(self._groups, self._descriptors, strict=True):
            gradient = group.constants.gradient(self._has_loss_scale) if self._clips_by_norm else PLAIN
            compensated = self._clips_by_norm and (is_wide or group.dtype == FLOAT64)
            kernel = sum_kernel(group.dtype, gradient, compensated)
            launches.append((kernel, self._blocks(group), THREADS, (descriptor.address,)))
        if self._is_global:
            launches += self._decisions(list(range(len(self._groups))), self._norm_dtype)
        elif self._clips_by_norm:
            for index, group in enumerate(self._groups):
                launches += self._decisions([index], group.dtype)
        return launches

    def _decisions(self, members: list[int], dtype: np.dtype[Any]) -> list[Launch]:
        """Return the launches from sums to factors, for one norm of all members or a norm of each row."""
        group = self._groups[members[0]]
        first_chunks = np.array([0, self._first_results[-1]])
        if not self._is_global:
            first_chunks = group.first_chunks + self._first_results[members[0]]
        norms = len(first_chunks) - 1
        descriptor = np.zeros(norm_layout.NORM_DESCRIPTOR_WORDS, np.int64)
        descriptor[norm_layout.FIRST_CHUNKS] = self._buffer(words(first_chunks)).address
        descriptor[norm_layout.RESULTS] = self._results.address
        descriptor[norm_layout.LIMITS] = self._buffer(self._limits(dtype)).address
        descriptor[norm_layout.UNDECIDED] = self._buffer(np.zeros(norms, np.int64)).address
        descriptor[norm_layout.LIMBS] = self._buffer(np.zeros(norms * LIMB_WORDS, np.int64)).address
        descriptor[norm_layout.FACTORS] = self._factors[members[0]].address
        descriptor[norm_layout.COUNTS] = self._counts.address
        address = self._buffer(descriptor).address
        launches: list[Launch] = [(decision_kernel(dtype, self._is_global), norms, THREADS, (address,))]
        for index in members:
            member = self._groups[index]
            kernel = exact_kernel(member.dtype, member.constants.gradient(self._has_loss_scale))
            arguments = self._descriptors[index].address, address, 0 if self._is_global else 1
            launches.append((kernel, self._blocks(member), THREADS, arguments))
        launches.append((finish_kernel(dtype, self._is_global), 1, 1, (address, norms)))
        return launches

    def _limits(self, dtype: np.dtype[Any]) -> Array:
        settings = self._settings
        limits = np.zeros(norm_layout.LIMIT_COUNT)
        clipnorm = settings.global_clipnorm if self._is_global else settings.clipnorm
        assert clipnorm is not None
        limits[norm_layout.CLIPNORM] = setting(clipnorm, dtype)
        if self._is_global:
            limits[norm_layout.RECIPROCAL] = setting(1 / clipnorm, dtype)
        limits[norm_layout.ERROR] = error_of_sum(CHUNK, self._first_results[-1], dtype == FLOAT64)
        return limits

    def _update_launches(self) -> list[Launch]:
        launches: list[Launch] = []
        for index, (group, descriptor) in enumerate(zip(self._groups, self._descriptors, strict=True)):
            variant = group.constants.variant(self._has_loss_scale)
            is_wide = self._is_global and self._norm_dtype == FLOAT64 and group.dtype != FLOAT64
            is_last = index == len(self._groups) - 1
            kernel = update_kernel(group.dtype, variant, is_wide)
            threads = 8 if IS_SIMULATED else 256
            launches.append((kernel, self._blocks(group), threads, (descriptor.address, int(is_last))))
        return launches


def _processors() -> int:
    return int(cuda.get_current_device().MULTIPROCESSOR_COUNT)
