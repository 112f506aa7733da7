"""Load checkpoints into optimizers with kernels."""

from __future__ import annotations

import os
from collections.abc import Sequence

import sgd_ref
from numba_kernels.cpu.optimizer import SGD
from sgd_ref.arithmetic.formats import Array
from sgd_ref.base.learning_rate import LearningRate
from sgd_ref.base.optimizer import BaseSGD
from sgd_ref.loss_scale import LossScaleOptimizer


def load(
    path: str | os.PathLike[str],
    variables: Sequence[Array],
    learning_rate: LearningRate | None = None,
    *,
    names: Sequence[str] | None = None,
    threads: int = 1,
) -> SGD | LossScaleOptimizer:
    """Load a checkpoint that ``sgd_ref.save`` wrote, whichever of the two packages trained it.

    Parameters
    ----------
    path, variables, learning_rate, names
        As for ``sgd_ref.load``; the variables are overwritten.
    threads : int, default 1
        The number of threads, at least 1, as for ``SGD``.

    Returns
    -------
    SGD or LossScaleOptimizer
        An optimizer with the kernels, in the saved state.

    Raises
    ------
    TypeError, ValueError
        If the file or an argument does not fit; then nothing is changed.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> w = np.array([1.0, 2.0], "float32")
    >>> optimizer = SGD(0.5, momentum=0.5)
    >>> optimizer.apply([w.copy()], [w])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sgd_ref.save(pathlib.Path(folder) / "checkpoint", optimizer, [w])
    ...     restored = load(pathlib.Path(folder) / "checkpoint", [np.zeros(2, "float32")], threads=2)
    >>> restored.velocities
    [array([-0.5, -1. ], dtype=float32)]
    """
    SGD(threads=threads)
    loaded = sgd_ref.load(path, variables, learning_rate, names=names)
    if not isinstance(loaded, LossScaleOptimizer):
        return _with_kernels(loaded, threads)
    inner = _with_kernels(loaded.inner_optimizer, threads)
    optimizer = LossScaleOptimizer(inner, loaded.initial_scale, loaded.dynamic_growth_steps, loaded.name)
    optimizer.set_weights(loaded.get_weights())
    return optimizer


def _with_kernels(optimizer: BaseSGD, threads: int) -> SGD:
    kernels = SGD(threads=threads)
    kernels.__dict__.update(optimizer.__dict__)
    return kernels
