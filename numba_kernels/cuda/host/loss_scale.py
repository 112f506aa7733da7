"""Dynamic loss scaling on the device: a step never copies the scale and its counter to the host."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_kernels.cuda.arrays.headers import headers_of_gradients
from numba_kernels.cuda.device import layout
from numba_kernels.cuda.host.device_state import DeviceState
from numba_kernels.cuda.host.optimizer import SGD
from numba_kernels.cuda.toolkit import on_device
from sgd_ref import loss_scale
from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.exclusive import alone
from sgd_ref.base.exported import Weights, meaning_of
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.validation import reject_type


class LossScaleOptimizer(loss_scale.LossScaleOptimizer):
    """An optimizer on the device that scales the loss by a factor, and adapts the factor to the gradients.

    Parameters
    ----------
    inner_optimizer : numba_kernels.cuda.SGD
        Without a ``loss_scale_factor`` of its own.
    initial_scale, dynamic_growth_steps, name
        As for ``sgd_ref.LossScaleOptimizer``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or value.

    Notes
    -----
    ``loss_scale``, ``growth_counter`` and the counts wait for the device. Only the device knows whether a
    call was skipped. The rule is that of ``sgd_ref.LossScaleOptimizer``, with its sources.

    Examples
    --------
    >>> import numpy as np
    >>> from numba import cuda
    >>> w = cuda.to_device(np.array([1.0], "float32"))
    >>> optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=4.0, dynamic_growth_steps=2)
    >>> optimizer.apply([cuda.to_device(np.array([4.0], "float32"))], [w])
    >>> optimizer.apply([cuda.to_device(np.array([np.inf], "float32"))])
    >>> w.copy_to_host(), optimizer.loss_scale, optimizer.iterations
    (array([0.5], dtype=float32), np.float32(2.0), 1)
    """

    _inner_class = SGD

    def __init__(
        self,
        inner_optimizer: BaseSGD,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str = "LossScaleOptimizer",
    ) -> None:
        if not isinstance(inner_optimizer, SGD):
            reject_type("inner_optimizer", inner_optimizer, "a numba_kernels.cuda.SGD")
        super().__init__(inner_optimizer, initial_scale, dynamic_growth_steps, name)
        self._tell()

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any] | None = None) -> None:
        """Make one call with gradients of the scaled loss, without waiting for it; see ``SGD.apply``."""
        inner = self._inner
        with alone(inner._running), on_device(inner._device_of(variables)):
            source = inner.rate_source
            placed = inner._quickly_placed(gradients, variables)
            if placed is None:
                headers = headers_of_gradients(gradients, inner._device_of(variables))
                call = inner.validated(headers, inner._known_headers(variables))
                placed = inner._placed(call, gradients)
            inner._launch(placed, source, is_dynamic=True)

    @property
    def loss_scale(self) -> np.float32:
        """The factor for the loss of the next call; waits for the device."""
        self._learn()
        return super().loss_scale

    @property
    def growth_counter(self) -> int:
        """Number of finite calls since the scale last changed or was kept from changing; waits likewise."""
        self._learn()
        return super().growth_counter

    @property
    def variables(self) -> list[Any]:
        """The state in the order of Keras; see ``sgd_ref.LossScaleOptimizer.variables``."""
        self._learn()
        return super().variables

    def get_weights(self) -> list[Array]:
        """Return a copy of ``variables`` in the memory of the host; waits for the device."""
        inner = self._inner
        with alone(inner._running):
            own = [np.array(scalar) for scalar in self.variables[:4]]
            return Weights([*own, *inner._exported()], meaning_of(inner, loss_scale.OWN_VARIABLES))

    def scale_loss(self, loss: Any) -> Any:
        """Return the loss times the present scale; a loss of PyTorch on the device without waiting for it."""
        torch, state = sys.modules.get("torch"), self._inner._state
        if torch is not None and isinstance(loss, torch.Tensor):
            if not isinstance(state, DeviceState):
                return loss * float(self._scale)
            return loss * torch.as_tensor(state.numbers.on_device(), device=loss.device)[layout.SCALE]
        self._learn()
        return super().scale_loss(loss)

    @property
    def _inner(self) -> SGD:
        assert isinstance(self.inner_optimizer, SGD)
        return self.inner_optimizer

    def _learn(self) -> None:
        state = self._inner._state
        if isinstance(state, DeviceState):
            with on_device(state.device):
                self._scale, self._growth_counter = state.learn_growth()

    def _assign_growth(self, growth_counter: int, scale: np.float32) -> None:
        super()._assign_growth(growth_counter, scale)
        self._tell()

    def _tell(self) -> None:
        self._inner._growth = self._scale, self._growth_counter, self.dynamic_growth_steps
        state = self._inner._state
        if isinstance(state, DeviceState):
            with on_device(state.device):
                state.set_growth(*self._inner._growth)
