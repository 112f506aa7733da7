"""The base of SGD optimizers, without arithmetic: settings, state, checks and counting.

The reference and the fast kernels are built on this class. The reference adds the step, ``perform``. The
kernels also replace the methods that allocate memory, keep gradients and check a call. The class documents
this interface under "Extending".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import check_subnormals_are_kept
from sgd_ref.base import finalization
from sgd_ref.base import learning_rate as rates
from sgd_ref.base.call import Call
from sgd_ref.base.configured import Configured
from sgd_ref.base.copying import Copying, check_order, places, refuse_copied_variables
from sgd_ref.base.counting import Counting
from sgd_ref.base.exclusion import Exclusion
from sgd_ref.base.exclusive import CALL, alone, refuse
from sgd_ref.base.exporting import Exporting
from sgd_ref.base.learning_rate import LearningRate, refuse_changed_arrays
from sgd_ref.base.loss import scaled_loss
from sgd_ref.base.state import State
from sgd_ref.base.variables import (
    Target,
    check_gradients,
    check_names,
    check_no_alias,
    check_rebuilt,
    check_variables,
    check_writable,
    to_dense,
    warn_of_missing,
)
from sgd_ref.gradients import Gradient
from sgd_ref.read_only import ReadOnlyList


class BaseSGD(Configured, Counting, Exporting, Copying, ABC):
    """Settings, state, validation and counting of an SGD optimizer.

    Parameters
    ----------
    learning_rate, momentum, nesterov, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema,
    ema_momentum, ema_overwrite_frequency, name, loss_scale_factor, gradient_accumulation_steps
        As for ``sgd_ref.SGD``.

    Extending
    ---------
    A subclass must override ``perform``, which makes a checked call: it advances the arrays of
    ``call.state``, counts the call and keeps the state. It returns nothing.

    It may override these methods, or call them:

    - ``validated(gradients, variables)`` checks a call of ``apply`` and returns a ``Call``;
    - ``quickly_validated(gradients, variables)`` returns the ``Call`` where a shorter check is enough,
      and None elsewhere;
    - ``rate_of_call(state)`` returns the learning rate of the next call, as float32;
    - ``accepted(gradient, variable)`` returns a checked gradient in the form that ``perform`` takes, or None;
    - ``all_finite(call, loss_scale)`` returns whether no gradient has an infinity or NaN;
    - ``fresh_state(variables, names)`` checks the arguments of ``build`` and returns the ``State``;
    - ``allocated_state(names, variables, decayed)`` returns a ``State`` for variables that are checked;
    - ``state_to_save(variables)`` returns the ``State`` that a checkpoint holds, in the memory of the host;
    - ``assign_weights(values)`` sets the state as ``set_weights`` does, also for a ``LossScaleOptimizer``,
      and returns the learning rate among the values, or None.

    The public methods and properties may be overridden, too, where arrays are of another kind. Other methods
    may be called but not overridden. ``built_state()`` returns the state, and ``constant_rate()`` the
    learning rate if it is a number. ``build_again(state, variables, names)`` checks the arguments of a second
    ``build``. ``accumulates(call)`` says whether a call only accumulates, and ``updates_before(call)`` how
    many updates were made before it.

    Attributes that a subclass may read and set: ``settings``; ``rate_source``, the learning rate as it was
    given (a float32, a schedule or a callable); ``exclusion``; and ``_state``, the ``State``, None before the
    optimizer is built. There are also ``_running``, which tells whether the optimizer is at work, and
    ``_losses``, which warns of settings that a dtype does not have.

    A subclass declares its own public attributes by an annotation or a value in the class (see ``Declared``).
    Other attributes cannot be set. Names that begin with an underscore need no declaration.
    """

    _state: State | None = None
    exclusion = Exclusion()

    def build(self, variables: Sequence[Array], names: Sequence[str] | None = None) -> None:
        """Create the state for a list of variables.

        Parameters
        ----------
        variables : list of ndarray
            Writable arrays of float16, bfloat16, float32 or float64, of any shape, that share no
            memory. They are kept and updated in place.
        names : list of str, optional
            One for each variable; ``variable_0``, ``variable_1``, ... by default.

        Raises
        ------
        TypeError, ValueError
            If a variable or a name is not acceptable, or a setting is not normal in a dtype where it is
            used. The optimizer is then as it was.

        Warns
        -----
        UserWarning
            If a setting becomes 0 or infinite in the dtype of a variable, or if it is strictly between 0 and
            1 and becomes 1. There is one warning for each setting and dtype.

        Examples
        --------
        >>> import numpy as np, sgd_ref
        >>> optimizer = sgd_ref.SGD(momentum=0.9)
        >>> optimizer.build([np.zeros(3, "float16")], names=["bias"])
        >>> optimizer.variable_names
        ['SGD/iteration', 'SGD/learning_rate', 'SGD/bias_momentum']
        """
        with alone(self._running):
            if self._state is None:
                self._state = self.fresh_state(variables, names)
            else:
                self.build_again(self._state, variables, names)

    def exclude_from_weight_decay(
        self, var_list: Sequence[Array] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Exclude variables from weight decay; a second call replaces the first.

        Parameters
        ----------
        var_list : list of ndarray, optional
            Variables, recognised by identity.
        var_names : list of str, optional
            A variable is excluded if its name contains one of these strings.

        Raises
        ------
        TypeError
            If an argument is not a list of arrays or of strings.
        RuntimeError
            If the optimizer is built already, or at work.

        Examples
        --------
        >>> import sgd_ref
        >>> optimizer = sgd_ref.SGD(weight_decay=0.01)
        >>> optimizer.exclude_from_weight_decay(var_names=["bias"])
        """
        with alone(self._running):
            if self._state is not None:
                raise RuntimeError("exclude_from_weight_decay must be called before the optimizer is built")
            self.exclusion = Exclusion.checked(var_list, var_names)

    def apply(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> None:
        """Make one call: update the variables, or accumulate the gradients for a later update.

        Parameters
        ----------
        gradients : list of ndarray, SparseRows, scipy.sparse array or None
            One for each variable, of the shape of the variable and of the same dtype or a narrower one. None
            leaves the variable out of this call.
        variables : list of ndarray, optional
            The variables that the gradients belong to, in the same order; by default all variables. If the
            optimizer is not built yet, it is built with them.

        Raises
        ------
        TypeError, ValueError
            If anything is not acceptable. No array and no counter has changed then.
        RuntimeError
            If the optimizer has no variables yet and none are given, if it is a copy whose variables were
            never given, if this thread flushes subnormal numbers to zero, or if the optimizer is at work
            already: in another thread, or because a callable learning rate calls this method.

        Warns
        -----
        UserWarning
            If a gradient is None, or the value of a schedule or a callable becomes 0 or infinite in the dtype
            of a variable; in the call that builds the optimizer also where `build` warns.

        Examples
        --------
        >>> import numpy as np, sgd_ref
        >>> w, optimizer = np.array([1.0, 2.0], "float32"), sgd_ref.SGD(0.5)
        >>> optimizer.apply([np.array([1.0, -1.0], "float32")], [w])
        >>> w
        array([0.5, 2.5], dtype=float32)
        """
        token: list[None] | None = []
        running = self._running
        try:
            if running.setdefault(CALL, token) is not token:
                token = None
                refuse()
            call = self.validated(gradients, variables)
            self.perform(call, self.settings.loss_scale_factor)
        finally:
            if token is not None and CALL in running and running[CALL] is token:
                del running[CALL]

    @property
    def built(self) -> bool:
        """Whether the optimizer has its variables."""
        return self._state is not None

    @property
    def learning_rate(self) -> np.float32:
        """The learning rate of the next call; can be set at any time.

        A callable is called each time that this property is read.
        """
        return rates.read(self.rate_source, self.calls)

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        rate = rates.checked(value, self._losses)
        if isinstance(rate, np.float32):
            self._losses.tell_rate(rate, near_one=True)
        self.rate_source = rate

    @property
    def velocities(self) -> list[Array]:
        """The velocities, one for each variable; empty without momentum."""
        return ReadOnlyList(() if self._state is None else self._state.velocities, "velocities")

    @property
    def averages(self) -> list[Array]:
        """The averages of the variables; empty without ``use_ema``."""
        return ReadOnlyList(() if self._state is None else self._state.averages, "averages")

    @property
    def accumulators(self) -> list[Array]:
        """The sums of gradients since the last update; empty without accumulation."""
        return ReadOnlyList(() if self._state is None else self._state.accumulators, "accumulators")

    def finalize_variable_values(self, variables: Sequence[Array]) -> None:
        """Write the averages into the variables, once training has ended.

        Does nothing without ``use_ema``; before the first update it does nothing and warns.

        Parameters
        ----------
        variables : list of ndarray
            All arrays that the optimizer was built with, in any order; each gets its own average.

        Raises
        ------
        TypeError, ValueError
            If `variables` are not the variables of the optimizer.
        RuntimeError
            If the optimizer has no variables yet.

        Warns
        -----
        UserWarning
            Before the first update.
        """
        with alone(self._running):
            state = self.built_state()
            if finalization.is_due(state, variables, self.settings.use_ema, self.iterations):
                state.overwrite_by_averages()

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times ``loss_scale_factor``, or the loss itself if that is None.

        A Python number gives a Python float; an array of one of the four dtypes is scaled in the wider of
        float32 and its dtype, and any other dtype is a TypeError.
        """
        return scaled_loss(loss, self.settings.loss_scale_factor)

    @abstractmethod
    def perform(self, call: Call, loss_scale: float | np.float32 | None) -> None:
        """Make a checked call: advance the arrays of its state, count the call, keep the state.

        Parameters
        ----------
        call : Call
            The result of ``validated``.
        loss_scale : float, float32 or None
            The scale by which the gradients are divided, once.
        """

    def built_state(self) -> State:
        """Return the state, or raise an error if there is none.

        Raises
        ------
        RuntimeError
            If the optimizer has no variables yet.
        """
        if self._state is None:
            raise RuntimeError(
                "the optimizer has no variables yet; they must first be given, to build or in a call of apply"
            )
        return self._state

    def state_to_save(self, variables: Sequence[Array]) -> State:
        """Return the state for a checkpoint, if `variables` are all variables in their order."""
        state = self.built_state()
        check_order(variables, state)
        return state

    def constant_rate(self) -> np.float32 | None:
        """Return the learning rate if it is a number."""
        return self.rate_source if isinstance(self.rate_source, np.float32) else None

    def build_again(
        self, state: State, variables: Sequence[Array], names: Sequence[str] | None = None
    ) -> None:
        """Check that a second ``build`` has the variables and names of the first one."""
        places(variables, state)
        check_rebuilt(state.variables, state.names, variables, names)
        state.has_copied_variables = False

    def fresh_state(self, variables: Sequence[Array], names: Sequence[str] | None) -> State:
        """Return the state before the first call, once variables, names and settings are checked."""
        checked = check_variables(variables)
        labels = check_names(names, len(checked))
        decayed = self.exclusion.decayed(checked, labels)
        dtypes = [variable.dtype for variable in checked]
        self.settings.check_dtypes(dtypes, self.constant_rate(), self._losses)
        self._losses.use(dtypes)
        return self.allocated_state(labels, checked, decayed)

    def allocated_state(self, names: list[str], variables: list[Array], decayed: list[bool]) -> State:
        """Return the state before the first call, in memory of its own, for variables that are checked."""
        return State.fresh(self.settings, names, variables, decayed)

    def quickly_validated(
        self, gradients: Sequence[Gradient], variables: Sequence[Array] | None
    ) -> Call | None:
        """Return the call if a shorter check than ``validated`` is enough; otherwise None."""
        return None

    def validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None) -> Call:
        """Return a call of ``apply`` once everything in it is checked; nothing has changed yet.

        It reads the learning rate, once.
        """
        call = self.quickly_validated(gradients, variables)
        return self.thoroughly_validated(gradients, variables) if call is None else call

    def thoroughly_validated(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None) -> Call:
        """Return the call, as ``validated`` does, where the shorter check is not enough."""
        if variables is None:
            state = self.built_state()
            if state.has_copied_variables:
                refuse_copied_variables()
            order = list(range(len(state.variables)))
        else:
            state = self.fresh_state(variables, None) if self._state is None else self._state
            order = places(variables, state)
        targets = [Target(state.names[index], state.variables[index]) for index in order]
        _check_arrays(state, gradients, targets)
        check_subnormals_are_kept()
        source = self.rate_source
        learning_rate = self.rate_of_call(state)
        if not isinstance(source, np.float32):
            try:
                _check_arrays(state, gradients, targets)
            except (TypeError, ValueError) as error:
                refuse_changed_arrays(error)
        warn_of_missing(gradients, targets)
        accepted: list[Any] = [None] * len(state.variables)
        for index, gradient in zip(order, gradients, strict=True):
            accepted[index] = self.accepted(gradient, state.variables[index])
        state.has_copied_variables = False
        return Call(state, accepted, learning_rate)

    def rate_of_call(self, state: State) -> np.float32:
        """Return the learning rate of the next call."""
        return rates.read(self.rate_source, state.calls, self._losses)

    def accepted(self, gradient: Gradient, variable: Array) -> Any:
        """Return a checked gradient in the form that ``perform`` takes."""
        return to_dense(gradient, variable)

    def all_finite(self, call: Call, loss_scale: float | np.float32 | None) -> bool:
        """Whether no gradient of a call has an infinity or NaN, before the division by the loss scale."""
        # The signalling NaNs of bfloat16 raise the processor's flag for invalid operations.
        with np.errstate(invalid="ignore"):
            return all(gradient is None or bool(np.isfinite(gradient).all()) for gradient in call.gradients)


def _check_arrays(state: State, gradients: Sequence[Gradient], targets: list[Target]) -> None:
    check_gradients(gradients, targets)
    check_no_alias(gradients, state.memory)
    check_writable(state.named_arrays())
    state.check_forms()
