"""The rule of PyTorch as code of its own, for kernels that follow it and keep its sums."""

from __future__ import annotations

from typing import Any

from sgd_ref.arithmetic.formats import Array
from sgd_ref.arithmetic.rounded import setting
from sgd_ref.base.call import Call
from sgd_ref.optimizer import SGD, Gradients, Values


class PytorchSGD(SGD):
    """The rule of ``torch.optim.SGD``: velocities are sums of gradients, and decay is added to gradients.

    The formulas are those of the documentation of ``torch.optim.SGD``,
    https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html, without dampening, each operation
    rounded once in the order of PyTorch's code for single tensors. A sum begins as zeros. Clipping, averages,
    windows, scales and the rounding of the rate are those of ``sgd_ref.SGD``, and a decay of 0.0 is none.

    Examples
    --------
    >>> import numpy as np
    >>> w = np.array([1.0, -2.0], "float32")
    >>> optimizer = PytorchSGD(learning_rate=0.5, momentum=0.5, weight_decay=0.25)
    >>> optimizer.apply([np.array([1.0, 1.0], "float32")], [w])
    >>> w, optimizer.velocities
    (array([ 0.375, -2.25 ], dtype=float32), [array([1.25, 0.5 ], dtype=float32)])
    """

    def decay(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Leave the variables alone."""
        return values

    def update(self, values: Values, gradients: Gradients, call: Call) -> Values:
        """Update with gradients to which the decay is added."""
        weight_decay = self.settings.weight_decay
        if weight_decay:
            gradients = [
                g + setting(weight_decay, w.dtype) * w if g is not None and decays else g
                for g, w, decays in zip(gradients, values.variables, call.state.decayed, strict=True)
            ]
        return super().update(values, gradients, call)

    def accelerated(self, velocity: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Add the gradient to the sum."""
        return momentum * velocity + g

    def moved(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the sum by the rate."""
        return w - rate * new

    def moved_by_nesterov(self, w: Array, old: Array, new: Array, g: Array, momentum: Any, rate: Any) -> Any:
        """Multiply the sum that looks ahead by the rate."""
        return w - rate * (g + momentum * new)
