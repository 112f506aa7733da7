"""The time from the start of a process to the end of its first step, with import and compilation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

from numba_kernels.benchmarks.models import resnet50

TIME_LIMIT = 600.0

SHAPES = "import json, sys; shapes = json.loads(sys.argv[1])\n"

PROGRAMS: Mapping[str, str] = {
    "kernels": """
import numpy as np
import numba_kernels
optimizer = numba_kernels.SGD(0.01, 0.9)
optimizer.build([np.ones(shape, "float32") for shape in shapes])
optimizer.apply([np.ones(shape, "float32") for shape in shapes])
""",
    "torch fused": """
import torch
parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
for parameter in parameters:
    parameter.grad = torch.ones_like(parameter)
torch.optim.SGD(parameters, 0.01, 0.9, fused=True).step()
""",
    "optax": """
import jax, optax
import jax.numpy as jnp
variables, gradients = ([jnp.ones(shape) for shape in shapes] for _ in range(2))
transformation = optax.sgd(0.01, 0.9)
state = transformation.init(variables)
@jax.jit
def step(variables, state, gradients):
    updates, state = transformation.update(gradients, state, variables)
    return optax.apply_updates(variables, updates), state
jax.block_until_ready(step(variables, state, gradients))
""",
    "numpy": """
import numpy as np
for shape in shapes:
    w, v, g = (np.ones(shape, "float32") for _ in range(3))
    v *= 0.9
    v -= 0.01 * g
    w += v
""",
}
"""Programs that import a library, make arrays, and make one step with momentum over ResNet-50."""


def first_steps(peer: str, times: int) -> dict[str, list[float] | str]:
    """Time the first step once with an empty cache of compiled kernels, and then with a filled one.

    Parameters
    ----------
    peer : str
        One of `PROGRAMS`.
    times : int
        The number of measurements with a filled cache.

    Returns
    -------
    dict
        Seconds as ``"cold"`` and ``"warm"``, or the reason as ``"absent"`` if there are none. Only Numba's
        cache is emptied; a library may keep others.
    """
    with tempfile.TemporaryDirectory() as cache:
        durations = []
        for _ in range(times + 1):
            duration = _seconds(PROGRAMS[peer], cache)
            if isinstance(duration, str):
                return {"absent": duration}
            durations.append(duration)
    return {"cold": durations[:1], "warm": durations[1:]}


def _seconds(program: str, cache: str) -> float | str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    command = [sys.executable, "-c", SHAPES + program, json.dumps(resnet50())]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end within {TIME_LIMIT:g} seconds"
    duration = time.perf_counter() - started
    return duration if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[-1]
