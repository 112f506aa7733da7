"""SGD with the kernels: settings, checks, counting and bits of the reference, at the speed of memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse

from numba_kernels.constants import divisors, global_factor
from numba_kernels.elementwise import accumulation_kernel, update_kernel
from numba_kernels.elsewhere import update_row, update_row_widely
from numba_kernels.norm import Measurement, norm
from numba_kernels.plan import Group, Plan
from numba_kernels.rows import from_sparse
from numba_kernels.sums import exact_kernel, sum_kernel
from numba_kernels.threads import Task, run_as_one, run_uninterrupted
from numba_kernels.update import PLAIN
from sgd_ref import learning_rate as rates
from sgd_ref.arithmetic.rounded import FLOAT64, Array, promoted, setting
from sgd_ref.base import BaseSGD
from sgd_ref.call import Call
from sgd_ref.gradients import Gradient, SparseRows
from sgd_ref.learning_rate import LearningRate
from sgd_ref.validation import integer_at_least


class SGD(BaseSGD):
    """Stochastic gradient descent with momentum: the bits of ``sgd_ref.SGD``, in one pass over memory.

    Parameters
    ----------
    learning_rate, momentum, nesterov, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema,
    ema_momentum, ema_overwrite_frequency, name, loss_scale_factor, gradient_accumulation_steps
        As for ``sgd_ref.SGD``.
    threads : int, default 1
        At least 1; how many threads may work on one call. The bits do not depend on it. It is no part of
        the config.

    Raises
    ------
    TypeError, ValueError
        If a setting has the wrong type or value.

    Notes
    -----
    The first call for a combination of features and a dtype compiles a kernel, about a second, and keeps it
    on disk for later processes. A step allocates nothing of the size of a variable. Gradients of the dtype of
    their variable that lie in one piece of memory take the shortest way; others are copied in pieces.

    The formulas are those of ``sgd_ref.rule``, from the documentation of ``optimizer_sgd`` of Keras.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0], "float32")
    >>> optimizer = SGD(learning_rate=0.5, momentum=0.5, threads=2)
    >>> optimizer.apply([np.array([1.0, 1.0], "float32")], [w])
    >>> optimizer.apply([np.array([1.0, 1.0], "float32")], [w])
    >>> w
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
        threads: int = 1,
    ) -> None:
        super().__init__(
            learning_rate,
            momentum,
            nesterov,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            name,
            loss_scale_factor,
            gradient_accumulation_steps,
        )
        self._threads = integer_at_least("threads", threads, 1)
        self._plan: Plan | None = None
        self._measured: tuple[Any, list[Measurement]] | None = None

    @property
    def threads(self) -> int:
        """How many threads may work on one call."""
        return self._threads

    def __getstate__(self) -> dict[str, Any]:
        # Addresses mean nothing in a copy or in another process.
        return {**self.__dict__, "_plan": None, "_measured": None}

    def _quickly_validated(
        self, gradients: Sequence[Gradient], variables: Sequence[Array] | None
    ) -> Call | None:
        plan, state = self._plan, self._state
        if plan is None or plan.state is not state or type(gradients) not in (list, tuple):
            return None
        accepted = list(gradients)
        if not plan.accepts(accepted, variables):
            return None
        if not isinstance(self._learning_rate, np.float32):
            # What a callable changes must be seen.
            before = state.calls
            learning_rate = rates.read(self._learning_rate, before)
            if self._state is not state or state.calls != before:
                raise RuntimeError("the callable learning_rate must not call apply of its own optimizer")
            if not plan.accepts(accepted, None):
                raise RuntimeError("the callable learning_rate must not change what is being updated")
        else:
            learning_rate = self._learning_rate
        return Call(state, accepted, learning_rate)

    def _accepted(self, gradient: Gradient, variable: Array) -> Any:
        if isinstance(gradient, SparseRows) or scipy.sparse.issparse(gradient):
            return from_sparse(gradient, variable)
        return None if gradient is None else np.asarray(gradient)

    def _all_finite(self, call: Call, loss_scale: float | np.float32 | None) -> bool:
        plan = self._loaded_plan(call, loss_scale)
        measurements = self._measurements(plan, call, loss_scale)
        self._measured = call.gradients, measurements
        return all(measurement.finite for measurement in measurements)

    def _perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        # Here a step counts itself.
        self._step(call, loss_scale)

    def _step(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        plan = self._loaded_plan(call, loss_scale)
        accumulates = self.accumulates(call)
        with np.errstate(all="ignore"):
            wide_factor = None if accumulates else self._set_factors(plan, call, loss_scale)
        self._measured = None
        tasks: list[Task] = []
        for group in plan.groups:
            tasks += self._tasks(group, call, loss_scale, accumulates, wide_factor)
        counting: list[Task] = [
            partial(setattr, call.state, "calls", call.state.calls + 1),
            partial(setattr, self, "_state", call.state),
        ]
        if len(tasks) > 1 or any(group.elsewhere for group in plan.groups):
            run_uninterrupted(tasks, self._threads, counting)
        else:
            run_as_one([*tasks, *counting])

    def _loaded_plan(self, call: Call, loss_scale: float | np.float32 | None) -> Plan:
        """Return the plan with the addresses and settings of a call."""
        plan = self._plan
        if plan is None or plan.state is not call.state or not plan.is_current(call.gradients):
            plan = self._plan = Plan(self.settings, call.state)
            self._compile(plan.groups, loss_scale is not None)
        plan.load(call.gradients)
        updates, frequency = self.updates_before(call), self.settings.ema_overwrite_frequency
        overwrites = frequency is not None and (updates + 1) % frequency == 0
        with np.errstate(all="ignore"):
            for group in plan.groups:
                group.constants.set_call(call.learning_rate, loss_scale, updates == 0, overwrites)
        return plan

    def _compile(self, groups: Sequence[Group], has_loss_scale: bool) -> None:
        """Compile at the first step what a later one may need, so that no later one waits."""
        settings = self.settings
        for group in groups:
            variant = group.constants.variant(has_loss_scale)
            gradient = group.constants.gradient(has_loss_scale)
            update_kernel(group.dtype, variant)
            if settings.gradient_accumulation_steps is not None:
                accumulation_kernel(group.dtype)
            if settings.clipnorm is not None or settings.global_clipnorm is not None:
                sum_kernel(group.dtype, gradient, group.dtype == FLOAT64)
                exact_kernel(group.dtype, gradient)
            if settings.global_clipnorm is not None and self._dtype_of_norm(groups) == FLOAT64:
                sum_kernel(group.dtype, gradient, True)
                update_kernel(group.dtype, variant._replace(gradient=PLAIN))
            if has_loss_scale and settings.loss_scale_factor is None:
                sum_kernel(group.dtype, PLAIN, False)

    def _dtype_of_norm(self, groups: Sequence[Group]) -> np.dtype[Any]:
        """Return the narrowest dtype that holds the gradients of all groups."""
        return promoted([group.dtype for group in groups])

    def _tasks(
        self,
        group: Group,
        call: Call,
        loss_scale: float | np.float32 | None,
        accumulates: bool,
        wide_factor: np.float64 | None,
    ) -> list[Task]:
        """Return what has to be done for the variables of one dtype."""
        has_loss_scale = loss_scale is not None
        variant = group.constants.variant(has_loss_scale)
        values = group.constants.values
        if wide_factor is not None and group.dtype != FLOAT64:
            plain = update_kernel(group.dtype, variant._replace(gradient=PLAIN))
            return [
                partial(update_row_widely, group, row, gradient, plain, wide_factor, has_loss_scale)
                for row, gradient in enumerate(group.gradients(call.gradients))
            ]
        kernel = accumulation_kernel(group.dtype) if accumulates else update_kernel(group.dtype, variant)
        if not group.elsewhere and len(group.chunks) == 0:
            return []
        tasks: list[Task] = [
            partial(kernel, group.table, group.chunks, first, last, values, group.factors, group.decays)
            for first, last in group.shares(self._threads)
        ]
        if group.elsewhere:
            gradients = group.gradients(call.gradients)
            tasks += [
                partial(update_row, group, row, gradients[row], kernel, None if accumulates else variant)
                for row in group.elsewhere
            ]
        return tasks

    def _measurements(
        self, plan: Plan, call: Call, loss_scale: float | np.float32 | None
    ) -> list[Measurement]:
        """Return the sums of squares of all gradients, as they will be clipped."""
        if self._measured is not None and self._measured[0] is call.gradients:
            return self._measured[1]
        clips = self.settings.clipnorm is not None or self.settings.global_clipnorm is not None
        norm_needed = clips and not self.accumulates(call)
        is_wide = (
            self.settings.global_clipnorm is not None
            and self._dtype_of_norm(plan.groups_with_gradients()) == FLOAT64
        )
        return [
            Measurement(
                group,
                call.gradients,
                group.constants.gradient(loss_scale is not None) if norm_needed else PLAIN,
                norm_needed and (is_wide or group.dtype == FLOAT64),
                self._threads,
            )
            for group in plan.groups
        ]

    def _set_factors(
        self, plan: Plan, call: Call, loss_scale: float | np.float32 | None
    ) -> np.float64 | None:
        """Write by what each gradient is clipped; return the factor if kernels do not have its dtype."""
        settings = self.settings
        if settings.clipnorm is not None:
            measurements = self._measurements(plan, call, loss_scale)
            for group, measurement in zip(plan.groups, measurements, strict=True):
                clipnorm = float(setting(settings.clipnorm, group.dtype))
                group.factors[:, 0] = clipnorm
                group.factors[:, 1] = divisors(measurement.norms(), clipnorm)
        if settings.global_clipnorm is None:
            return None
        wide = self._dtype_of_norm(plan.groups_with_gradients())
        factor = global_factor(
            norm(self._measurements(plan, call, loss_scale), wide), settings.global_clipnorm, wide
        )
        for group in plan.groups:
            group.factors[:, 0] = factor
        return np.float64(factor) if wide == FLOAT64 else None
