"""Subnormal numbers flushed to zero, as operands and as results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.base.call import Call
from sgd_ref.loss_scale import LossScaleOptimizer
from sgd_ref.optimizer import SGD, Gradients, Values

# float16 is computed in float32, where subnormal numbers of float16 are normal.
SMALLEST_NORMALS = {
    dtype: dtype.type(float(form.smallest_normal)) for dtype, form in FORMATS.items() if dtype != np.float16
}


def flush(array: Array) -> Array:
    """Return the array with zeros of the same sign in place of subnormal numbers; float16 is kept.

    >>> flush(np.array([1e-40, -1e-40, 1.0], "f4"))
    array([ 0., -0.,  1.], dtype=float32)
    """
    plain = np.asarray(array)
    if plain.dtype not in SMALLEST_NORMALS:
        return plain
    zeros = np.copysign(np.zeros_like(plain), plain)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(plain) < SMALLEST_NORMALS[plain.dtype], zeros, plain)


class FlushedArray(np.ndarray[Any, Any]):
    """An array on which every operation flushes its operands and its result.

    >>> w = np.array([2.0**-126], "f4").view(FlushedArray)
    >>> float((w * np.float32(0.5))[0])
    0.0
    """

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        flushed = [_flushed(operand) for operand in inputs]
        result = np.asarray(getattr(ufunc, method)(*flushed, **settings))
        return flush(result).view(FlushedArray) if _is_float(result) else result

    def __array_function__(self, function: Any, types: Any, args: Any, settings: Any) -> Any:
        """Flush also the results of functions that are not ufuncs, since np.where does not keep the class."""
        result = super().__array_function__(function, types, args, settings)
        return result.view(FlushedArray) if isinstance(result, np.ndarray) and _is_float(result) else result


class SubnormalsFlushed(SGD):
    """Subnormal numbers become zero, as operands and as results of every operation.

    The definition keeps them, as IEEE 754 does. A step with gradient 0 changes a subnormal weight to 0.
    Numbers that are only copied are kept, and so are those of float16. Evidence: TensorFlow and JAX on a CPU
    compute in the processor's flush-to-zero and denormals-are-zero modes.
    """

    def advance(self, values: Values, call: Call, loss_scale: float | np.float32 | None) -> Values:
        """Make the whole step on ``FlushedArray`` arrays."""
        flushing = call._replace(gradients=_gradients(call.gradients))
        advanced = super().advance(_viewed(values, FlushedArray), flushing, loss_scale)
        return _viewed(advanced, np.ndarray)

    def unscale(self, gradients: Gradients, loss_scale: float | np.float32 | None) -> Gradients:
        """Keep the class that flushes, which a conversion to another dtype can lose."""
        return _gradients(super().unscale(gradients, loss_scale))

    def clip(self, gradients: Gradients) -> Gradients:
        """Keep the class that flushes."""
        return _gradients(super().clip(gradients))


class LossScaleFlushed(LossScaleOptimizer):
    """The loss scale becomes zero where it would be subnormal."""

    def shrink(self) -> None:
        """Flush the halved scale."""
        super().shrink()
        self._scale = np.float32(flush(np.asarray(self._scale)))


def _is_float(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype in FORMATS


def _flushed(operand: Any) -> Any:
    """Return an operand as a plain array, flushed if it holds floats."""
    plain = operand.view(np.ndarray) if isinstance(operand, FlushedArray) else operand
    return flush(plain) if _is_float(plain) else plain


def _gradients(gradients: Gradients) -> Gradients:
    return [None if gradient is None else np.asarray(gradient).view(FlushedArray) for gradient in gradients]


def _viewed(values: Values, kind: type[np.ndarray[Any, Any]]) -> Values:
    return replace(
        values,
        variables=[np.asarray(array).view(kind) for array in values.variables],
        velocities=[np.asarray(array).view(kind) for array in values.velocities],
        averages=[np.asarray(array).view(kind) for array in values.averages],
        accumulators=[np.asarray(array).view(kind) for array in values.accumulators],
    )
