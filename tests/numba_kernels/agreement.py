"""Two optimizers, one of the reference and one with kernels, fed the same and compared by bits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

import numba_kernels
import sgd_ref
from sgd_ref.conformance.trajectories.comparison import equal_bits

DTYPES = [np.dtype(dtype) for dtype in (np.float16, ml_dtypes.bfloat16, np.float32, np.float64)]

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-7, -1e-40, 1e-310, 6e4, -3e38, 1e308, 1e-160, 1e200]

EVERYTHING: dict[str, Any] = {
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.01,
    "global_clipnorm": 1.0,
    "use_ema": True,
    "ema_momentum": 0.9,
    "ema_overwrite_frequency": 3,
}

Layout = Callable[[Any], Any]


def numbers(generator: np.random.Generator, shape: Any, dtype: Any, special: float = 0.0) -> Any:
    """Return normal numbers of many sizes, a share of them special values."""
    values = generator.standard_normal(shape) * 2.0 ** generator.integers(-6, 6, shape)
    chosen = generator.random(shape) < special
    with np.errstate(all="ignore"):
        return np.asarray(np.where(chosen, generator.choice(SPECIAL, shape), values)).astype(dtype)


def with_gaps(array: Any) -> Any:
    """Return a view whose elements have gaps between them."""
    view = np.zeros([2 * length for length in array.shape], array.dtype)[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def transposed(array: Any) -> Any:
    """Return a copy whose first axis varies fastest."""
    return np.array(array, order="F")


def reversed_in_memory(array: Any) -> Any:
    """Return a copy whose rows lie backwards."""
    return np.ascontiguousarray(array[::-1])[::-1]


def misaligned(array: Any) -> Any:
    """Return a copy that begins at an odd address."""
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    copy = memory.view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


LAYOUTS: tuple[Layout, ...] = (np.array, with_gaps, transposed, reversed_in_memory, misaligned)


class Pair:
    """The two optimizers in the same state.

    Parameters
    ----------
    variables : sequence of ndarray
        Copied for each of the two.
    layout : callable, optional
        Applied to the variables of both.
    scaling : tuple, optional
        Initial scale and growth steps of a LossScaleOptimizer around each.
    threads : int
        Of the kernels.
    **settings : object
        Arguments of both constructors.
    """

    def __init__(
        self,
        variables: Sequence[Any],
        layout: Layout = np.array,
        scaling: tuple[float, int] | None = None,
        threads: int = 1,
        **settings: Any,
    ) -> None:
        self.variables = [[layout(w) for w in variables], [layout(w) for w in variables]]
        self.inner: list[Any] = [sgd_ref.SGD(**settings), numba_kernels.SGD(**settings, threads=threads)]
        self.optimizers: list[Any] = list(self.inner)
        if scaling is not None:
            self.optimizers = [sgd_ref.LossScaleOptimizer(one, *scaling) for one in self.inner]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for optimizer, owned in zip(self.optimizers, self.variables, strict=True):
                optimizer.build(owned)

    def apply(self, gradients: Sequence[Any]) -> None:
        """Make a call with both and compare everything they have."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for optimizer in self.optimizers:
                optimizer.apply(list(gradients))
        self.compare()

    def compare(self) -> None:
        """Assert that no bit differs."""
        reference, kernels = self.inner
        assert (reference.calls, reference.iterations) == (kernels.calls, kernels.iterations)
        for kind in ("velocities", "averages", "accumulators"):
            assert_equal_bits(kind, getattr(reference, kind), getattr(kernels, kind))
        assert_equal_bits("variables", *self.variables)
        if self.optimizers != self.inner:
            wrapped, fast = self.optimizers
            assert (wrapped.loss_scale, wrapped.growth_counter) == (fast.loss_scale, fast.growth_counter)


def assert_equal_bits(what: str, expected: Sequence[Any], observed: Sequence[Any]) -> None:
    """Assert that two lists of arrays have the same bits, NaN as a class."""
    assert len(expected) == len(observed), what
    for index, (wanted, given) in enumerate(zip(expected, observed, strict=True)):
        assert (wanted.shape, wanted.dtype) == (given.shape, given.dtype), f"{what}[{index}]"
        equal = equal_bits(np.array(wanted), np.array(given))
        where = np.argwhere(~np.atleast_1d(equal))[:3].tolist()
        assert np.all(equal), f"{what}[{index}] differs at {where}: {wanted} {given}"
