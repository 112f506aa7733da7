"""Optimizers on the device that take and return arrays of the host, like those of cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from numba_kernels import cuda
from numba_kernels.cuda.arrays.allocation import to_host, to_numba
from sgd_ref.arithmetic.formats import Array

Move = Callable[[Array], Any]
"""Copies an array of the host to the device, into an array of one of the libraries."""


def by_numba(array: Array) -> Any:
    """Return a copy on the device, an array of Numba."""
    return to_numba(np.array(array, order="C"))


class OnDevice(cuda.SGD):
    """``numba_kernels.cuda.SGD`` for arrays of the host, which every call copies to the device and back."""

    move: Move = staticmethod(by_numba)
    move_gradient: Move | None = None
    wrapper_class: ClassVar[type[cuda.LossScaleOptimizer]]
    hosts: list[Array]
    moved: list[Any]

    def build(self, variables: Sequence[Array], names: Sequence[str] | None = None) -> None:
        """Copy the variables, and build."""
        self.hosts = list(variables)
        self.moved = [self.move(variable) for variable in variables]
        super().build(self.moved, names)

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any] | None = None) -> None:
        """Copy the gradients, make the call, and copy the variables back."""
        super().apply(self.on_device(gradients), variables)
        self.copy_back()

    def finalize_variable_values(self, variables: Sequence[Any]) -> None:
        """Finalise, and copy the variables back."""
        super().finalize_variable_values(self.moved)
        self.copy_back()

    def on_device(self, gradients: Sequence[Any]) -> list[Any]:
        """Return copies of dense gradients, and the others as they are."""
        move = self.move if self.move_gradient is None else self.move_gradient
        return [move(np.asarray(g)) if isinstance(g, (np.ndarray, np.generic)) else g for g in gradients]

    def copy_back(self) -> None:
        """Copy the variables to the host."""
        for host, moved in zip(self.hosts, self.moved, strict=True):
            host[...] = to_host(moved)

    @property
    def velocities(self) -> list[Array]:
        """Copies on the host."""
        return [to_host(array) for array in super().velocities]

    @property
    def averages(self) -> list[Array]:
        """Copies on the host."""
        return [to_host(array) for array in super().averages]

    @property
    def accumulators(self) -> list[Array]:
        """Copies on the host."""
        return [to_host(array) for array in super().accumulators]


class LossScaleOnDevice(cuda.LossScaleOptimizer):
    """``numba_kernels.cuda.LossScaleOptimizer`` for arrays of the host, in the same way."""

    inner_optimizer: Any

    def apply(self, gradients: Sequence[Any], variables: Sequence[Any] | None = None) -> None:
        """Copy the gradients, make the call, and copy the variables back."""
        super().apply(self.inner_optimizer.on_device(gradients), variables)
        self.inner_optimizer.copy_back()


# The wrapper for cases that scale their loss dynamically.
OnDevice.wrapper_class = LossScaleOnDevice
