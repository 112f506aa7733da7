"""The library that stands for the driver: its functions, and the end of a process that has used it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from numba_kernels.selfcheck.ptx.driver.library import why_no_compiler

pytestmark = pytest.mark.skipif(why_no_compiler() is not None, reason=str(why_no_compiler()))

ROOT = Path(__file__).parents[5]

AFTER_THE_END = """
import atexit, ctypes

def asked():
    return ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_int()

def at_the_end():
    # Registered before the library, so that this comes after its own end.
    print(call(7), free(7), calls, flush=True)

atexit.register(at_the_end)
from numba_kernels.selfcheck.ptx.driver import library
calls = []

@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint)
def initialise(flags):
    calls.append(flags)
    return 0

library.load({"cuInit": initialise, "cuMemFree_v2": initialise})
found, place, status = asked()
assert found.cuGetProcAddress_v2(b"cuNothing", ctypes.byref(place), 0, 0, ctypes.byref(status)) == 500
assert (place.value, status.value) == (None, 1)
assert found.cuGetProcAddress_v2(b"cuInit", ctypes.byref(place), 0, 0, ctypes.byref(status)) == 0
call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint)(place.value)
assert (call(3), status.value) == (0, 0)
assert found.cuGetProcAddress_v2(b"cuMemFree_v2", ctypes.byref(place), 0, 0, ctypes.byref(status)) == 0
free = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_ulonglong)(place.value)
"""

WITH_OBJECTS = """
import numpy as np
from numba_kernels.selfcheck.ptx import session
from numba_kernels.selfcheck.ptx.driver import library
from numba_kernels.selfcheck.ptx.driver.device import Device
from numba_kernels.selfcheck.ptx.driver.function import callbacks
library.load(callbacks(Device()))
from numba import cuda
kept = [cuda.to_device(np.ones(3)), cuda.stream(), cuda.event(timing=False), cuda.pinned_array(4, "float32")]
print(kept[0].copy_to_host().sum())
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_ENABLE_CUDASIM": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_once_python_ends_functions_answer_so_and_nothing_is_left_to_free() -> None:
    ended = run(AFTER_THE_END)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "4 0 [3]\n", "")


def test_a_process_with_objects_of_cuda_ends_in_peace() -> None:
    pytest.importorskip("numba_cuda", reason="the objects are those of numba-cuda")
    ended = run(WITH_OBJECTS)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "3.0\n", "")
