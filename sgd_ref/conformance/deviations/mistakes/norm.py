"""Mistakes of the norm by which gradients are clipped."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT64, HALF_FORMATS, Array
from sgd_ref.arithmetic.rounded import convert, promoted, setting
from sgd_ref.conformance.deviations.deviation import SINGLE_AND_DOUBLE
from sgd_ref.conformance.deviations.mistakes.mistake import mistake
from sgd_ref.optimizer import SGD, Gradients


class ClipAddsEpsilon(SGD):
    """1e-6 is added to the norm, so that a gradient exactly at the limit is clipped, too.

    The documentation has no such constant. Evidence: https://github.com/pytorch/pytorch/pull/7492.
    """

    def clipped(self, g: Array, norm: Any, clipnorm: Any) -> Any:
        """Clip by more than the norm."""
        return super().clipped(g, norm + setting(1e-6, norm.dtype), clipnorm)

    def globally_clipped(self, g: Array, norm: Any, clipnorm: Any, reciprocal_of_clipnorm: Any) -> Any:
        """Clip by more than the norm."""
        return super().globally_clipped(g, norm + setting(1e-6, norm.dtype), clipnorm, reciprocal_of_clipnorm)


class SquaredNorm(SGD):
    """The root is left out: the sum of squares is compared to the limit.

    The documentation limits the norm. Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Square the norm."""
        norm = super().norm(gradients)
        return norm * norm


class LargestElementAsNorm(SGD):
    """The norm is the largest absolute value of an element.

    The core code has the Euclidean norm. Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Return the largest absolute value."""
        largest = [float(np.max(np.abs(convert(g, FLOAT64)), initial=0.0)) for g in gradients]
        return setting(float(np.max(largest, initial=0.0)), promoted([g.dtype for g in gradients]))


class SumOfElementsAsNorm(SGD):
    """The norm is the sum of the absolute values of all elements.

    The core code has the Euclidean norm. Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Return the sum of absolute values."""
        total = sum(float(np.abs(convert(g, FLOAT64)).sum()) for g in gradients)
        return setting(total, promoted([g.dtype for g in gradients]))


class RootOfMeanSquare(SGD):
    """The norm is the root of the mean of the squares, not of their sum.

    The core code has the Euclidean norm. Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Divide by the root of the number of elements."""
        norm = super().norm(gradients)
        return norm / setting(float(np.sqrt(max(sum(g.size for g in gradients), 1))), norm.dtype)


class NormAddsNorms(SGD):
    """The global norm is the sum of the norms of the gradients.

    The core code takes the root of the sum of their squares. Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Add the norms."""
        total = sum(float(super(NormAddsNorms, self).norm([g])) for g in gradients)
        return setting(total, promoted([g.dtype for g in gradients]))


class NormOfSquaredNorms(SGD):
    """The global norm is the root of the sum of the fourth powers of the norms of the gradients.

    The core code takes the root of the sum of their squares. Evidence: norms that were squared already,
    https://github.com/paiml/entrenar/issues/311.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Square the squares."""
        norms = [float(super(NormOfSquaredNorms, self).norm([g])) for g in gradients]
        if len(norms) < 2 and self.settings.global_clipnorm is None:
            return super().norm(gradients)
        largest = max(norms, default=0.0)
        total = largest * largest
        if math.isfinite(total) and total > 0:
            total *= math.sqrt(sum((norm / largest) ** 4 for norm in norms))
        return setting(total, promoted([g.dtype for g in gradients]))


class NormIsLargestNorm(SGD):
    """The global norm is the largest of the norms of the gradients.

    The core code takes the root of the sum of their squares. Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Return the largest norm."""
        norms = [float(super(NormIsLargestNorm, self).norm([g])) for g in gradients]
        return setting(float(np.max(norms, initial=0.0)), promoted([g.dtype for g in gradients]))


class NormWithoutFirst(SGD):
    """The global norm leaves the first gradient out, if there is more than one.

    The documentation: "the gradient of all weights". Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm of the other gradients."""
        others = gradients[1:] if len(gradients) > 1 else gradients
        return convert(np.asarray(super().norm(others)), promoted([g.dtype for g in gradients]))[()]


