"""Optax as an implementation: the transformations that a user chains, in a process of their own."""

from __future__ import annotations

import importlib.util

from sgd_ref.base.installing import how_to_install
from sgd_ref.conformance.targets.framework import Framework
from sgd_ref.validation import reject_value

MODES = ("eager", "jitted")
WORKER = "sgd_ref.conformance.targets.optax.worker"

# The published results come from runs without a GPU. The user's own environment variables for JAX are
# ignored.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_DEBUG_NANS": "0",
    "JAX_DISABLE_JIT": "0",
    "JAX_ENABLE_X64": "0",
    "JAX_NUMPY_DTYPE_PROMOTION": "standard",
    "JAX_PLATFORMS": "cpu",
}


def available() -> bool:
    """Whether Optax and JAX are installed; nothing is imported to find out.

    Examples
    --------
    ``if available(): run = Optax("eager")``
    """
    return all(importlib.util.find_spec(package) is not None for package in ("optax", "jax"))


def obstacle() -> str | None:
    """Return the reason why Optax cannot run here, with a command that helps; None if it can."""
    if available():
        return None
    return f"Optax is not installed; install it with: {how_to_install('optax')}"


class Optax(Framework):
    """The transformations of Optax as an implementation: call it with a case, get the trajectory.

    Parameters
    ----------
    mode : {"eager", "jitted"}
        With "eager", ``optimizer.update`` and ``optax.apply_updates`` are called directly. With "jitted",
        ``jax.jit`` compiles the whole step: unscaling, update and averages.
    time_limit : float
        Seconds for one case.

    Raises
    ------
    ValueError
        If `mode` is unknown or `time_limit` is not positive.
    ModuleNotFoundError
        If Optax or JAX is not installed; the message has the command that installs them.

    Examples
    --------
    ``with Optax("jitted") as run: trajectory = run(case)``

    >>> Optax("compiled")
    Traceback (most recent call last):
    ValueError: mode must be one of eager, jitted, got 'compiled'
    """

    def __init__(self, mode: str, time_limit: float = 120.0) -> None:
        if mode not in MODES:
            reject_value("mode", mode, f"one of {', '.join(MODES)}")
        missing = obstacle()
        if missing is not None:
            raise ModuleNotFoundError(missing)
        # MultiSteps has a condition, which JAX compiles anew in every eager call, mostly to the same code.
        super().__init__(WORKER, [mode], ENVIRONMENT, time_limit, caches=mode == "eager")
