"""The state of an optimizer on the device: arrays, counts, learning rates, and the launches of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from numba_kernels.cuda import simulated
from numba_kernels.cuda.arrays.allocation import fresh_like, from_host, to_host, wait_for_device
from numba_kernels.cuda.arrays.arrays import Expected, View, header, overlap, view
from numba_kernels.cuda.arrays.placement import Copy, is_in_place
from numba_kernels.cuda.arrays.streams import numba_stream, refuse_capture
from numba_kernels.cuda.device import layout
from numba_kernels.cuda.device.counting import PREPARATION
from numba_kernels.cuda.host.buffers import Buffer
from numba_kernels.cuda.host.groups import Group, groups_of
from numba_kernels.cuda.host.program import Launch, Program
from numba_kernels.cuda.host.rate_table import RateTable
from numba_kernels.cuda.host.row_group import RowGroup, row_group
from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.shared.dlpack import contiguous_strides
from numba_kernels.shared.regions import regions
from numba_kernels.shared.rows import Rows
from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import flushes_subnormals
from sgd_ref.base.settings import Settings
from sgd_ref.base.state import State
from sgd_ref.base.variables import check_variables


class DeviceState(State):
    """The state that ``apply`` reads and changes on the device; its arrays of the host are headers.

    Parameters
    ----------
    settings : Settings
        The checked settings.
    names : list of str
        The names of the variables.
    arrays : list
        The caller's arrays on the device.
    headers : list of ndarray
        A header for each of these arrays.
    decayed : list of bool
        Whether weight decay applies, for each variable.
    rates_ahead : int
        The capacity of the table of learning rates.

    Attributes
    ----------
    arrays : list
        As given.
    slot_arrays : dict of str to list
        The arrays on the device, by "velocities", "averages" and "accumulators"; empty if the feature is off.
    device : int
        The number of the device of the variables.
    counts, limits, numbers : Buffer
        Tables in the form that the kernels take.
    is_exact : bool
        Whether the host knows the number of calls: no call can have been skipped, and no graph replayed.
    """

    def __init__(
        self,
        settings: Settings,
        names: list[str],
        arrays: list[Any],
        headers: list[Array],
        decayed: list[bool],
        rates_ahead: int,
    ) -> None:
        self.arrays = arrays
        needed = {
            "velocities": settings.momentum != 0,
            "averages": settings.use_ema,
            "accumulators": settings.gradient_accumulation_steps is not None,
        }
        self.slot_arrays = {
            kind: [fresh_like(array, h.shape, h.dtype) for array, h in zip(arrays, headers, strict=True)]
            if is_needed
            else []
            for kind, is_needed in needed.items()
        }
        velocities, averages, accumulators = (
            [header(view(kind, array)) for array in kept] for kind, kept in self.slot_arrays.items()
        )
        super().__init__(names, headers, decayed, velocities, averages, accumulators)
        self.settings = settings
        self.rates = RateTable(rates_ahead)
        self.limits = Buffer(self._first_limits())
        counts = np.zeros(layout.COUNT_WORDS, np.int64)
        counts[layout.LIMITS] = self.limits.address
        self.counts = Buffer(counts)
        self.numbers = Buffer(np.ones(layout.NUMBER_COUNT, np.float32))
        self.is_exact, self.has_graph = True, False
        self.calls_since_known = 0
        self.last_stream = 0
        self._place()

    def _place(self) -> None:
        """Make the tables that depend on the addresses of the variables."""
        self.views = [view(name, array) for name, array in zip(self.names, self.arrays, strict=True)]
        self.device = max(found.device for found in self.views)
        self._copies = {
            index: Copy(array, found, found.dtype)
            for index, (array, found) in enumerate(zip(self.arrays, self.views, strict=True))
            if not is_in_place(found, found.dtype)
        }
        addresses = [found.address for found in self.views]
        for index, copy in self._copies.items():
            addresses[index] = copy.address
        self.groups = groups_of(self.settings, self, addresses)
        self._row_groups: dict[int, RowGroup] = {}
        self._programs: dict[Any, Program] = {}
        self._gradient_copies: dict[tuple[Any, ...], Copy] = {}
        self._dense: dict[int, Any] = {}
        self._transfers: Sequence[Copy] = []
        self._own_specs = Expected(self.views)
        self._own_addresses = np.array([found.address for found in self.views], np.int64)
        self._gradient_specs = Expected(
            [
                found._replace(strides=contiguous_strides(found.shape, found.dtype.itemsize))
                for found in self.views
            ]
        )
        self._sizes = np.array([variable.nbytes for variable in self.variables], np.int64)
        self._occupied = regions([array for _, array in self.named_arrays()])
        wait_for_device()

    def follow(self) -> None:
        """Find variables that their library has moved in memory, as PyTorch does when ``data`` is set.

        Raises
        ------
        ValueError
            If a variable has another shape or dtype, or is on another device, than when the optimizer was
            built.
        RuntimeError
            If a variable has moved while a graph is captured.
        """
        addresses = self._own_specs.addresses(self.arrays)
        if addresses is not None and np.array_equal(addresses, self._own_addresses):
            return
        views = [view(name, array) for name, array in zip(self.names, self.arrays, strict=True)]
        if views == self.views:
            return
        for name, before, found in zip(self.names, self.views, views, strict=True):
            if found._replace(address=before.address, strides=before.strides) != before:
                raise ValueError(
                    f"{name} must be {before.dtype} of shape {before.shape} on device {before.device}, as it "
                    f"was when the optimizer was built, got {found.dtype} of shape {found.shape} on device "
                    f"{found.device}"
                )
        self._refuse_capture("variables that have moved in memory")
        self.variables[:] = check_variables([header(found) for found in views])
        self.__post_init__()
        self._place()

    def quick_addresses(self, gradients: Any, variables: Any) -> Array | None:
        """Return the addresses of gradients if the quick check shows an ordinary call.

        None means that the full check is needed, not that anything is wrong.
        """
        if type(gradients) not in (list, tuple) or flushes_subnormals():
            return None
        if variables is not None and not (
            type(variables) in (list, tuple)
            and len(variables) == len(self.arrays)
            and all(given is own for given, own in zip(variables, self.arrays, strict=True))
        ):
            return None
        addresses = self._gradient_specs.addresses(list(gradients))
        if addresses is None or overlap(addresses, self._sizes, self._occupied):
            return None
        return addresses

    def _first_limits(self) -> Array:
        limits = np.zeros(layout.LIMIT_WORDS, np.int64)
        limits[layout.ACCUMULATION_STEPS] = self.settings.gradient_accumulation_steps or 1
        frequency = self.settings.ema_overwrite_frequency if self.settings.use_ema else None
        limits[layout.OVERWRITE_FREQUENCY] = frequency or 0
        limits[layout.RATES] = self.rates.values.address
        limits[layout.CALLS_OF_RATES] = self.rates.calls.address
        limits[layout.RATE_COUNT] = 1
        return limits

    def learn_counts(self) -> Array:
        """Read the counts of the device, and wait for it."""
        counts = self.counts.download()
        self.calls = int(counts[layout.CALLS])
        self.calls_since_known = 0
        return counts

    def set_calls(self, calls: int) -> None:
        """Write the number of calls and the counts that follow from it; waits for the device."""
        counts = self.counts.download()
        steps = self.settings.gradient_accumulation_steps or 1
        counts[layout.CALLS] = calls
        counts[layout.UPDATES], counts[layout.CALLS_OF_WINDOW] = divmod(calls, steps)
        frequency = int(self.limits.host[layout.OVERWRITE_FREQUENCY]) or 1
        counts[layout.UPDATES_OF_PERIOD] = counts[layout.UPDATES] % frequency
        self.calls, self.calls_since_known = calls, 0
        self.counts.upload(self.last_stream)
        wait_for_device()
        # The numbers for the next call have changed.
        self.rates.forget()

    def set_growth(self, scale: np.float32, growth_counter: int, growth_steps: int) -> None:
        """Write the state of dynamic loss scaling; waits for the device."""
        counts, numbers = self.counts.download(), self.numbers.download()
        counts[layout.GROWTH_COUNTER] = growth_counter
        numbers[layout.SCALE] = scale
        self.limits.host[layout.GROWTH_STEPS] = growth_steps
        for buffer in (self.counts, self.numbers, self.limits):
            buffer.upload(self.last_stream)
        wait_for_device()

    def learn_growth(self) -> tuple[np.float32, int]:
        """Return the loss scale and the growth counter of the device, and wait for it."""
        return self.numbers.download()[layout.SCALE], int(self.learn_counts()[layout.GROWTH_COUNTER])

    def count(self, is_captured: bool, is_dynamic: bool) -> None:
        """Count a call, as far as the host can know its outcome."""
        self.has_graph |= is_captured
        self.is_exact &= not (is_captured or is_dynamic)
        if is_captured:
            return
        if self.is_exact:
            self.calls += 1
        else:
            self.calls_since_known += 1

    def possible_calls(self) -> tuple[int, int]:
        """Return the least and the largest number of calls that the device may have counted."""
        return self.calls, self.calls + self.calls_since_known

    def on_host(self) -> State:
        """Return a state with zeros on the host, into which values can be checked and written."""
        zeros = {
            kind: [np.zeros(array.shape, array.dtype) for array in getattr(self, kind)]
            for kind in ("variables", "velocities", "averages", "accumulators")
        }
        return State(names=self.names, decayed=self.decayed, calls=self.calls, **zeros)

    def take(self, state: State) -> None:
        """Write the slots and the number of calls of a state on the host; waits for the device."""
        for kind in ("velocities", "averages", "accumulators"):
            for array, values in zip(self.slot_arrays[kind], getattr(state, kind), strict=True):
                from_host(array, values)
        self.set_calls(state.calls)

    def overwrite_by_averages(self) -> None:
        """Write the averages into the variables, on the stream of the last call; waits for the device."""
        copies = [
            Copy(array, found, found.dtype, average)
            for array, found, average in zip(
                self.arrays, self.views, self.slot_arrays["averages"], strict=True
            )
        ]
        self.transfer([copy.scatter() for copy in copies], copies)
        if self.has_graph:
            # The replays, and later reads of the variables, need not be on the stream of the capture.
            wait_for_device()

    def transfer(self, launches: Sequence[Launch], copies: Sequence[Copy]) -> None:
        """Launch copies of whole variables, after all other work, on the stream of the last call."""
        self._transfers = copies
        wait_for_device()
        self.launch(launches, self.last_stream)

    def provide_rates(
        self, source: Any, value: np.float32 | None, calls: tuple[int, int], handle: int
    ) -> None:
        """Give the device the learning rate of the next call, which is one of several possible calls."""
        first, last = calls
        if self.rates.is_current(source, first, last):
            return
        self.rates.fill(source, value, first, last)
        self.limits.host[layout.RATE_COUNT] = self.rates.count
        for buffer in (self.rates.values, self.rates.calls, self.limits):
            buffer.upload(handle)
        self.launch([(PREPARATION, 1, 1, (self.counts.address, self.numbers.address))], handle)

    def gradient_address(self, index: int, gradient: Any, launches: list[Launch]) -> int:
        """Return the address of a gradient. If kernels cannot read it, one more launch copies it."""
        if gradient is None:
            return layout.MISSING
        dtype = self.variables[index].dtype
        if isinstance(gradient, Rows):
            self._refuse_capture(f"a sparse gradient for {self.names[index]}, which is on the host")
            dense = self._dense_memory(index)
            size = self.variables[index].size
            from_host(dense, gradient.dense(0, size).reshape(self.variables[index].shape))
            return view("gradient", dense).address
        found = View(
            gradient.ctypes.data,
            gradient.shape,
            gradient.strides,
            gradient.dtype,
            self.views[index].device,
            False,
        )
        if is_in_place(found, dtype):
            return found.address
        key = index, found.dtype, found.strides
        copy = self._gradient_copies.get(key)
        if copy is None:
            form = f"{found.dtype} with strides {found.strides}"
            self._refuse_capture(f"the first gradient for {self.names[index]} of {form}")
            copy = self._gradient_copies[key] = Copy(self.arrays[index], found, dtype)
            wait_for_device()
        copy.found = found
        launches.append(copy.gather())
        return copy.address

    def _refuse_capture(self, got: str) -> None:
        refuse_capture(self.arrays[:1], got)

    def _dense_memory(self, index: int) -> Any:
        memory = self._dense.get(index)
        if memory is None:
            variable = self.variables[index]
            memory = self._dense[index] = fresh_like(self.arrays[index], variable.shape, variable.dtype)
        return memory

    def row_group(self, index: int, rows: Mapping[int, Rows], addresses: Array, handle: int) -> RowGroup:
        """Return the group of one dtype for a call with sparse gradients that change their own rows only."""
        known, group = self._row_groups.get(index), self.groups[index]
        self._row_groups[index] = row_group(known, group, rows, addresses, handle)
        return self._row_groups[index]

    def program(
        self, has_gradient: Sequence[bool], is_dynamic: bool, groups: Sequence[Group] | None = None
    ) -> Program:
        """Return the launches for a call in which these variables have gradients.

        `groups` are given if some of them are not those of whole variables.
        """
        groups = self.groups if groups is None else groups
        present, _ = self._key_of_program(has_gradient, is_dynamic)
        forms = tuple(group.form for group in groups)
        key = present, is_dynamic, forms
        if key not in self._programs:
            self._programs[key] = Program(
                self.settings, groups, present, self.counts, self.numbers, is_dynamic
            )
            wait_for_device()
        return self._programs[key]

    def has_program(self, has_gradient: Sequence[bool], is_dynamic: bool) -> bool:
        """Whether such a call was made before, so that everything for it exists."""
        present, _ = self._key_of_program(has_gradient, is_dynamic)
        return (present, is_dynamic, tuple(group.form for group in self.groups)) in self._programs

    def _key_of_program(
        self, has_gradient: Sequence[bool], is_dynamic: bool
    ) -> tuple[tuple[bool, ...], bool]:
        return tuple(any(has_gradient[i] for i in group.positions) for group in self.groups), is_dynamic

    def around(self, launches: Sequence[Launch]) -> list[Launch]:
        """Return launches between those that copy variables with gaps, and those that copy them back."""
        copies = self._copies.values()
        return [*(copy.gather() for copy in copies), *launches, *(copy.scatter() for copy in copies)]

    def launch(self, launches: Sequence[Launch], handle: int, gradients: Sequence[Any] = ()) -> None:
        """Launch on a stream."""
        if IS_SIMULATED:
            simulated.allow(self._regions(gradients))
        stream = numba_stream(handle)
        for kernel, blocks, threads, arguments in launches:
            kernel.launch(blocks, threads, stream, *arguments)
        self.last_stream = handle

    def _regions(self, gradients: Sequence[Any]) -> list[tuple[int, int]]:
        """Return all memory that kernels may access."""
        buffers = [self.counts, self.limits, self.numbers, self.rates.values, self.rates.calls]
        groups = [*self.groups, *self._row_groups.values()]
        buffers += [buffer for group in groups for buffer in group.buffers()]
        buffers += [buffer for program in self._programs.values() for buffer in program.buffers()]
        copies = [*self._copies.values(), *self._gradient_copies.values(), *self._transfers]
        arrays = [array for _, array in self.named_arrays()]
        arrays += [header(view("gradient", gradient)) for gradient in gradients if gradient is not None]
        memories = [*self._dense.values(), *(row.memory for row in self._row_groups.values())]
        arrays += [header(view("memory", memory)) for memory in memories]
        bounds = [np.lib.array_utils.byte_bounds(array) for array in arrays if array.size]
        return [
            *(buffer.region for buffer in buffers),
            *(region for copy in copies for region in copy.regions()),
            *((start, end - start) for start, end in bounds),
        ]

    def copies_to_host(self) -> list[Array]:
        """Return copies of the arrays of state in the order of Keras; waits for the device."""
        kinds = ("averages", "accumulators", "velocities")
        wait_for_device()
        return [to_host(array) for kind in kinds for array in self.slot_arrays[kind]]