class NormWithStaleGradients(SGD):
    """The global norm contains the last gradient of a variable that has none in this call.

    The core code drops it (`_filter_empty_gradients` in `keras/src/optimizers/base_optimizer.py`).
    Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._stale: dict[int, Array] = {}

    def clip_by_global_norm(self, gradients: Gradients, clipnorm: float) -> Gradients:
        """Clip with the last gradients in place of the missing ones."""
        self._stale |= {index: g for index, g in enumerate(gradients) if g is not None}
        filled = [self._stale.get(index) for index in range(len(gradients))]
        return [
            None if gradient is None else clipped
            for gradient, clipped in zip(
                gradients, super().clip_by_global_norm(filled, clipnorm), strict=True
            )
        ]


class NormOfPreviousCall(SGD):
    """Gradients are clipped by the norms of the update before; in the first update, by their own.

    The documentation: "so that its norm is no higher". Evidence: no report is known.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._norms_before: list[Any] = []
        self._norms_so_far: list[Any] = []

    def clip(self, gradients: Gradients) -> Gradients:
        """Keep the norms of this call for the next one."""
        self._norms_before, self._norms_so_far = self._norms_so_far, []
        return super().clip(gradients)

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm that was kept."""
        norm = super().norm(gradients)
        place = len(self._norms_so_far)
        self._norms_so_far.append(norm)
        previous = self._norms_before[place] if place < len(self._norms_before) else norm
        return convert(np.asarray(previous), norm.dtype)[()]


class NormIsMeanOfNorms(SGD):
    """The global norm is the mean of the norms of its parts, the gradients.

    The core code takes the root of the sum of their squares. Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Return the mean of the norms."""
        norms = [float(super(NormIsMeanOfNorms, self).norm([g])) for g in gradients]
        return setting(sum(norms) / max(len(norms), 1), promoted([g.dtype for g in gradients]))


class NormOfReplicas(SGD):
    """Every gradient is counted twice in a norm, which is too large by the root of 2.

    The documentation limits the norm of the gradients, each counted once. Evidence: the gradient of tied
    weights is counted in both places, https://github.com/NVIDIA/Megatron-LM/pull/7228.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm of the gradients and their replicas."""
        return super().norm([*gradients, *gradients])


class NormAddedInHalf(SGD):
    """In half types squares are added one after another, each sum rounded to the half type.

    For large gradients, the sum stops growing, or it is infinite. Faithful evaluations add in float32.
    TensorFlow adds float16 in this way. Evidence: https://github.com/AI-Hypercomputer/maxtext/pull/5143.
    """

    adds_in_half_types = True

    def norm(self, gradients: list[Array]) -> Any:
        """Add in the half type."""
        wide = promoted([gradient.dtype for gradient in gradients])
        if wide not in HALF_FORMATS:
            return super().norm(gradients)
        total = setting(0.0, wide)
        for gradient in gradients:
            for element in gradient.ravel():
                total = total + element * element
        return np.sqrt(total)


class NormOfBfloatCopies(SGD):
    """The norm is that of the gradients rounded to bfloat16, as they are sent to other devices.

    The definition rounds the norm only. Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm of the rounded gradients."""
        norm = super().norm([convert(gradient, BFLOAT16) for gradient in gradients])
        return convert(np.asarray(norm), promoted([gradient.dtype for gradient in gradients]))[()]


class NormInBfloat(SGD):
    """In float32 and float64 the norm is rounded to bfloat16 before it is used.

    The definition rounds it to the dtype of the gradient. Evidence: norms that were reduced in bfloat16,
    https://github.com/NVIDIA-NeMo/Automodel/pull/825.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Round the norm."""
        norm = super().norm(gradients)
        if norm.dtype not in SINGLE_AND_DOUBLE:
            return norm
        return convert(np.asarray(setting(float(norm), BFLOAT16)), norm.dtype)[()]


class NormOfFiniteElements(SGD):
    """NaN and infinity do not count in the norm.

    So they do not spread to the other elements. In the core code they do, so that nobody overlooks them.
    Evidence: no report is known.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Return the norm with zeros in place of NaN and infinity."""
        return super().norm([np.where(np.isfinite(g), g, np.zeros_like(g)) for g in gradients])


NORM = (
    mistake("clip-adds-epsilon", ClipAddsEpsilon),
    mistake("global-norm-is-mean-of-norms", NormIsMeanOfNorms),
    mistake("norm-of-replicas", NormOfReplicas),
    mistake("norm-without-root", SquaredNorm),
    mistake("largest-element-as-norm", LargestElementAsNorm),
    mistake("sum-of-elements-as-norm", SumOfElementsAsNorm),
    mistake("root-of-mean-square-as-norm", RootOfMeanSquare),
    mistake("global-norm-adds-norms", NormAddsNorms),
    mistake("global-norm-of-squared-norms", NormOfSquaredNorms),
    mistake("global-norm-is-largest-norm", NormIsLargestNorm),
    mistake("global-norm-without-first-gradient", NormWithoutFirst),
    mistake("global-norm-with-stale-gradients", NormWithStaleGradients),
    mistake("norm-of-previous-call", NormOfPreviousCall),
    mistake("norm-added-in-half", NormAddedInHalf),
    mistake("norm-of-bfloat16-copies", NormOfBfloatCopies),
    mistake("norm-in-bfloat16", NormInBfloat),
    mistake("norm-of-finite-elements", NormOfFiniteElements),
)
