"""`numba_kernels.cuda.SGD`, called and captured, if its bits are those of `numba_kernels.SGD`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import numba_kernels
from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.device.peers import NotOffered, Prepared, Step, tensors
from numba_kernels.benchmarks.device.peers.tensors import CUDA
from numba_kernels.benchmarks.workload import SETTINGS, Array, Workload

CHECKED_MODEL = "7 x 1000"
CHECKED_STEPS = 2

STEPS_BEFORE_CAPTURE = 1


def kernels(workload: Workload) -> Prepared:
    """Return the step of the kernels, on tensors if PyTorch finds the device, else on Numba's arrays."""
    _require_the_same_bits(workload, False)
    model = Model(workload)
    return Prepared(model.step, model.synchronise)


def graph(workload: Workload) -> Prepared:
    """Return the same step, captured in a CUDA graph by PyTorch."""
    _require_the_same_bits(workload, True)
    model = Model(workload)
    return Prepared(model.captured(), model.synchronise)


class Model:
    """The arrays of a workload on the device, with their optimizer."""

    def __init__(self, workload: Workload) -> None:
        # This import needs numba-cuda, which is an optional dependency.
        from numba_kernels import cuda
        from numba_kernels.selfcheck.device.on_device import by_numba

        self.torch = _torch()
        if self.torch is None:
            self.variables = [by_numba(array) for array in workloads.variables(workload)]
            self._gradients = [by_numba(array) for array in workloads.gradients(workload)]
        else:
            self.variables = tensors.variables(workload, CUDA)
            self._gradients = tensors.gradients(workload, CUDA)
        self.optimizer = cuda.SGD(**SETTINGS[workload.settings])
        self.optimizer.build(self.variables)

    def step(self) -> None:
        """Start a step, without waiting for its end."""
        self.optimizer.apply(self._gradients)

    def captured(self) -> Step:
        """Return the peer that replays a captured step."""
        if self.torch is None:
            raise NotOffered("graphs are captured by PyTorch, and it finds no device")
        return tensors.captured(self.step, STEPS_BEFORE_CAPTURE)

    def synchronise(self) -> None:
        """Wait for all steps."""
        from numba_kernels.cuda.toolkit import cuda

        if self.torch is None:
            cuda.synchronize()
        else:
            self.torch.cuda.synchronize()

    def on_host(self) -> dict[str, list[Array]]:
        """Return copies of variables, velocities and averages."""
        from numba_kernels.cuda.arrays.allocation import to_host

        self.synchronise()
        return {
            "variables": [to_host(array) for array in self.variables],
            "velocities": [to_host(array) for array in self.optimizer.velocities],
            "averages": [to_host(array) for array in self.optimizer.averages],
        }


def _torch() -> Any:
    """Return PyTorch if it finds the device on which the kernels run, and otherwise None."""
    from numba_kernels.cuda.toolkit import IS_SIMULATED

    if IS_SIMULATED:
        return None
    try:
        return tensors.torch_for(CUDA)
    except (ImportError, NotOffered):
        return None


def _require_the_same_bits(workload: Workload, is_captured: bool) -> None:
    difference = first_difference(Workload(CHECKED_MODEL, workload.settings, workload.dtype), is_captured)
    if difference:
        raise NotOffered(f"wrong bits: {difference}")


# One check for each process is enough, since the small workload has the same kernels.
@functools.cache
def first_difference(workload: Workload, is_captured: bool) -> str:
    """Return where two steps differ from those of ``numba_kernels.SGD``; empty if they do not differ.

    Parameters
    ----------
    workload : Workload
        A small workload.
    is_captured : bool
        Whether the second step is the replay of a graph.
    """
    model = Model(workload)
    if is_captured:
        steps = [model.captured()] * (CHECKED_STEPS - STEPS_BEFORE_CAPTURE)
    else:
        steps = [model.step] * CHECKED_STEPS
    for step in steps:
        step()
    found, expected = model.on_host(), _expected(workload)
    for kind, arrays in expected.items():
        for index, (array, wanted) in enumerate(zip(found[kind], arrays, strict=True)):
            if not np.array_equal(_bits(array), _bits(wanted)):
                return f"{kind}[{index}] of {workload} are not those of numba_kernels.SGD"
    return ""


def _expected(workload: Workload) -> dict[str, list[Array]]:
    variables, gradients = workloads.variables(workload), workloads.gradients(workload)
    optimizer = numba_kernels.SGD(**SETTINGS[workload.settings])
    optimizer.build(variables)
    for _ in range(CHECKED_STEPS):
        optimizer.apply(gradients)
    return {"variables": variables, "velocities": optimizer.velocities, "averages": optimizer.averages}


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(np.uint8)


PREPARE = {"kernels": kernels, "kernels graph": graph}
