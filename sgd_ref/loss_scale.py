"""LossScaleOptimizer: dynamic loss scaling around an SGD optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FORMATS, Array
from sgd_ref.base import configuration, weights
from sgd_ref.base.declared import Declared
from sgd_ref.base.exclusive import CALL, alone, refuse
from sgd_ref.base.exported import Weights, check_meaning, meaning_of
from sgd_ref.base.fixed_setting import FixedSetting
from sgd_ref.base.learning_rate import LearningRate, to_float32
from sgd_ref.base.loss import scaled_loss
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.gradients import Gradient
from sgd_ref.optimizer import SGD
from sgd_ref.read_only import ReadOnlyList
from sgd_ref.validation import integer_at_least, optimizer_name, reject_type, reject_value

OWN_VARIABLES = ("iteration", "learning_rate", "step_counter", "dynamic_scale")
SMALLEST_NORMAL = np.float32(FORMATS[FLOAT32].smallest_normal)


class LossScaleSettings(NamedTuple):
    """The arguments of the constructor, checked."""

    inner_optimizer: BaseSGD
    initial_scale: float
    dynamic_growth_steps: int
    name: str


class LossScaleOptimizer(Declared):
    """An optimizer that scales the loss by a factor, and adapts the factor to the gradients.

    A call with a gradient that is not finite halves the scale and changes nothing else. Any other call is
    finite: it is a call of the inner optimizer, with the gradients divided by the scale. After
    `dynamic_growth_steps` finite calls in a row, the scale doubles. It never doubles to infinity, nor halves
    below the smallest normal float32.

    Parameters
    ----------
    inner_optimizer : SGD
        Without a ``loss_scale_factor`` of its own.
    initial_scale : float, default 2.0**15
        Positive and normal in float32.
    dynamic_growth_steps : int, default 2000
        At least 1.
    name : str, default "LossScaleOptimizer"
        The first part of the names of the scale and its counter.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value.

    Notes
    -----
    The documentation of ``keras.optimizers.LossScaleOptimizer`` describes when the scale halves, when it
    doubles, and which calls are skipped. The code of that class adds: the scale divides the gradients, and a
    change of the scale resets the counter
    (``loss_scale_optimizer.py``, ``_stateful_handle_finite_grads`` and ``_stateful_handle_non_finite_grads``,
    Keras 3.15.1). This class adds the two limits of the scale: without them it would become infinite, or in
    the end zero, and stay so. The scale is a float32 without a unit.

    Extending
    ---------
    A subclass may override ``grow``, which is called after each finite call, and ``shrink``, which is called
    after every other call. Both change the protected attributes ``_scale`` (float32) and ``_growth_counter``
    (int) and return nothing. It declares public attributes of its own as a subclass of ``BaseSGD`` does.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0], "float32")
    >>> optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=4.0, dynamic_growth_steps=2)
    >>> optimizer.apply([np.array([4.0], "float32")], [w])  # a gradient of 1, scaled by 4
    >>> optimizer.apply([np.array([np.inf], "float32")])
    >>> w, optimizer.loss_scale, optimizer.iterations
    (array([0.5], dtype=float32), np.float32(2.0), 1)
    """

    settings: LossScaleSettings
    _inner_class: type[BaseSGD] = SGD

    inner_optimizer = FixedSetting[BaseSGD]()
    initial_scale = FixedSetting[float]()
    dynamic_growth_steps = FixedSetting[int]()
    name = FixedSetting[str]()

    def __init__(
        self,
        inner_optimizer: BaseSGD,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str = "LossScaleOptimizer",
    ) -> None:
        if not isinstance(inner_optimizer, BaseSGD):
            reject_type("inner_optimizer", inner_optimizer, "an SGD optimizer")
        if inner_optimizer.settings.loss_scale_factor is not None:
            raise ValueError(
                "inner_optimizer must have no loss_scale_factor, since gradients would be unscaled twice, "
                f"got {inner_optimizer.settings.loss_scale_factor}"
            )
        self._scale = _checked_scale("initial_scale", initial_scale)
        self.settings = LossScaleSettings(
            inner_optimizer,
            float(initial_scale),
            integer_at_least("dynamic_growth_steps", dynamic_growth_steps, 1),
            optimizer_name("name", name),
        )
        self._growth_counter = 0

    @property
    def loss_scale(self) -> np.float32:
        """The factor for the loss of the next call."""
        return self._scale

    @property
    def growth_counter(self) -> int:
        """Number of finite calls since the scale last changed or was kept from changing."""
        return self._growth_counter

    def build(self, variables: Sequence[Array], names: Sequence[str] | None = None) -> None:
        """Build the inner optimizer; see ``SGD.build``."""
        self.inner_optimizer.build(variables, names)

    def rebind(self, variables: Sequence[Array], names: Sequence[str] | None = None) -> None:
        """Let the inner optimizer go on with other arrays; see ``SGD.rebind``."""
        self.inner_optimizer.rebind(variables, names)

    def exclude_from_weight_decay(
        self, var_list: Sequence[Array] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Exclude variables from weight decay; see ``SGD.exclude_from_weight_decay``."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def apply(self, gradients: Sequence[Gradient], variables: Sequence[Array] | None = None) -> None:
        """Make one call with gradients of the scaled loss; see ``SGD.apply``.

        The learning rate is read, and a callable is called, even if the call is then skipped.
        """
        inner = self.inner_optimizer
        token: list[None] | None = []
        running = inner._running
        try:
            if running.setdefault(CALL, token) is not token:
                token = None
                refuse()
            call = inner.validated(gradients, variables)
            if inner.all_finite(call, self._scale):
                inner.perform(call, self._scale)
                self.grow()
            else:
                inner._state = call.state
                self.shrink()
        finally:
            if token is not None and CALL in running and running[CALL] is token:
                del running[CALL]

    def grow(self) -> None:
        """Count a finite call, and double the scale when it is due."""
        counter = self._growth_counter + 1
        if counter < self.settings.dynamic_growth_steps:
            # Without the check of attribute names, which takes longer than this method.
            object.__setattr__(self, "_growth_counter", counter)
            return
        self._growth_counter = 0
        with np.errstate(over="ignore"):
            doubled = self._scale * np.float32(2)
        if np.isfinite(doubled):
            self._scale = doubled

    def shrink(self) -> None:
        """Halve the scale after a call that is not finite, and count anew."""
        self._growth_counter = 0
        with np.errstate(under="ignore"):
            halved = self._scale * np.float32(0.5)
        if halved >= SMALLEST_NORMAL:
            self._scale = halved

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times the present scale."""
        return scaled_loss(loss, self._scale)

    def finalize_variable_values(self, variables: Sequence[Array]) -> None:
        """Write the averages into the variables; see ``SGD.finalize_variable_values``."""
        self.inner_optimizer.finalize_variable_values(variables)

    @property
    def built(self) -> bool:
        """Whether the inner optimizer has its variables."""
        return self.inner_optimizer.built

    @property
    def calls(self) -> int:
        """Number of finite calls made."""
        return self.inner_optimizer.calls

    @property
    def iterations(self) -> int:
        """Number of updates made."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> np.float32:
        """The learning rate of the inner optimizer; can be set at any time."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def velocities(self) -> list[Array]:
        """The velocities of the inner optimizer."""
        return self.inner_optimizer.velocities

    @property
    def averages(self) -> list[Array]:
        """The averages of the inner optimizer."""
        return self.inner_optimizer.averages

    @property
    def accumulators(self) -> list[Array]:
        """The accumulators of the inner optimizer."""
        return self.inner_optimizer.accumulators

    @property
    def variables(self) -> list[Array]:
        """The state in the order of Keras.

        First come a count and a learning rate, which Keras' wrapper has but never uses (always 0). Then come
        the growth counter, the scale, and the variables of the inner optimizer.
        """
        growth = np.int64(weights.counter("the growth counter", self._growth_counter))
        own = (np.int64(0), np.float32(0), growth, self._scale)
        numbers = [weights.read_only(number) for number in own]
        return ReadOnlyList([*numbers, *self.inner_optimizer.variables], "variables")

    @property
    def variable_names(self) -> list[str]:
        """The names of ``variables``."""
        return [*(f"{self.name}/{kind}" for kind in OWN_VARIABLES), *self.inner_optimizer.variable_names]

    def get_weights(self) -> list[Array]:
        """Return a copy of ``variables`` that also knows the meaning of each array; refused during a step."""
        inner = self.inner_optimizer
        with alone(inner._running):
            return Weights([np.array(array) for array in self.variables], meaning_of(inner, OWN_VARIABLES))

    def set_weights(self, values: Sequence[Any]) -> None:
        """Set the state from arrays in the order of ``variables``, all of it or nothing.

        Parameters
        ----------
        values : list or tuple of ndarray
            As ``get_weights`` returns it. The first four items are numbers: an integer of at least 0
            (unused), a real number (unused), the growth counter (an integer of at least 0) and the scale
            (positive and normal in float32). The others have the shapes of ``inner_optimizer.variables``, and
            dtypes that those hold exactly. A list from ``get_weights`` must come from an optimizer of the
            same kind, as for ``SGD.set_weights``; a plain list is read in order.

        Raises
        ------
        TypeError
            If `values` is not a list or tuple, or one of them has the wrong type or dtype.
        ValueError
            If the number of arrays, a shape, a counter or the scale does not fit, or the list comes from an
            optimizer of another kind.
        RuntimeError
            If the optimizer has no variables yet, or is at work.

        Examples
        --------
        >>> optimizer = LossScaleOptimizer(SGD(0.5))
        >>> optimizer.build([np.array([1.0], "float32")])
        >>> calls, rate, growth_counter, scale, *inner = optimizer.get_weights()
        >>> optimizer.set_weights([calls, rate, growth_counter, np.array(4.0, "float32"), *inner])
        >>> optimizer.loss_scale
        np.float32(4.0)
        """
        if not isinstance(values, (list, tuple)):
            reject_type("values", values, "a list of arrays")
        with alone(self.inner_optimizer._running):
            self._assign_weights(values)

    def _assign_weights(self, values: Sequence[Any]) -> None:
        inner = self.inner_optimizer
        check_meaning(values, meaning_of(inner, OWN_VARIABLES))
        # Not those of `variables`, whose counts may be too large.
        count = len(self.variable_names)
        if len(values) != count:
            raise ValueError(f"values must hold {count} arrays, got {len(values)}")
        weights.counter("values[0], the unused number of calls,", values[0])
        to_float32("values[1], the unused learning rate,", values[1])
        growth_counter = weights.counter("values[2], the growth counter,", values[2])
        scale = _checked_scale("values[3], the loss scale,", values[3])
        rate = inner.assign_weights(list(values[4:]))
        self._assign_growth(growth_counter, scale)
        if rate is not None:
            # When all is set, since a warning may be an error.
            inner._losses.tell_rate(rate, near_one=True)

    def _assign_growth(self, growth_counter: int, scale: np.float32) -> None:
        self._growth_counter, self._scale = growth_counter, scale

    def __copy__(self) -> Self:
        raise TypeError(
            f"a shallow copy of a {type(self).__name__} would share its inner optimizer; use copy.deepcopy, "
            "or from_config(optimizer.get_config()) for one that begins anew"
        )

    def get_config(self) -> dict[str, Any]:
        """Return the settings with the keys of Keras' config."""
        return {
            "name": self.name,
            "inner_optimizer": {
                "module": "keras.optimizers",
                "class_name": "SGD",
                "config": self.inner_optimizer.get_config(),
                "registered_name": None,
            },
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], learning_rate: LearningRate | None = None) -> Self:
        """Construct an optimizer from a config that ``get_config`` returned, here or in Keras.

        Parameters
        ----------
        config : mapping
            It is not changed.
        learning_rate : optional
            Replaces the learning rate of the config; needed if that was a callable.

        Raises
        ------
        TypeError, ValueError
            If a key is unknown, the inner optimizer is not SGD, or a value is not acceptable.
        """
        arguments = configuration.known(
            config, ("name", "inner_optimizer", "initial_scale", "dynamic_growth_steps")
        )
        inner = arguments.get("inner_optimizer")
        if not isinstance(inner, Mapping) or inner.get("class_name") != "SGD" or "config" not in inner:
            reject_type("config['inner_optimizer']", inner, "a serialized SGD with class_name and config")
        made = cls._inner_class.from_config(inner["config"], learning_rate)
        return cls(**{**arguments, "inner_optimizer": made})


def _checked_scale(name: str, value: Any) -> np.float32:
    """Return a loss scale rounded to float32; the rounded scale must be normal."""
    accepted = "a real number that is positive, finite and normal in float32"
    scale = to_float32(name, value, accepted)
    if scale < SMALLEST_NORMAL:
        reject_value(name, value, accepted)
    return scale
