"""SGD on the device: settings, checks and bits of the reference, without waiting for the device in a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_kernels.cuda.arrays.allocation import wait_for_device
from numba_kernels.cuda.arrays.headers import (
    headers_of,
    headers_of_gradients,
    is_sparse,
    refuse_arrays_on_device,
    refuse_wrapper,
)
from numba_kernels.cuda.arrays.streams import refuse_capture
from numba_kernels.cuda.device import layout
from numba_kernels.cuda.host.contents import state_on_host
from numba_kernels.cuda.host.device_state import DeviceState
from numba_kernels.cuda.host.knowing_arrays import KnowingArrays
from numba_kernels.cuda.host.launching import launch
from numba_kernels.cuda.host.placed import Placed
from numba_kernels.cuda.host.program import Launch
from numba_kernels.cuda.host.row_group import rows_to_update
from numba_kernels.cuda.toolkit import on_device
from numba_kernels.shared.rows import from_sparse
from sgd_ref.arithmetic.formats import Array
from sgd_ref.base import finalization, weights
from sgd_ref.base import learning_rate as learning_rates
from sgd_ref.base.call import Call
from sgd_ref.base.configuration import KEYS
from sgd_ref.base.copying import check_order
from sgd_ref.base.exclusive import alone
from sgd_ref.base.exported import Weights, meaning_of
from sgd_ref.base.learning_rate import LearningRate
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.base.state import State
from sgd_ref.gradients import Gradient
from sgd_ref.read_only import ReadOnlyList
from sgd_ref.schedules import LearningRateSchedule
from sgd_ref.validation import integer_at_least, reject_value


class SGD(KnowingArrays, BaseSGD):
    """Stochastic gradient descent with momentum on the device: the bits of ``sgd_ref.SGD``.

    Parameters
    ----------
    learning_rate, momentum, ..., gradient_accumulation_steps
        The settings of ``sgd_ref.SGD``, in its order and with its defaults.
    rates_ahead : int, default 1024
        A power of two, at least 2: the number of calls for which the device can hold the values of a
        schedule. This is also how many times a captured graph can be replayed after one call of
        ``prepare_replays``. It is not part of the config.

    Raises
    ------
    TypeError, ValueError
        If a setting has the wrong type or value.

    Notes
    -----
    Variables and gradients are arrays on one device, of Numba, CuPy or PyTorch, updated in place, without a
    copy, on the stream on which their library works. Counts, finiteness, norms and the loss scale stay on the
    device: a step waits for nothing, and can be captured in a CUDA graph. Reading a count, such as
    ``iterations``, waits for the device. Since the host does not know of skipped calls, a warning about
    a value of a schedule may come as many calls too early as were skipped.

    The formulas are those of ``sgd_ref.rule``, from the documentation of ``optimizer_sgd`` of Keras.

    Examples
    --------
    >>> import numpy as np
    >>> from numba import cuda
    >>> w = cuda.to_device(np.array([1.0, -2.0], "float32"))
    >>> optimizer = SGD(learning_rate=0.5, momentum=0.5)
    >>> g = cuda.to_device(np.array([1.0, 1.0], "float32"))
    >>> optimizer.apply([g], [w])
    >>> optimizer.apply([g], [w])
    >>> w.copy_to_host()
    array([-0.25, -3.25], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        name: str = "SGD",
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        *,
        rates_ahead: int = 1024,
    ) -> None:
        arguments = locals()
        super().__init__(**{name: arguments[name] for name in KEYS})
        self._rates_ahead = integer_at_least("rates_ahead", rates_ahead, 2)
        if rates_ahead & (rates_ahead - 1):
            reject_value("rates_ahead", rates_ahead, "a power of two")
        self._growth: tuple[np.float32, int, int] | None = None

    @property
    def rates_ahead(self) -> int:
        """The number of calls for which the device can hold the values of a schedule."""
        return self._rates_ahead

    def build(self, variables: Sequence[Any], names: Sequence[str] | None = None) -> None:
        """Create the state for a list of variables on the device; see ``sgd_ref.SGD.build``."""
        # The method of the base class is not used: a warning names the caller of the method that gives it.
        with alone(self._running), on_device(self._device_of(variables)):
            if self._state is None:
                self._state = self.fresh_state(self._headers("variables", variables), names)
            else:
                self.build_again(self._state, self._known_headers(variables), names)

    def exclude_from_weight_decay(
        self, var_list: Sequence[Any] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Exclude variables from weight decay; see ``sgd_ref.SGD.exclude_from_weight_decay``."""
        headers = None if var_list is None else headers_of("var_list", var_list, self._kept_headers())
        super().exclude_from_weight_decay(headers, var_names)
        self._excluded = [] if headers is None else list(zip(var_list or [], headers, strict=True))

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any] | None = None) -> None:
        """Make one call on the stream of the arrays, without waiting for it; see ``sgd_ref.SGD.apply``.

        Sparse gradients are on the host, as ``sgd_ref.SparseRows`` or arrays of ``scipy.sparse``. If the rule
        changes only their rows, only these are copied and updated; otherwise a dense gradient is copied,
        which waits for the device. While a graph is captured, `gradients` must be on the device, and
        the learning rate must not be a callable.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As for ``sgd_ref.SGD``; nothing has changed then.
        """
        # This code is not shared with LossScaleOptimizer: with one more frame, a warning would name this
        # file.
        with alone(self._running), on_device(self._device_of(variables)):
            source = self.rate_source
            placed = self._quickly_placed(gradients, variables)
            if placed is None:
                headers = headers_of_gradients(gradients, self._device_of(variables))
                call = self.validated(headers, self._known_headers(variables))
                placed = self._placed(call, gradients)
            self._launch(placed, source, is_dynamic=False)

    def prepare_replays(self, calls: int) -> None:
        """Give the device the learning rates of the next calls, for a captured graph; waits for the device.

        If the learning rate is a schedule, call this method before every `calls` replays. A replay without a
        learning rate changes nothing.

        Parameters
        ----------
        calls : int
            Number of calls, at least 1 and at most ``rates_ahead``.

        Raises
        ------
        TypeError, ValueError
            If `calls` is not acceptable.
        RuntimeError
            If the optimizer has no variables yet, or is at work.

        Warns
        -----
        UserWarning
            If the value of a schedule for one of these calls becomes 0 or infinite in the dtype of a
            variable, unless this warning was given before; a replay cannot warn.
        """
        if integer_at_least("calls", calls, 1) > self._rates_ahead:
            reject_value("calls", calls, f"at most {self._rates_ahead}, the optimizer's rates_ahead")
        with alone(self._running):
            state, source = self._device_state(), self.rate_source
            if not isinstance(source, LearningRateSchedule):
                return
            with on_device(state.device):
                state.learn_counts()
                first, last = state.calls, state.calls + calls - 1
                state.provide_rates(source, None, (first, last), state.last_stream)
                # Replays need not be on the stream of the capture.
                wait_for_device()
            state.rates.tell(self._losses, first, last)

    @property
    def calls(self) -> int:
        """Number of calls of ``apply`` made; waits for the device if some may have been skipped."""
        state = self._state
        if isinstance(state, DeviceState) and not state.is_exact:
            with on_device(state.device):
                state.learn_counts()
        return super().calls

    @property
    def learning_rate(self) -> np.float32:
        """The learning rate of the next call; can be set at any time, also for graphs."""
        return learning_rates.read(self.rate_source, self.calls)

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        checked = learning_rates.checked(value, self._losses)
        if isinstance(checked, np.float32):
            self._losses.tell_rate(checked, near_one=True)
        # A call in progress already has its rate, and the device needs that rate first.
        if not self._running:
            self._provide(checked)
        self.rate_source = checked

    def _provide(self, rate: Any) -> None:
        """Give the device a learning rate that is known without a call of ``apply``."""
        state = self._state
        if isinstance(state, DeviceState) and isinstance(rate, (np.float32, LearningRateSchedule)):
            with on_device(state.device):
                calls = self.calls
                state.provide_rates(rate, None, (calls, calls), state.last_stream)
                if state.has_graph:
                    wait_for_device()

    @property
    def velocities(self) -> list[Any]:
        """The velocities on the device, one for each variable; empty without momentum."""
        return self._slots("velocities")

    @property
    def averages(self) -> list[Any]:
        """The averages of the variables on the device; empty without ``use_ema``."""
        return self._slots("averages")

    @property
    def accumulators(self) -> list[Any]:
        """The sums of gradients since the last update, on the device; empty without accumulation."""
        return self._slots("accumulators")

    @property
    def variables(self) -> list[Any]:
        """The state in the order of Keras, the counts and the rate on the host, the rest on the device."""
        state = self._device_state()
        state.calls = self.calls
        leading = len(weights.variables(state, self.constant_rate())) - len(state.slots())
        scalars = weights.variables(state, self.constant_rate())[:leading]
        return ReadOnlyList([*scalars, *self.averages, *self.accumulators, *self.velocities], "variables")

    def get_weights(self) -> list[Array]:
        """Return a copy of ``variables`` in the memory of the host; waits for the device."""
        with alone(self._running):
            return Weights(self._exported(), meaning_of(self))

    def _exported(self) -> list[Array]:
        state = self._device_state()
        scalars = self.variables[: -len(state.slots()) or None]
        with on_device(state.device):
            return [*(np.array(scalar) for scalar in scalars), *state.copies_to_host()]

    def assign_weights(self, values: Sequence[Any]) -> np.float32 | None:
        """Set the state from arrays of the host; see ``BaseSGD.assign_weights``."""
        state = self._device_state()
        checked = state.on_host()
        rate = weights.assign(checked, values, self.constant_rate())
        with on_device(state.device):
            state.take(checked)
        if rate is not None:
            self._provide(rate)
            self.rate_source = rate
        return rate

    def finalize_variable_values(self, variables: Sequence[Any]) -> None:
        """Write the averages into the variables; see ``sgd_ref.SGD.finalize_variable_values``."""
        with alone(self._running):
            state = self._device_state()
            state.follow()
            headers = self._known_headers(variables)
            if finalization.is_due(state, headers, self.settings.use_ema, self.iterations):
                with on_device(state.device):
                    state.overwrite_by_averages()

    def rebind(self, variables: Sequence[Any], names: Sequence[str] | None = None) -> None:
        """Refuse: the state of arrays on the device stays with these arrays.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError(
            "an optimizer on the device cannot be bound to other arrays; build another one, "
            "and use get_weights and set_weights"
        )

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(
            "an optimizer on the device cannot be copied or pickled; use get_weights and set_weights"
        )

    def _slots(self, kind: str) -> list[Any]:
        arrays = self._state.slot_arrays[kind] if isinstance(self._state, DeviceState) else ()
        return ReadOnlyList(arrays, kind)

    def _device_state(self) -> DeviceState:
        state = self.built_state()
        assert isinstance(state, DeviceState)
        return state

    def allocated_state(self, names: list[str], variables: list[Array], decayed: list[bool]) -> State:
        """Return a state on the device."""
        refuse_capture(self._arrays_of_headers[:1], "an optimizer without state")
        state = DeviceState(
            self.settings, names, self._arrays_of_headers, variables, decayed, self._rates_ahead
        )
        if self._growth is not None:
            state.set_growth(*self._growth)
        return state

    def rate_of_call(self, state: State) -> np.float32:
        """Return the learning rate; NaN for a schedule, since the device finds its rate in a table."""
        if isinstance(self.rate_source, LearningRateSchedule):
            return np.float32(np.nan)
        rate = super().rate_of_call(state)
        if isinstance(state, DeviceState):
            # A callable learning rate may have moved variables.
            state.follow()
        return rate

    def accepted(self, gradient: Gradient, variable: Array) -> Any:
        """Return a gradient unchanged, or the rows of a sparse gradient."""
        return from_sparse(gradient, variable) if is_sparse(gradient) else gradient

    def _quickly_placed(self, gradients: Any, variables: Any) -> Placed | None:
        """Return a call if the quick check accepts it; otherwise None."""
        state = self._state
        if not isinstance(state, DeviceState):
            return None
        state.follow()
        addresses = state.quick_addresses(gradients, variables)
        if addresses is None:
            return None
        source = self.rate_source
        rate = self.rate_of_call(state)
        if not isinstance(source, (np.float32, LearningRateSchedule)):
            # A callable learning rate may have moved them.
            addresses = state.quick_addresses(gradients, variables)
            if addresses is None:
                learning_rates.refuse_changed_arrays()
        return Placed(state, gradients, addresses, [True] * len(addresses), [], rate)

    def _placed(self, call: Call, gradients: Sequence[Any]) -> Placed:
        """Return a call after the full check."""
        state = call.state
        assert isinstance(state, DeviceState)
        before: list[Launch] = []
        rate, source = call.learning_rate, self.rate_source
        if isinstance(source, LearningRateSchedule) and state.is_exact:
            rate = learning_rates.read(source, state.calls)
        rows = rows_to_update(self.settings, state.groups, state.decayed, call.gradients, rate)
        addresses = [
            layout.MISSING if index in rows else state.gradient_address(index, gradient, before)
            for index, gradient in enumerate(call.gradients)
        ]
        has_gradient = [gradient is not None for gradient in call.gradients]
        on_device = [gradient for gradient in gradients if not is_sparse(gradient)]
        numbers = np.array(addresses, np.int64)
        return Placed(state, on_device, numbers, has_gradient, before, call.learning_rate, rows)

    def _launch(self, placed: Placed, source: Any, is_dynamic: bool) -> None:
        is_captured = launch(placed, source, self._losses, is_dynamic)
        self._state = placed.state
        # A callable may have set another rate, which replays of a graph must use.
        if self.rate_source is not source and placed.state.has_graph and not is_captured:
            self._provide(self.constant_rate())

    def state_to_save(self, variables: Sequence[Any]) -> State:
        """Return a copy of the state on the host; see ``BaseSGD.state_to_save``."""
        state = self._device_state()
        state.follow()
        check_order(self._known_headers(variables), state)
        with on_device(state.device):
            return state_on_host(state)

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Refuse: a step on the device is launched."""
        raise NotImplementedError("a step on the device is launched")

    def quickly_validated(self, gradients: Any, variables: Any) -> Call | None:
        """Return None, since ``_quickly_placed`` has the quick check."""
        # Usually these are headers, but another wrapper may pass on the original gradients.
        refuse_arrays_on_device(gradients)
        return None

    def all_finite(self, call: Call, loss_scale: float | np.float32 | None) -> bool:
        """Refuse: the device tests whether gradients are finite."""
        refuse_wrapper()
