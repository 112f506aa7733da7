"""The processes of the families of peers on a device, and the objects that give peers their turns."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

from numba_kernels.benchmarks.device.peers import FAMILIES, ROOFS
from numba_kernels.benchmarks.workload import Workload, dtype_of
from sgd_ref.conformance.protocol.failures import WorkerFailed
from sgd_ref.conformance.protocol.json_lines import Json, from_line, to_line
from sgd_ref.conformance.protocol.running_program import RunningProgram

MODULE = "numba_kernels.benchmarks.device.worker"
LONGEST_ANSWER = 2**20
TURN_LIMIT = 300.0
"""The time limit of a turn in seconds. Compiling a step over hundreds of tensors takes minutes."""

MARGIN = 2**30
"""The bytes that a library may allocate besides the arrays."""

ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""Environment variables for JAX, which otherwise allocates three quarters of the memory at once."""

SHORT_LIVED = "optax"
"""The family that never returns memory to the driver. So its process is ended after each turn."""

Timing = Literal["steps", "calls"]
FreeMemory = Callable[[], int | None]


def free_memory() -> int | None:
    """Return the bytes of free device memory; None in the simulator."""
    from numba_kernels.cuda.toolkit import IS_SIMULATED, cuda

    return None if IS_SIMULATED else int(cuda.current_context().get_memory_info()[0])


def needed_memory(peer: str, workload: Workload) -> int:
    """Return the bytes of device memory that a peer needs at least.

    >>> needed_memory("kernels", Workload("1 x 1000000", "momentum")) - MARGIN
    12000000
    """
    if peer in ROOFS:
        return workload.bytes_moved + MARGIN
    # These are the variables and the state, which a step writes, and the gradients.
    arrays = workload.arrays_written + 1
    return arrays * workload.elements * dtype_of(workload.dtype).itemsize + MARGIN


class DeviceWorkers:
    """The processes of the families of peers, each started when it is first needed.

    Parameters
    ----------
    free : function
        Returns the bytes of device memory that are free, None if that is unknown.
    """

    def __init__(self, free: FreeMemory = free_memory) -> None:
        self._programs: dict[str, RunningProgram] = {}
        self._free = free

    def ask(self, peer: str, workload: Workload, seconds: float, timing: Timing) -> Json:
        """Return the answer of a worker, or the reason why it was not asked."""
        needed, free = needed_memory(peer, workload), self._free()
        if free is not None and free < needed:
            return {"absent": f"{needed / 2**30:.1f} GiB of the device's memory must be free"}
        family = FAMILIES[peer]
        request = {"peer": peer, "workload": workload.to_json(), "seconds": seconds, "timing": timing}
        try:
            line = self._program(family).exchange(to_line(request), TURN_LIMIT, LONGEST_ANSWER)
            answer = from_line(line)
        except WorkerFailed as problem:
            answer = {"absent": str(problem).splitlines()[0]}
        # After an error on the device, every later call in the same process fails, too.
        if family == SHORT_LIVED or "absent" in answer:
            self._end(family)
        return answer

    def _program(self, family: str) -> RunningProgram:
        program = self._programs.get(family)
        if program is None or program.has_left():
            command = [sys.executable, "-m", MODULE]
            program = RunningProgram(command, {**os.environ, **ENVIRONMENT}, LONGEST_ANSWER)
            self._programs[family] = program
        return program

    def _end(self, family: str) -> None:
        program = self._programs.pop(family)
        program.leave()
        program.kill()

    def close(self) -> None:
        """End all processes."""
        for family in list(self._programs):
            self._end(family)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@dataclass
class DeviceTurns:
    """Turns in which steps are timed, or the calls that start steps."""

    workers: DeviceWorkers
    timing: Timing

    def turn(self, peer: str, threads: int, workload: Workload, seconds: float, memory: bool) -> Json:
        """Return the answer of a worker. The number of threads and the memory of the host play no role."""
        return self.workers.ask(peer, workload, seconds, self.timing)
