"""The optimizer class for ``keras.Model.compile``."""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from numba_kernels.keras.engine import checked_settings
from numba_kernels.keras.rates import HostRate, as_keras, host_rate
from numba_kernels.keras.stepper import DTYPES, stepper
from sgd_ref.base.losses import Losses
from sgd_ref.base.settings import Settings
from sgd_ref.validation import integer_at_least, reject_type, text


@keras.saving.register_keras_serializable(package="numba_kernels", name="SGD")
class SGD(keras.optimizers.SGD):  # type: ignore[misc]
    """The documented SGD of Keras for ``model.compile``: the bits of ``sgd_ref.SGD``, with the kernels.

    Parameters
    ----------
    learning_rate : float, schedule or callable, default 0.01
        A number is rounded to float32, and can be set from step to step, as callbacks do. A schedule of Keras
        or ``sgd_ref`` is read at the number of calls made before. A callable without arguments is called once
        in each step; on JAX and TensorFlow, the callable must not use them.
    momentum, nesterov, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, \
ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name
        As for ``keras.optimizers.SGD``.
    threads : int, optional
        How many threads may work on one step; by default ``torch.get_num_threads()`` on PyTorch, and all
        processors that the process may use on the other backends. No bit depends on it. It is not part of the
        config.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value. A step refuses wrong input before it changes anything.
    RuntimeError
        If Keras runs on another backend than PyTorch, JAX and TensorFlow.

    Notes
    -----
    Given the same gradients, all backends and modes have the same bits, which are those of ``sgd_ref.SGD``.
    The gradients themselves are computed by the backend. Variables lie on the CPU, in float16, bfloat16,
    float32 or float64.

    - On PyTorch the kernels update the tensors in place, without a copy.
    - On JAX a compiled step calls Python by ``jax.pure_callback``, and on TensorFlow by
      ``tf.numpy_function``. Variables and state are copied on their way in and out, so that a step takes
      longer than one of ``keras.optimizers.SGD``.
    - In a graph that XLA compiles, TensorFlow cannot call Python. ``model.compile(jit_compile=True)`` is
      refused there. So are strategies of ``tf.distribute`` and ``keras.distribution``.

    Differences from ``keras.optimizers.SGD``, which are those of ``sgd_ref``:

    - With ``gradient_accumulation_steps``, averages change and overwrite the variables only in calls that
      update.
    - Norms are correctly rounded.
    - The six schedules of Keras are evaluated by ``sgd_ref.schedules``: their values are rounded correctly.
    - ``var_names`` of `exclude_from_weight_decay` are substrings of ``variable.name``, not patterns.
    - `finalize_variable_values` does nothing before the first update, and warns.
    - Values that no run could use are refused, such as a negative clipping.

    A setting that is assigned to its attribute, such as ``optimizer.weight_decay``, holds from the next step
    on. State has the names, the order and the meaning of that of ``keras.optimizers.SGD``, so that each loads
    the weights that the other has saved.

    ``keras.optimizers.LossScaleOptimizer`` may stand around this optimizer. As in the reference, a gradient
    that is wider than its variable, since it was unscaled in float32, is rounded once. Constraints of
    variables are applied after each step, by Keras.

    Examples
    --------
    >>> w = keras.Variable([1.0, -2.0])
    >>> optimizer = SGD(learning_rate=0.5, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.apply([keras.ops.ones(2)], [w])
    >>> bool(keras.ops.all(keras.ops.equal(w, [-0.25, -3.25])))
    True
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        threads: int | None = None,
        **others: Any,
    ) -> None:
        settings = Settings.checked(
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            clipnorm=clipnorm,
            clipvalue=clipvalue,
            global_clipnorm=global_clipnorm,
            use_ema=use_ema,
            ema_momentum=ema_momentum,
            ema_overwrite_frequency=ema_overwrite_frequency,
            loss_scale_factor=loss_scale_factor,
            gradient_accumulation_steps=gradient_accumulation_steps,
            **({} if name is None else {"name": name}),
        )
        rate = as_keras(learning_rate)
        number_of_threads = None if threads is None else integer_at_least("threads", threads, 1)
        steps = stepper()
        arguments = {field: getattr(settings, field) for field in vars(settings) if field != "name"}
        # Keras would give the variable of the rate its own default dtype, which may be narrower than float32.
        super().__init__(learning_rate=_never_called, **arguments, name=name, **others)
        self.threads = number_of_threads
        self._stepper = steps
        self._exclusion_names: tuple[str, ...] = ()
        if isinstance(rate, np.float32):
            with keras.name_scope(self.name, caller=self):
                variable = keras.Variable(
                    rate,
                    name="learning_rate",
                    dtype="float32",
                    trainable=False,
                    aggregation="only_first_replica",
                )
            self._track_variable(variable)
            rate = variable
        self._set_rate(rate)

    def _set_rate(self, rate: Any) -> None:
        self._learning_rate = rate
        self.rate_on_host: HostRate | None = host_rate(rate)

    def build(self, variables: Sequence[Any]) -> None:
        """Create the state for the variables of a model.

        Parameters
        ----------
        variables : list of keras.Variable
            Trainable variables on the CPU.

        Raises
        ------
        TypeError, ValueError
            If a variable is not acceptable, or a setting is not normal in a dtype where it is used. The
            optimizer is then as it was.

        Warns
        -----
        UserWarning
            If a name that is to be excluded from decay is in the name of no variable.
        """
        if self.built:
            return
        known = list(variables)
        self._stepper.check(known)
        checked_settings(self).check_dtypes([DTYPES[variable.dtype] for variable in known], None, Losses())
        names = [variable.name for variable in known]
        for part in self._exclusion_names:
            if not any(part in name for name in names):
                warnings.warn(
                    f"{part!r} of var_names is in no variable's name; the names are {sorted(set(names))}",
                    stacklevel=2,
                )
        super().build(known)

    def exclude_from_weight_decay(
        self, var_list: Sequence[Any] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Exclude variables from weight decay; a second call replaces the first.

        Parameters
        ----------
        var_list : list of keras.Variable, optional
            Variables, recognised by identity.
        var_names : list of str, optional
            A variable is excluded if its ``name``, such as "bias", contains one of these strings.

        Raises
        ------
        TypeError
            If an argument is not a list of variables or of strings.
        ValueError
            If one of the strings is empty.
        RuntimeError
            If the optimizer is built already.
        """
        if self.built:
            raise RuntimeError("exclude_from_weight_decay must be called before the optimizer is built")
        given = [] if var_list is None else var_list
        if not isinstance(given, (list, tuple)) or not all(isinstance(v, keras.Variable) for v in given):
            reject_type("var_list", var_list, "a list of keras.Variable")
        names = [] if var_names is None else var_names
        if not isinstance(names, (list, tuple, set, frozenset)):
            reject_type("var_names", var_names, "a list of strings")
        parts = tuple(text(f"var_names[{index}]", part) for index, part in enumerate(names))
        super().exclude_from_weight_decay(list(given), [re.escape(part) for part in parts])
        self._exclusion_names = parts

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Make one call: update the variables, or accumulate the gradients for a later update.

        Parameters
        ----------
        grads : list of tensors or None
            One for each variable. None leaves the variable out of this call.
        trainable_variables : list of keras.Variable, optional
            The variables that the gradients belong to; by default all. The first call builds the optimizer
            with them.

        Raises
        ------
        TypeError, ValueError
            If anything is not acceptable. Nothing has changed then. Under a compiled step on JAX and
            TensorFlow, the backend may raise an error of its own, with the message in it.
        RuntimeError
            If XLA compiles the step for TensorFlow, if a thread of PyTorch flushes subnormal numbers to zero,
            or if the optimizer is at work already.

        Warns
        -----
        UserWarning
            If a gradient is None.
        """
        gradients = list(grads)
        if not gradients:
            return
        aligned = self._aligned(gradients, trainable_variables)
        if all(gradient is None for gradient in aligned):
            raise ValueError("grads must have a gradient for at least one variable, got None for each")
        self._stepper.step(self, aligned)
        for variable, gradient in zip(self._trainable_variables, aligned, strict=True):
            if gradient is not None and variable.constraint is not None:
                variable.assign(variable.constraint(variable))

    def _aligned(self, gradients: list[Any], variables: Sequence[Any] | None) -> list[Any]:
        """Return a gradient or None for each variable of the optimizer."""
        if variables is not None:
            given = list(variables)
            if not self.built:
                with keras.name_scope(self.name, caller=self):
                    self.build(given)
        elif self.built:
            given = self._trainable_variables
        else:
            raise ValueError(
                "trainable_variables must be given to the first call, since it builds the optimizer"
            )
        if len(gradients) != len(given):
            raise ValueError(
                f"grads must have one gradient for each of {len(given)} variables, got {len(gradients)}"
            )
        known = self._trainable_variables
        if len(given) == len(known) and all(map(operator.is_, given, known)):
            return gradients
        self._check_variables_are_known(given)
        aligned: list[Any] = [None] * len(known)
        places = [self._get_variable_index(variable) for variable in given]
        if len(set(places)) < len(places):
            raise ValueError("trainable_variables must have each variable once")
        for place, gradient in zip(places, gradients, strict=True):
            aligned[place] = gradient
        return aligned

    def stateless_apply(
        self, optimizer_variables: Sequence[Any], grads: Sequence[Any], trainable_variables: Sequence[Any]
    ) -> Any:
        """Return the variables of the model and of the optimizer after one call, and change nothing.

        See ``keras.Optimizer.stateless_apply``. TensorFlow does not offer it.
        """
        return super().stateless_apply(
            self._stepper.copies(optimizer_variables), grads, self._stepper.copies(trainable_variables)
        )

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """Write the averages into the variables, once training has ended; ``fit`` does so.

        Does nothing without ``use_ema``; before the first update it does nothing and warns.

        Parameters
        ----------
        var_list : list of keras.Variable
            Variables of the optimizer, in any order; each gets its own average.
        """
        if not self.use_ema:
            return
        if not self.built or self._calls() < (self.gradient_accumulation_steps or 1):
            warnings.warn("no update was made yet, so there is no average to finalize with", stacklevel=2)
            return
        self._check_variables_are_known(var_list)
        for variable in var_list:
            average = self._model_variables_moving_average[self._get_variable_index(variable)]
            # JAX gives the memory of variables away in a step, so that two must not share it.
            variable.assign(keras.ops.copy(average))

    def _calls(self) -> int:
        return int(self._iterations.value)

    def _get_current_learning_rate(self) -> Any:
        if isinstance(self._learning_rate, keras.Variable):
            return self._learning_rate
        if self.rate_on_host is not None:
            return keras.ops.convert_to_tensor(self.rate_on_host.read(self._calls()), dtype="float32")
        return self._learning_rate(self._iterations)

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next call, as a tensor or variable; a number can be set at any time."""
        return self._get_current_learning_rate()

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        rate = as_keras(learning_rate)
        before = self._learning_rate
        if not isinstance(rate, np.float32):
            self._set_rate(rate)
            if isinstance(before, keras.Variable):
                self._untrack_variable(before)
        elif isinstance(before, keras.Variable):
            before.assign(rate)
        else:
            raise TypeError(
                f"learning_rate must be a schedule or a callable, since the optimizer has {before!r}, got "
                f"{learning_rate!r}; construct an optimizer with a number"
            )


def _never_called() -> float:
    """Stand for a rate that is set as soon as the constructor of Keras has returned."""
    raise RuntimeError("the optimizer has no learning rate yet")
