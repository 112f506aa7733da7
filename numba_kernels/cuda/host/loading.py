"""Load checkpoints into optimizers on the device."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

import sgd_ref
from numba_kernels.cuda.arrays.headers import headers_of
from numba_kernels.cuda.host.contents import set_variables
from numba_kernels.cuda.host.loss_scale import LossScaleOptimizer
from numba_kernels.cuda.host.optimizer import SGD
from numba_kernels.cuda.toolkit import on_device
from sgd_ref.base.configuration import KEYS
from sgd_ref.base.learning_rate import LearningRate
from sgd_ref.base.variables import check_variables


def load(
    path: str | os.PathLike[str],
    variables: Sequence[Any],
    learning_rate: LearningRate | None = None,
    *,
    names: Sequence[str] | None = None,
    rates_ahead: int = 1024,
) -> SGD | LossScaleOptimizer:
    """Load a checkpoint that ``sgd_ref.save`` wrote, whichever of the optimizers trained it.

    Parameters
    ----------
    path, learning_rate, names
        As for ``sgd_ref.load``.
    variables : list
        Arrays on one device, as for ``SGD``: one for each saved variable, of the same shape and dtype. They
        are overwritten.
    rates_ahead : int, default 1024
        As for ``SGD``.

    Returns
    -------
    SGD or LossScaleOptimizer
        An optimizer on the device, in the saved state.

    Raises
    ------
    TypeError, ValueError
        If the file or an argument does not fit; no variable has changed then.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from numba import cuda
    >>> w = cuda.to_device(np.array([1.0, 2.0], "float32"))
    >>> optimizer = SGD(0.5, momentum=0.5)
    >>> optimizer.apply([cuda.to_device(np.array([1.0, 1.0], "float32"))], [w])
    >>> restored = cuda.to_device(np.zeros(2, "float32"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sgd_ref.save(pathlib.Path(folder) / "checkpoint", optimizer, [w])
    ...     optimizer = load(pathlib.Path(folder) / "checkpoint", [restored])
    >>> restored.copy_to_host(), optimizer.calls
    (array([0.5, 1.5], dtype=float32), 1)
    """
    # Refuses an argument before anything is read.
    SGD(rates_ahead=rates_ahead)
    headers = check_variables(headers_of("variables", variables, {}))
    hosts = [np.zeros(header.shape, header.dtype) for header in headers]
    loaded = sgd_ref.load(path, hosts, learning_rate, names=names)
    inner: Any = getattr(loaded, "inner_optimizer", loaded)
    own = SGD(**{key: getattr(inner, key) for key in KEYS if key != "learning_rate"}, rates_ahead=rates_ahead)
    own.rate_source = inner.rate_source
    optimizer: SGD | LossScaleOptimizer = own
    if isinstance(loaded, sgd_ref.LossScaleOptimizer):
        optimizer = LossScaleOptimizer(own, loaded.initial_scale, loaded.dynamic_growth_steps, loaded.name)
    state = inner.built_state()
    excluded = [array for array, decays in zip(variables, state.decayed, strict=True) if not decays]
    optimizer.exclude_from_weight_decay(excluded)
    with warnings.catch_warnings():
        # The warnings about the settings were given when the checkpoint was loaded.
        warnings.simplefilter("ignore")
        optimizer.build(variables, state.names)
        optimizer.set_weights(loaded.get_weights())
    built = own._device_state()
    with on_device(built.device):
        set_variables(built, hosts)
    return optimizer
