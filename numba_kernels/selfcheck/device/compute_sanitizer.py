"""Some cases under NVIDIA's compute-sanitizer, which checks memory accesses, in a process of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys

from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.selfcheck.comparison import timed
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.result import Result

NAME = "memory checker"
IDENTIFIER = "memory-checker/places"

TOOL = "compute-sanitizer"
PATTERN = "^places/.*/(variables|gradients)-(numba|offset-3)$"
FOUND = 9
LIMIT = 1800.0
"""The time limit in seconds; under compute-sanitizer, a kernel takes up to 100 times as long."""


def check(extent: Extent) -> Result:
    """Search for accesses outside of allocated memory with compute-sanitizer."""
    result = Result(NAME)
    with timed(result):
        if not extent.wants(IDENTIFIER):
            return result
        reason = _why_not()
        if reason is not None:
            result.skips(reason)
            return result
        this = [
            sys.executable,
            "-m",
            "sgd_ref.command.main",
            "check",
            "--device",
            "cuda",
            "--quick",
            "-k",
            PATTERN,
        ]
        command = [TOOL, "--tool", "memcheck", "--error-exitcode", str(FOUND), *this]
        try:
            # The command is fixed.
            done = subprocess.run(  # noqa: S603
                command, capture_output=True, text=True, check=False, timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            result.skips(f"{TOOL} took longer than {LIMIT:.0f} s")
            return result
        result.cases += 1
        result.compared += 1
        if done.returncode:
            last = "\n  ".join((done.stdout + done.stderr).splitlines()[-20:])
            result.differs(f"{IDENTIFIER}\n  {last}\n  again: {' '.join(command)}")
    return result


def _why_not() -> str | None:
    if IS_SIMULATED:
        return "the simulator checks every access itself"
    return None if shutil.which(TOOL) else f"{TOOL} of the CUDA toolkit is not on the path"
