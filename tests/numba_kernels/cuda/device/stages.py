"""The launches of one call up to a stage, and what lies in device memory then."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_kernels import cuda
from numba_kernels.cuda.arrays.allocation import to_numba
from numba_kernels.cuda.arrays.arrays import UNKNOWN_DEVICE
from numba_kernels.cuda.arrays.headers import headers_of_gradients
from numba_kernels.cuda.device import layout, norm_layout
from numba_kernels.cuda.host.buffers import Buffer


class Stages:
    """A call of an optimizer on the device, launch by launch.

    Parameters
    ----------
    gradients : sequence of ndarray or None
        Where one is None, its variable is like the first one.
    is_dynamic : bool
        Whether the loss is scaled dynamically, by 1.
    **settings : object
        Of the optimizer.
    """

    def __init__(self, gradients: Sequence[Any], is_dynamic: bool = False, **settings: Any) -> None:
        self.optimizer = cuda.SGD(0.0, **settings)
        likes = [gradients[0] if g is None else g for g in gradients]
        self.optimizer.build([to_numba(np.zeros_like(g)) for g in likes])
        self.state: Any = self.optimizer._state
        self.moved = [None if g is None else to_numba(np.array(g)) for g in gradients]
        addresses: list[int] = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call = self.optimizer.validated(headers_of_gradients(self.moved, UNKNOWN_DEVICE), None)
        for index, gradient in enumerate(call.gradients):
            addresses.append(self.state.gradient_address(index, gradient, []))
        for group in self.state.groups:
            group.set_gradients(np.array(addresses, np.int64)[group.positions])
            group.gradients.upload(0)
        self.state.provide_rates(np.float32(0.0), None, (0, 0), 0)
        self.program = self.state.program([g is not None for g in gradients], is_dynamic)

    def run(self, *kinds: str) -> None:
        """Launch the kernels whose names begin so, in order."""
        chosen = [each for each in self.program.launches if each[0].name.startswith(kinds)]
        assert chosen, kinds
        self.state.launch(chosen, 0, self.moved)

    @property
    def results(self) -> Any:
        """The sums of the chunks: a row of two numbers for each."""
        return self.program._results.download()

    @property
    def divisors(self) -> list[float]:
        """What the gradients of the first group are divided by."""
        return np.asarray(self.program._factors[0].download()[:, layout.DIVISOR]).tolist()

    @property
    def factor(self) -> Any:
        """What all gradients are multiplied with."""
        return self.program._factors[0].download()[0, layout.FACTOR]

    def of_norms(self, entry: int) -> Any:
        """Return a table of the first descriptor of norms."""
        (launch, *_) = (each for each in self.program.launches if each[0].name.startswith("finish_"))
        return self._at(int(self._at(launch[3][0]).host[entry]))

    @property
    def error(self) -> float:
        """The bound on the relative error of the sums."""
        return float(self.of_norms(norm_layout.LIMITS).host[norm_layout.ERROR])

    @property
    def undecided(self) -> list[int]:
        """Which norms were not decided."""
        return np.asarray(self.of_norms(norm_layout.UNDECIDED).download()).tolist()

    @property
    def limbs(self) -> Any:
        """The memory of the exact sums."""
        return self.of_norms(norm_layout.LIMBS).download()

    def _at(self, address: int) -> Buffer:
        (found,) = [buffer for buffer in self.program.buffers() if buffer.address == address]
        return found
