"""A workload: the settings of one step of an optimizer, and the arrays that it updates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import sgd_ref
from numba_kernels.benchmarks.models import EMBEDDING, ROWS, Shape, shapes_of
from sgd_ref.arithmetic.formats import BY_NAME

Array = np.ndarray[Any, np.dtype[Any]]

LEARNING_RATE = 0.01
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
HIGHEST_NORM = 1.0
EMA_MOMENTUM = 0.99

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"learning_rate": LEARNING_RATE},
    "momentum": {"learning_rate": LEARNING_RATE, "momentum": MOMENTUM},
    "everything": {
        "learning_rate": LEARNING_RATE,
        "momentum": MOMENTUM,
        "nesterov": True,
        "weight_decay": WEIGHT_DECAY,
        "global_clipnorm": HIGHEST_NORM,
        "use_ema": True,
        "ema_momentum": EMA_MOMENTUM,
    },
}
"""Arguments of SGD. "Everything" is clipping by the global norm, decay, Nesterov momentum and averages."""

NORM = "norm"
"""A workload with this in place of settings computes only the Euclidean norm of the gradients."""

VARIABLES, GRADIENTS = 0, 1_000_000
"""Seeds of the first variable and of the first gradient."""

BLOCK = 65537
SCALE = 0.01


@dataclass(frozen=True)
class Workload:
    """One step to be timed.

    Attributes
    ----------
    model : str
        The name of a model, or a text that `models.shapes_of` accepts.
    settings : str
        A key of `SETTINGS`, or `NORM`.
    dtype : str
        "float32", "float64" or "bfloat16".
    gradient_scale : float
        The standard deviation of the gradients; that of the variables is 0.01.
    """

    model: str
    settings: str
    dtype: str = "float32"
    gradient_scale: float = SCALE

    def __str__(self) -> str:
        return f"{self.model}, {self.settings}, {self.dtype}"

    @property
    def shapes(self) -> list[Shape]:
        """The shapes of the variables."""
        return shapes_of(self.model)

    @property
    def elements(self) -> int:
        """The number of elements of all variables together."""
        return sum(math.prod(shape) for shape in self.shapes)

    @property
    def has_sparse_gradients(self) -> bool:
        """Whether only some rows have a gradient."""
        return self.model == EMBEDDING

    @property
    def arrays_read(self) -> int:
        """The least number of arrays of the size of the model that a step must read."""
        return {"plain": 2, "momentum": 3, "everything": 5, NORM: 1}[self.settings]

    @property
    def arrays_written(self) -> int:
        """The least number of arrays of the size of the model that a step must write."""
        return {"plain": 1, "momentum": 2, "everything": 3, NORM: 0}[self.settings]

    @property
    def bytes_moved(self) -> int:
        """The least number of bytes that a step with dense gradients must read and write."""
        itemsize = dtype_of(self.dtype).itemsize
        return (self.arrays_read + self.arrays_written) * self.elements * itemsize

    def to_json(self) -> dict[str, Any]:
        """Return the workload as a JSON object."""
        return {name: value for name, value in asdict(self).items() if name != "gradient_scale"}


def dtype_of(name: str) -> np.dtype[Any]:
    """Return the dtype of a name.

    >>> dtype_of("bfloat16").itemsize
    2
    """
    return BY_NAME[name]


def variables(workload: Workload) -> list[Array]:
    """Return the variables of a workload: random arrays that share no memory."""
    return [np.resize(block, shape) for shape, block in blocks(workload, VARIABLES)]


def gradients(workload: Workload) -> list[Array]:
    """Return dense gradients of a workload."""
    found = [np.resize(block, shape) for shape, block in blocks(workload, GRADIENTS)]
    factor = workload.gradient_scale / SCALE
    return found if factor == 1 else [gradient * gradient.dtype.type(factor) for gradient in found]


def blocks(workload: Workload, first_seed: int) -> Iterator[tuple[Shape, Array]]:
    """Yield the shape of each variable, and the block that is repeated to fill it.

    Drawing hundreds of millions of random numbers would take longer than a step.
    """
    for seed, shape in enumerate(workload.shapes, first_seed):
        yield shape, _block(shape, workload.dtype, seed)


def sparse_gradients(workload: Workload) -> list[sgd_ref.SparseRows]:
    """Return gradients of distinct rows, spread over each variable."""
    generator = np.random.default_rng(1)
    sparse = []
    for rows, *rest in workload.shapes:
        indices = np.sort(generator.choice(rows, min(ROWS, rows), replace=False))
        shape = len(indices), *rest
        values = np.resize(_block(shape, workload.dtype, 2), shape)
        sparse.append(sgd_ref.SparseRows(indices, values, (rows, *rest)))
    return sparse


def _block(shape: Shape, dtype: str, seed: int) -> Array:
    block: Array = np.random.default_rng(seed).standard_normal(min(BLOCK, math.prod(shape))) * SCALE
    return block.astype(dtype_of(dtype))
