"""SGD with the kernels: settings, checks, counting and bits of the reference, in one pass over memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from numba_kernels.cpu.alignment import AlignedState
from numba_kernels.cpu.clipping import clip_all, clip_each
from numba_kernels.cpu.compiling import compiled_work
from numba_kernels.cpu.distinct import compile_rows
from numba_kernels.cpu.norm import Measurement
from numba_kernels.cpu.over_ranks import Agreed
from numba_kernels.cpu.parts import PartsOfRanks
from numba_kernels.cpu.plan import Plan
from numba_kernels.cpu.quick_clipping import QuickClipping
from numba_kernels.cpu.tasks import Work
from numba_kernels.cpu.threads import Task, run_as_one, run_uninterrupted
from numba_kernels.ranks.mpi import communicator_of
from numba_kernels.ranks.rounds import Ranks
from numba_kernels.shared.element import PLAIN
from numba_kernels.shared.rows import from_sparse, may_touch_rows_only
from sgd_ref.arithmetic.formats import FLOAT64, Array
from sgd_ref.base import learning_rate as rates
from sgd_ref.base.call import Call
from sgd_ref.base.configuration import KEYS
from sgd_ref.base.learning_rate import LearningRate
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.base.state import State
from sgd_ref.gradients import Gradient, SparseRows, is_scipy
from sgd_ref.validation import integer_at_least, reject_type

USELESS_IN_A_COPY = ("_works", "_updates", "_accumulations", "_measured", "_agreed")
"""Lists with addresses."""


class SGD(BaseSGD):
    """Stochastic gradient descent with momentum: the bits of ``sgd_ref.SGD``, in one pass over memory.

    Parameters
    ----------
    learning_rate, momentum, ..., gradient_accumulation_steps
        The settings of ``sgd_ref.SGD``, in its order and with its defaults.
    threads : int, default 1
        The number of threads that may work on one call, at least 1. No bit depends on it. It is not part of
        the config, and neither are the following arguments.
    communicator : mpi4py.MPI.Comm or numba_kernels.ranks.Communicator, optional
        The ranks that make each call together. All ranks have variables of the same names, in the same order;
        each rank has a part of each variable, which may be empty. Norms and checks for finiteness are over
        all parts together.
    replicated : sequence of str, default ()
        A variable whose name contains one of these strings is the same on all ranks, and counts once in
        a norm.

    Raises
    ------
    TypeError, ValueError
        If a setting has the wrong type or value.

    Notes
    -----
    The first call for a combination of features and a dtype compiles a kernel, about a second, and keeps it
    on disk for later processes. A step allocates nothing of the size of a variable. Gradients of the dtype of
    their variable that lie in one piece of memory are read directly; other gradients are copied in pieces.

    Like ``sgd_ref.SGD``, an optimizer refuses a second thread of the caller while one is at work in it;
    `threads` counts only its own threads.

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
        communicator: Any = None,
        replicated: Sequence[str] = (),
    ) -> None:
        arguments = locals()
        super().__init__(**{name: arguments[name] for name in KEYS})
        self._threads = integer_at_least("threads", threads, 1)
        if isinstance(replicated, str) or not all(isinstance(part, str) for part in replicated):
            reject_type("replicated", replicated, "a list of strings")
        self._parts: PartsOfRanks | None = None
        if communicator is not None:
            self._parts = PartsOfRanks(Ranks(communicator_of(communicator)), replicated)
        elif replicated:
            raise ValueError(f"replicated must be empty without a communicator, got {replicated!r}")
        # At most one entry: the gradients on which all ranks agreed, and the result.
        self._agreed: list[tuple[Any, Agreed]] = []
        self._plan: Plan | None = None
        self._works: list[Work] = []
        # The tasks of all works in an ordinary call, and the clipping of such a call, if there is one.
        self._updates: list[Task] = []
        self._accumulations: list[Task] = []
        self._quick_clipping: QuickClipping | None = None
        self._has_loss_scale = False
        # At most one entry: the measured gradients, and the result.
        self._measured: list[tuple[Any, list[Measurement]]] = []

    @property
    def threads(self) -> int:
        """The number of threads that may work on one call."""
        return self._threads

    def __getstate__(self) -> dict[str, Any]:
        if self._parts is not None:
            raise TypeError("an optimizer with a communicator cannot be copied; its ranks would talk to both")
        # Addresses are useless in a copy or in another process.
        useless = {"_plan": None, "_quick_clipping": None}
        empty: dict[str, Any] = {name: [] for name in USELESS_IN_A_COPY}
        return {**self.__dict__, **useless, **empty}

    def allocated_state(self, names: list[str], variables: list[Array], decayed: list[bool]) -> State:
        """Return a state with aligned memory."""
        return AlignedState.fresh(self.settings, names, variables, decayed)

    def quickly_validated(
        self, gradients: Sequence[Gradient], variables: Sequence[Array] | None
    ) -> Call | None:
        """Return the call if the quick check accepts it; otherwise None."""
        plan, state = self._plan, self._state
        if plan is None or plan.state is not state or type(gradients) not in (list, tuple):
            return None
        given = list(gradients)
        accepted = plan.accepted(given, variables)
        if accepted is None:
            return None
        learning_rate = self.rate_source
        if not isinstance(learning_rate, np.float32):
            learning_rate = self.rate_of_call(state)
            # A callable learning rate may have changed the arrays.
            accepted = plan.accepted(given, None)
            if accepted is None:
                rates.refuse_changed_arrays()
        return Call(state, accepted, learning_rate)

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None) -> Call:
        """Return a checked call; if it is refused, the other ranks are told."""
        try:
            call = self.quickly_validated(gradients, variables)
            return self.thoroughly_validated(gradients, variables) if call is None else call
        except Exception as error:
            if self._parts is not None:
                self._parts.refuse(error)
            raise

    def accepted(self, gradient: Gradient, variable: Array) -> Any:
        """Return a dense gradient unchanged, and the rows of a sparse gradient."""
        if isinstance(gradient, SparseRows) or is_scipy(gradient):
            # Where all rows change, other kernels are used.
            if may_touch_rows_only(self.settings):
                compile_rows(variable.dtype, (4, 8) if is_scipy(gradient) else ())
            return from_sparse(gradient, variable)
        return None if gradient is None else np.asarray(gradient)

    def all_finite(self, call: Call, loss_scale: float | np.float32 | None) -> bool:
        """Whether all sums of squares are finite; clipping uses the same sums again."""
        plan = self._loaded_plan(call, loss_scale)
        measurements = self._measurements(plan, call, loss_scale)
        self._measured[:] = [(call.gradients, measurements)]
        if self._parts is not None:
            return self._agreement(plan, call, loss_scale).finite
        return all(measurement.finite for measurement in measurements)

    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Make the call and count it; no interrupt can come between the two."""
        plan = self._loaded_plan(call, loss_scale)
        # Each method that is not called saves a fiftieth of the step of a small variable.
        accumulates = plan.accumulates and self.accumulates(call)
        wide_factor = None
        if plan.clips_by_norm and not accumulates and not self._has_clipped_quickly(plan):
            wide_factor = self._set_factors(plan, call, loss_scale)
        counting: list[Task] = []
        if self._parts is not None:
            # Even without clipping, the ranks compare their calls.
            self._agreement(plan, call, loss_scale)
            counting.append(self._parts.count)
        self._measured.clear()
        self._agreed.clear()
        gradients = call.gradients
        compiled: list[Task] = []
        in_python: list[Task] = []
        is_ordinary = plan.is_ordinary and wide_factor is None
        if is_ordinary:
            compiled = self._accumulations if accumulates else self._updates
        for work in () if is_ordinary else self._works:
            if wide_factor is not None and work.group.dtype != FLOAT64:
                tasks = work.updating_widely(gradients, wide_factor, loss_scale is not None)
            else:
                tasks = work.accumulating(gradients) if accumulates else work.updating(gradients)
            compiled += tasks.compiled
            in_python += tasks.in_python
        counting += self.counting(call)
        if self._state is not call.state:
            # The method of the class is written in Python, so an interrupt could come within it.
            counting.append(partial(object.__setattr__, self, "_state", call.state))
        if in_python or (self._threads > 1 and len(compiled) > 1):
            run_uninterrupted(compiled + in_python, self._threads, counting)
        else:
            run_as_one([*compiled, *counting])

    def counting(self, call: Call) -> list[Task]:
        """Return the tasks that count a call; no task is written in Python, so no interrupt splits them."""
        return [partial(setattr, call.state, "calls", call.state.calls + 1)]

    def _loaded_plan(self, call: Call, loss_scale: float | np.float32 | None) -> Plan:
        """Return the plan with the addresses and settings of a call."""
        plan, has_loss_scale, gradients = self._plan, loss_scale is not None, call.gradients
        if (
            plan is None
            or plan.state is not call.state
            or self._has_loss_scale is not has_loss_scale
            or not (plan.loaded is gradients or plan.is_current())
        ):
            plan = Plan(self.settings, call.state)
            # A plan always has its works, even after an interrupt.
            self._plan = None
            self._works = [
                compiled_work(group, has_loss_scale, plan.dtypes_of_norm, self._threads)
                for group in plan.groups
            ]
            self._updates = [task for work in self._works for task in work.updates]
            self._accumulations = [task for work in self._works for task in work.accumulations]
            self._quick_clipping = self._made_quick_clipping(plan, has_loss_scale)
            self._has_loss_scale = has_loss_scale
            self._plan = plan
        if plan.loaded is not gradients:
            plan.load(gradients)
        is_first = overwrites = False
        # Finding the number of the update takes 2 % of the step of a small variable, and only averages need
        # it.
        if self.settings.use_ema:
            updates, frequency = self.updates_before(call), self.settings.ema_overwrite_frequency
            is_first, overwrites = updates == 0, frequency is not None and (updates + 1) % frequency == 0
        for group in plan.groups:
            group.constants.set_call(call.learning_rate, loss_scale, is_first, overwrites)
        return plan

    def _made_quick_clipping(self, plan: Plan, has_loss_scale: bool) -> QuickClipping | None:
        if not plan.clips_by_norm or self._parts is not None:
            return None
        if len(plan.groups) > 1 or plan.dtype_of_norm == FLOAT64:
            return None
        return QuickClipping(plan.groups[0], self.settings, has_loss_scale, self._threads)

    def _has_clipped_quickly(self, plan: Plan) -> bool:
        """Whether the factors of the call are written; a check for finiteness has the sums already."""
        clipping = self._quick_clipping
        return clipping is not None and plan.is_ordinary and not self._measured and clipping.clip()

    def _measurements(
        self, plan: Plan, call: Call, loss_scale: float | np.float32 | None
    ) -> list[Measurement]:
        """Return the sums of squares of all gradients, in the form that will be clipped."""
        if self._measured and self._measured[0][0] is call.gradients:
            return self._measured[0][1]
        settings = self.settings
        clips = settings.clipnorm is not None or settings.global_clipnorm is not None
        norm_needed = clips and not self.accumulates(call)
        is_wide = settings.global_clipnorm is not None and plan.dtype_of_norm == FLOAT64
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

    def _agreement(self, plan: Plan, call: Call, loss_scale: float | np.float32 | None) -> Agreed:
        """Return the common knowledge of all ranks about the gradients of a call."""
        assert self._parts is not None
        if not self._agreed or self._agreed[0][0] is not call.gradients:
            clips = self.settings.clips_by_norm and not self.accumulates(call)
            try:
                measurements = self._measurements(plan, call, loss_scale) if clips or self._measured else []
            except Exception as error:
                self._parts.refuse(error)
                raise
            found = self._parts.agree(plan, self.settings, call, loss_scale, measurements, clips)
            self._agreed[:] = [(call.gradients, found)]
        return self._agreed[0][1]

    def _set_factors(
        self, plan: Plan, call: Call, loss_scale: float | np.float32 | None
    ) -> np.float64 | None:
        """Write the clipping factors; return the factor if some kernels cannot compute in its dtype."""
        settings = self.settings
        if self._parts is not None:
            if not settings.clips_by_norm:
                return None
            return self._parts.set_factors(plan, settings, self._agreement(plan, call, loss_scale))
        if settings.clipnorm is not None:
            clip_each(plan.groups, self._measurements(plan, call, loss_scale))
        if settings.global_clipnorm is None:
            return None
        measurements = self._measurements(plan, call, loss_scale)
        return clip_all(plan.groups, measurements, settings.global_clipnorm, plan.dtype_of_norm)
