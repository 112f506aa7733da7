"""Norms summed in floating point, in several orders.

The definition rounds the norm once. These variants round every square, every sum and the root. They compute
in the dtype that holds all gradients, and in float32 for half types. The elements are scaled by a power of
two first, so that squares neither overflow nor underflow. This scaling rounds only elements too small to
affect the norm.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.arithmetic.rounded import convert, promoted
from sgd_ref.conformance.deviations.fused import fused_multiply_add
from sgd_ref.optimizer import SGD

LANES = 8
BLOCK = 16


class SummedNorm(SGD):
    """The norm is the root of a sum of squares, each operation rounded."""

    def norm(self, gradients: list[Array]) -> Any:
        """Scale by a power of two, square, add, and take the root."""
        dtype = promoted([gradient.dtype for gradient in gradients])
        elements = np.concatenate(
            [convert(gradient, self.working_dtype(dtype)).reshape(-1) for gradient in gradients]
        )
        largest = np.max(np.abs(elements), initial=0)
        if largest == 0 or not math.isfinite(largest):
            return convert(np.asarray(largest), dtype)[()]
        exponent = int(np.frexp(largest)[1])
        scaled = self.length(np.ldexp(elements, -exponent))
        return convert(np.asarray(np.ldexp(scaled, exponent)), dtype)[()]

    def working_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype in which a norm that is needed in `dtype` is computed."""
        return promoted([dtype, FLOAT32])

    def length(self, elements: Array) -> Any:
        """Return the norm of elements, the largest of which is between 1/2 and 1."""
        return np.sqrt(self.sum_of_squares(elements))

    @abstractmethod
    def sum_of_squares(self, elements: Array) -> Any:
        """Return the sum of the squares of elements, the largest of which is between 1/2 and 1."""


class NormFromLeft(SummedNorm):
    """``((x1**2 + x2**2) + x3**2) + ...``, every square and every sum rounded, as in a naive loop in C."""

    def sum_of_squares(self, elements: Array) -> Any:
        """Add from the left."""
        return added_in_turn(elements * elements)


class NormFromRight(SummedNorm):
    """``x1**2 + (x2**2 + (x3**2 + ...))``, every square and every sum rounded."""

    def sum_of_squares(self, elements: Array) -> Any:
        """Add from the right."""
        return added_in_turn((elements * elements)[::-1])


class NormFused(SummedNorm):
    """``fma(x3, x3, fma(x2, x2, x1**2))``, and so on: the squares are not rounded, only the sums."""

    def sum_of_squares(self, elements: Array) -> Any:
        """Add from the left, fused."""
        total = np.zeros((), elements.dtype)
        for element in elements:
            total = fused_multiply_add(element, element, total)
        return total


class NormInPairs(SummedNorm):
    """Squares are added in pairs, the sums in pairs again, and so on, as in a tree reduction on a GPU."""

    def sum_of_squares(self, elements: Array) -> Any:
        """Add in pairs."""
        return added_in_pairs(elements * elements)


class NormInLanes(SummedNorm):
    """Eight sums, each of every eighth square, are added in pairs at the end, as in vector registers."""

    def sum_of_squares(self, elements: Array) -> Any:
        """Add in eight lanes."""
        squares = elements * elements
        return added_in_pairs(
            np.array([added_in_turn(squares[lane::LANES]) for lane in range(LANES)], squares.dtype)
        )


class NormInBlocks(SummedNorm):
    """Blocks of sixteen squares are added from the left, then the sums of the blocks: one block a thread."""

    def sum_of_squares(self, elements: Array) -> Any:
        """Add block by block."""
        squares = elements * elements
        parts = [added_in_turn(squares[start : start + BLOCK]) for start in range(0, squares.size, BLOCK)]
        return added_in_turn(np.array(parts, squares.dtype))


class NormInDouble(SummedNorm):
    """Squares, sums and the root are computed in float64, and the root is rounded at the end.

    ``dsdot`` of BLAS adds in double precision, too. The norm of float64 gradients is summed in float64, too,
    in the order of NumPy.
    """

    def working_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return float64."""
        return FLOAT64

    def sum_of_squares(self, elements: Array) -> Any:
        """Add as NumPy does."""
        return np.sum(elements * elements)


class NormOfNorms(SummedNorm):
    """The global norm is the norm of the norms of the gradients, each rounded.

    ``torch.nn.utils.clip_grad_norm_`` stacks the norms of the gradients and takes the norm of these. The
    squares of one gradient are added from the left; the norms of half gradients stay in float32.
    """

    def norm(self, gradients: list[Array]) -> Any:
        """Take the norms one by one, then the norm of these norms."""
        dtype = promoted([gradient.dtype for gradient in gradients])
        wide = self.working_dtype(dtype)
        norms = [super(NormOfNorms, self).norm([convert(gradient, wide)]) for gradient in gradients]
        return convert(np.asarray(super().norm([np.array(norms, wide)])), dtype)[()]

    def sum_of_squares(self, elements: Array) -> Any:
        """Add from the left."""
        return added_in_turn(elements * elements)


class NormScaledByLargest(SummedNorm):
    """``largest * sqrt(sum((x / largest)**2))``, where every quotient is also rounded.

    The older ``snrm2`` of the reference BLAS scales in this way, by the largest element so far.
    """

    def length(self, elements: Array) -> Any:
        """Divide by the largest element, and multiply by it at the end."""
        largest = np.max(np.abs(elements))
        return largest * super().length(elements / largest)

    def sum_of_squares(self, elements: Array) -> Any:
        """Add from the left."""
        return added_in_turn(elements * elements)


def added_in_turn(numbers: Array) -> Any:
    """Return the sum, added from the left, with every addition rounded.

    >>> int(added_in_turn(np.array([2**24, 1, 1], "float32")))
    16777216
    """
    total = numbers.dtype.type(0)
    for number in numbers:
        total = total + number
    return total


def added_in_pairs(numbers: Array) -> Any:
    """Return the sum of the first half plus the sum of the second half, with every addition rounded.

    >>> int(added_in_pairs(np.array([2**24, 0, 1, 1], "float32")))
    16777218
    """
    if len(numbers) <= 1:
        return numbers[0] if len(numbers) else numbers.dtype.type(0)
    half = len(numbers) // 2
    return added_in_pairs(numbers[:half]) + added_in_pairs(numbers[half:])
