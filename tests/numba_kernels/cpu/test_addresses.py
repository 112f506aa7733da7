"""A step allocates nothing of the size of the model, and kernels read memory at its address."""

from __future__ import annotations

import gc
import json
import os
import runpy
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import numba_kernels
import sgd_ref
from numba_kernels.cpu.addresses import (
    DEFAULT_MODE,
    IS_ARM,
    IS_X86,
    _set_mode_of_rounding,
    enter_default_mode,
    leave_default_mode,
    thread_flushes_subnormals,
)
from numba_kernels.shared.pointers import int32_at, int64_at

agreement = runpy.run_path(str(Path(__file__).parents[1] / "agreement.py"))
EVERYTHING, with_gaps, transposed = (agreement[name] for name in ("EVERYTHING", "with_gaps", "transposed"))

ROOT = Path(__file__).parents[3]
ELEMENTS = 4_000_000
MEGABYTE = 1 << 20

FEATURES: dict[str, dict[str, Any]] = {
    "everything": EVERYTHING,
    "accumulation": {**EVERYTHING, "gradient_accumulation_steps": 2},
    "loss scale": {**EVERYTHING, "loss_scale_factor": 8.0},
    "clipping of each": {"momentum": 0.9, "clipnorm": 1.0},
    "clipping of elements": {"clipvalue": 1.0},
    "nothing": {},
}


def peak_of_steps(optimizer: Any, gradients: list[Any], steps: int) -> int:
    """Return how many bytes more than before were allocated at once, while steps were made."""
    optimizer.apply(gradients)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(steps):
            optimizer.apply(gradients)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


@pytest.mark.share(3)
@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_allocates_less_than_a_megabyte(features: Any, threads: int) -> None:
    w, g = np.ones(ELEMENTS, np.float32), np.full(ELEMENTS, 0.5, np.float32)
    optimizer = numba_kernels.SGD(**features, threads=threads)
    optimizer.build([w])
    # The second call of a window is the one that updates.
    assert peak_of_steps(optimizer, [g], 3) < MEGABYTE


def test_a_step_of_a_loss_scale_optimizer_allocates_less_than_a_megabyte() -> None:
    w, g = np.ones(ELEMENTS, np.float32), np.full(ELEMENTS, 0.5, np.float32)
    optimizer = sgd_ref.LossScaleOptimizer(numba_kernels.SGD(**EVERYTHING), 8.0, 2)
    optimizer.build([w])
    assert peak_of_steps(optimizer, [g], 2) < MEGABYTE
    g[-1] = np.inf
    assert peak_of_steps(optimizer, [g], 1) < MEGABYTE


@pytest.mark.parametrize("layout", [with_gaps, transposed])
@pytest.mark.parametrize("of", ["variable", "gradient"])
def test_a_step_with_an_array_that_is_not_contiguous_allocates_less_than_four(layout: Any, of: str) -> None:
    w, g = np.ones((1000, 1000), np.float32), np.full((1000, 1000), 0.5, np.float32)
    optimizer = numba_kernels.SGD(**EVERYTHING)
    optimizer.build([layout(w) if of == "variable" else w])
    assert peak_of_steps(optimizer, [layout(g) if of == "gradient" else g], 2) < 4 * MEGABYTE


@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_with_a_narrower_gradient_allocates_less_than_four_megabytes(threads: int) -> None:
    w, g = np.ones(ELEMENTS), np.full(ELEMENTS, 0.5, np.float32)
    optimizer = numba_kernels.SGD(**EVERYTHING, threads=threads)
    optimizer.build([w])
    assert peak_of_steps(optimizer, [g], 2) < 4 * MEGABYTE


def test_the_reference_allocates_more() -> None:
    """So that what is measured is something that can be large."""
    w, g = np.ones(ELEMENTS, np.float32), np.full(ELEMENTS, 0.5, np.float32)
    optimizer = sgd_ref.SGD(0.5)
    optimizer.build([w])
    assert peak_of_steps(optimizer, [g], 1) > ELEMENTS * 4


WITHOUT_MORE_MEMORY = """
import json, pathlib, resource, sys
import numpy as np
import numba_kernels, sgd_ref

features = json.loads(sys.argv[1])
elements, threads, extra = (int(argument) for argument in sys.argv[2:5])
base = sgd_ref if sys.argv[5] == "sgd_ref" else numba_kernels
arguments = {} if base is sgd_ref else {"threads": threads}
w = np.ones(elements)
g = np.full(elements, 0.5)
if sys.argv[6] == "gaps":
    w = np.ones(2 * elements)[::2]
optimizer = base.SGD(**features, **arguments)
optimizer.build([w])
# All that is needed once, such as kernels, threads and their stacks.
steps = features.get("gradient_accumulation_steps", 1)
for _ in range(steps):
    optimizer.apply([g])
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + extra, -1))
try:
    for _ in range(2 * steps):
        optimizer.apply([g])
except MemoryError:
    print('"no memory"')
else:
    print('"stepped"')
"""

needs_limit = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="how much memory a process has is not limited here"
)


def stepped(features: Any, threads: int, extra: int, base: str = "numba_kernels", layout: str = "") -> str:
    """Return what came of steps of a process that gets no more than some bytes more."""
    # An array of 40 MB is never made of memory that was freed before; glibc gives that back at once.
    arguments = [json.dumps(features), "5000000", str(threads), str(extra), base, layout]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_MORE_MEMORY, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return str(json.loads(run.stdout))


@needs_limit
@pytest.mark.share(2)
@pytest.mark.parametrize("name", ["everything", "accumulation"])
def test_a_process_that_gets_no_more_memory_steps(name: str) -> None:
    """What tracemalloc does not see, of kernels and of libraries, counts here."""
    assert stepped(FEATURES[name], 2, 4 * MEGABYTE) == "stepped"


@needs_limit
def test_a_process_that_gets_no_more_memory_steps_with_gaps() -> None:
    assert stepped(EVERYTHING, 1, 8 * MEGABYTE, layout="gaps") == "stepped"


@needs_limit
def test_a_process_that_gets_no_more_memory_cannot_step_as_the_reference_does() -> None:
    assert stepped({}, 1, 8 * MEGABYTE, base="sgd_ref") == "no memory"


def test_integers_are_read_at_their_addresses() -> None:
    @numba.njit
    def read(address: int) -> Any:
        return int64_at(address), int32_at(address), int32_at(address + 4)

    for value in (0, 1, -1, 1 << 40, -(1 << 40) - 5, (1 << 63) - 1, -(1 << 63)):
        memory = np.array([value])
        assert read(memory.ctypes.data) == (value, *memory.view(np.int32).tolist())


@pytest.mark.skipif(not (IS_X86 or IS_ARM), reason="how the mode of this processor is set is not known here")
def test_a_kernel_notices_and_leaves_the_mode_of_its_thread() -> None:
    @numba.njit
    def looked(bits: int) -> Any:
        first = enter_default_mode()
        _set_mode_of_rounding(DEFAULT_MODE | bits)
        mode = enter_default_mode()
        inside = thread_flushes_subnormals()
        leave_default_mode(mode)
        after = thread_flushes_subnormals()
        leave_default_mode(first)
        return inside, after, thread_flushes_subnormals()

    # Results, and on x86 operands by a bit of their own.
    for bits in (0x8000, 0x0040) if IS_X86 else (1 << 24,):
        assert looked(bits) == (False, True, False)
    assert looked(0) == (False, False, False)
