"""What the tests can do here: CUDA on a device or in the simulator, and the extras that are installed."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os

# Has to be chosen before Numba is imported.
if ctypes.util.find_library("cuda") is None:
    os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")

collect_ignore_glob: list[str] = []
if importlib.util.find_spec("numba_cuda") is None:
    # There are no such wheels for this system, and README says that these tests are for Linux.
    collect_ignore_glob += [
        "numba_kernels/cuda/*",
        "numba_kernels/selfcheck/device/*",
        "tests/numba_kernels/cuda/*",
        "tests/numba_kernels/selfcheck/device/*",
    ]
if importlib.util.find_spec("torch") is None:
    # Without this extra there is nothing to import.
    collect_ignore_glob += ["numba_kernels/torch/*", "tests/numba_kernels/torch/*"]

# Of Keras' backends, one can be in this process; tests of the others start processes of their own.
STEPS = {"torch": "in_place", "jax": "jax_callback", "tensorflow": "tensorflow_callback"}
backends = [name for name in STEPS if importlib.util.find_spec(name) is not None]
if importlib.util.find_spec("keras") is None or not backends:
    collect_ignore_glob += ["numba_kernels/keras/*", "tests/numba_kernels/keras/*"]
else:
    here = os.environ.setdefault("KERAS_BACKEND", backends[0])
    collect_ignore_glob += [f"numba_kernels/keras/{file}.py" for name, file in STEPS.items() if name != here]
