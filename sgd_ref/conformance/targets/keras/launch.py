"""Keras as an implementation: the real optimizer, in a process of its own."""

from __future__ import annotations

import importlib.metadata
import importlib.util

from sgd_ref.base.installing import how_to_install
from sgd_ref.conformance.catalogue.case import Case, Record, Unsupported
from sgd_ref.conformance.targets.framework import Framework
from sgd_ref.validation import reject_value

BACKENDS = ("jax", "tensorflow", "torch")
MODES = ("eager", "compiled")
CASES_PER_PROCESS = 400
WORKER = "sgd_ref.conformance.targets.keras.worker"

# The published results come from runs without a GPU, since fit() compiles differently on a GPU. The user's
# keras.json is ignored, and log output is off.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
    "KERAS_NNX_ENABLED": "0",
    "KERAS_TORCH_DEVICE": "cpu",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def available(backend: str) -> bool:
    """Whether Keras 3 and a backend are installed; nothing is imported to find out.

    Raises
    ------
    ValueError
        If `backend` is not "jax", "tensorflow" or "torch".

    Examples
    --------
    >>> available("theano")
    Traceback (most recent call last):
    ValueError: backend must be one of jax, tensorflow, torch, got 'theano'
    """
    if backend not in BACKENDS:
        reject_value("backend", backend, f"one of {', '.join(BACKENDS)}")
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec(backend) is None:
        return False
    return int(importlib.metadata.version("keras").split(".")[0]) >= 3


def obstacle(backend: str) -> str | None:
    """Return the reason why Keras cannot run on a backend here, with a command that helps; None if it can.

    Raises
    ------
    ValueError
        If `backend` is not "jax", "tensorflow" or "torch".
    """
    if available(backend):
        return None
    extras = ("keras", "torch") if backend == "torch" else ("keras",)
    return f"Keras 3 on {backend} is not installed; install it with: {how_to_install(*extras)}"


class Keras(Framework):
    """``keras.optimizers.SGD`` as an implementation: call it with a case, get the trajectory.

    Parameters
    ----------
    backend : {"jax", "tensorflow", "torch"}
        The backend of Keras.
    mode : {"eager", "compiled"}
        With "eager", ``optimizer.apply`` is called directly. With "compiled", it is compiled as ``model.fit``
        compiles it on a CPU: ``jax.jit`` around ``stateless_apply``, or ``tf.function`` without XLA around
        ``apply``. On PyTorch, ``fit`` does not compile, so no case is supported.
    time_limit : float
        Seconds for one case.

    Raises
    ------
    ValueError
        If `backend` or `mode` is unknown or `time_limit` is not positive.
    ModuleNotFoundError
        If Keras 3 or the backend is not installed; the message has the command that installs them.

    Examples
    --------
    ``with Keras("jax", "eager") as run: trajectory = run(case)``

    >>> Keras("jax", "fast")
    Traceback (most recent call last):
    ValueError: mode must be one of eager, compiled, got 'fast'
    """

    def __init__(self, backend: str, mode: str, time_limit: float = 120.0) -> None:
        if mode not in MODES:
            reject_value("mode", mode, f"one of {', '.join(MODES)}")
        missing = obstacle(backend)
        if missing is not None:
            raise ModuleNotFoundError(missing)
        self._cases = 0
        self._compiles = mode == "eager" or backend != "torch"
        super().__init__(
            WORKER,
            [backend, mode],
            {**ENVIRONMENT, "KERAS_BACKEND": backend},
            time_limit,
            # JAX compiles eager conditions anew in every call, mostly to the same code.
            caches=(backend, mode) == ("jax", "eager"),
        )

    def __call__(self, case: Case) -> list[Record]:
        """Return the trajectory that Keras computes.

        Raises
        ------
        Unsupported
            If the backend or the mode does not offer a feature that the case needs.
        ImplementationError
            If Keras raised an error; with its type, its message and the call.
        WorkerFailed
            If the process died or hung.
        """
        if not self._compiles:
            raise Unsupported("fit() does not compile on PyTorch: what it runs there is the eager mode")
        if self._cases == CASES_PER_PROCESS:
            # The graphs that TensorFlow traces for Keras are never freed, 1.2 MB for each case.
            self.close()
            self._cases = 0
        self._cases += 1
        return super().__call__(case)
