"""Two optimizers, the reference and one on the device, fed the same and compared by bits."""

from __future__ import annotations

import runpy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sgd_ref
from numba_kernels import cuda
from numba_kernels.cuda.arrays.allocation import to_host, to_numba

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
DTYPES, SPECIAL, numbers = agreement["DTYPES"], agreement["SPECIAL"], agreement["numbers"]
assert_equal_bits = agreement["assert_equal_bits"]

EVERYTHING = {**agreement["EVERYTHING"], "gradient_accumulation_steps": 2, "loss_scale_factor": 8.0}

Layout = Callable[[Any], Any]


def to_device(array: Any) -> Any:
    """Return a copy on the device, in one piece."""
    return to_numba(np.array(array, order="C"))


def with_gaps(array: Any) -> Any:
    """Return a copy whose elements have gaps between them."""
    memory = np.full([2 * length for length in array.shape], 7, array.dtype)
    places = (slice(None, None, 2),) * array.ndim
    memory[places] = array
    # An array of Numba with one axis or more; a tuple of no slices would give a number.
    return to_numba(memory)[places] if array.ndim else to_device(array)


def transposed(array: Any) -> Any:
    """Return a copy whose first axis varies fastest."""
    return to_numba(np.array(array, order="F"))


def reversed_in_memory(array: Any) -> Any:
    """Return a copy whose rows lie backwards."""
    if not array.ndim:
        return to_device(array)
    memory = to_numba(np.array(array[::-1], order="C"))
    made = memory[::-1]
    made.forward = memory
    return made


def on_host(array: Any) -> Any:
    """Return a copy in the memory of the host, also of an array that lies backwards, which Numba refuses."""
    forward = getattr(array, "forward", None)
    return to_host(array) if forward is None else to_host(forward)[::-1]


def shifted(array: Any) -> Any:
    """Return a copy that begins one element after a multiple of 16 bytes."""
    memory = np.zeros(array.size + 1, array.dtype)
    memory[1:] = array.ravel()
    return to_numba(memory)[1:].reshape(array.shape)


LAYOUTS: tuple[Layout, ...] = (to_device, with_gaps, transposed, reversed_in_memory, shifted)


class Pair:
    """The two optimizers in the same state.

    Parameters
    ----------
    variables : sequence of ndarray
        Copied for each of the two.
    layout : callable, optional
        Copies the variables to the device.
    scaling : tuple, optional
        Initial scale and growth steps of a LossScaleOptimizer around each.
    rates_ahead : int
        Of the optimizer on the device.
    **settings : object
        Arguments of both constructors.
    """

    def __init__(
        self,
        variables: Sequence[Any],
        layout: Layout = to_device,
        scaling: tuple[float, int] | None = None,
        rates_ahead: int = 1024,
        **settings: Any,
    ) -> None:
        self.hosts = [np.array(w) for w in variables]
        self.devices = [layout(w) for w in variables]
        self.inner: list[Any] = [sgd_ref.SGD(**settings), cuda.SGD(**settings, rates_ahead=rates_ahead)]
        self.optimizers: list[Any] = list(self.inner)
        if scaling is not None:
            wrappers = sgd_ref.LossScaleOptimizer, cuda.LossScaleOptimizer
            self.optimizers = [wrap(one, *scaling) for wrap, one in zip(wrappers, self.inner, strict=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.optimizers[0].build(self.hosts)
            self.optimizers[1].build(self.devices)

    def apply(self, gradients: Sequence[Any], layout: Layout = to_device, is_compared: bool = True) -> None:
        """Make a call with both and compare everything they have."""
        moved = [layout(g) if isinstance(g, np.ndarray) else g for g in gradients]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.optimizers[0].apply(list(gradients))
            self.optimizers[1].apply(moved)
        if is_compared:
            self.compare()

    def compare(self) -> None:
        """Assert that no bit differs."""
        reference, device = self.inner
        for kind in ("velocities", "averages", "accumulators"):
            kept = [to_host(array) for array in getattr(device, kind)]
            assert_equal_bits(kind, getattr(reference, kind), kept)
        assert_equal_bits("variables", self.hosts, [on_host(array) for array in self.devices])
        assert (reference.calls, reference.iterations) == (device.calls, device.iterations)
        if self.optimizers != self.inner:
            wanted, given = self.optimizers
            assert (wanted.loss_scale, wanted.growth_counter) == (given.loss_scale, given.growth_counter)
