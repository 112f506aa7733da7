"""The number of blocks and of threads, and the order in which they work, change no bit."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda.host import program
from numba_kernels.cuda.host.device_state import DeviceState
from numba_kernels.cuda.toolkit import IS_SIMULATED

pytestmark = pytest.mark.skipif(not IS_SIMULATED, reason="launches with grids that a device would not take")


pairs = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "pairs.py")))
EVERYTHING, Pair, numbers = pairs.EVERYTHING, pairs.Pair, pairs.numbers
every_dtype = pytest.mark.parametrize("dtype", pairs.DTYPES, ids=lambda dtype: dtype.name)

SHAPES = [(95,), (3, 15), (2,)]


def on_a_grid(monkeypatch: pytest.MonkeyPatch, blocks: int, threads: int) -> list[tuple[str, int, int]]:
    """Launch on as many blocks, and where a kernel can do with any number, as many threads."""
    original = DeviceState.launch
    seen: list[tuple[str, int, int]] = []

    def launch(state: DeviceState, launches: Any, handle: int, gradients: Any = ()) -> None:
        changed = []
        for kernel, given_blocks, given_threads, arguments in launches:
            # A block for each norm, and one thread that finishes them.
            is_free = not kernel.name.startswith(("decide_", "finish_", "prepare"))
            # Sums of a block need as many threads as they were compiled for.
            any_threads = is_free and not kernel.name.startswith("sum_")
            grid = (blocks if is_free else given_blocks, threads if any_threads else given_threads)
            seen.append((kernel.name, *grid))
            changed.append((kernel, *grid, arguments))
        original(state, changed, handle, gradients)

    monkeypatch.setattr(DeviceState, "launch", launch)
    return seen


@pytest.mark.share(3)
@every_dtype
@pytest.mark.parametrize(("blocks", "threads"), [(1, 1), (2, 2), (3, 8), (7, 3)])
@pytest.mark.parametrize("is_exact", [False, True])
def test_bits_do_not_depend_on_the_grid(
    dtype: Any, blocks: int, threads: int, is_exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_exact:
        monkeypatch.setattr(program, "error_of_sum", lambda *sizes: 1 - 2.0**-20)
    seen = on_a_grid(monkeypatch, blocks, threads)
    generator = np.random.default_rng(1)
    settings = EVERYTHING | {"loss_scale_factor": None, "gradient_accumulation_steps": None}
    variables = [numbers(generator, shape, dtype) for shape in SHAPES]
    pair = Pair(variables, layout=pairs.with_gaps, scaling=(8.0, 2), **settings)
    for call in range(3):
        gradients = [numbers(generator, shape, dtype) for shape in SHAPES]
        if call == 1:
            gradients[0][77] = np.inf
        pair.apply(gradients)
    kinds = {name.split("_")[0] for name, *grid in seen if grid == [blocks, threads]}
    assert kinds >= {"update", "exact", "gather", "scatter"}


@pytest.mark.share(3)
@every_dtype
@pytest.mark.usefixtures("both_orders")
@pytest.mark.parametrize("clipping", ["clipnorm", "global_clipnorm"])
def test_bits_do_not_depend_on_the_order_of_threads(
    dtype: Any, clipping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "error_of_sum", lambda *sizes: 1 - 2.0**-20)
    generator = np.random.default_rng(2)
    settings = EVERYTHING | {"global_clipnorm": None, clipping: 0.5}
    pair = Pair([numbers(generator, shape, dtype) for shape in SHAPES], **settings)
    for _ in range(4):
        pair.apply([numbers(generator, shape, dtype) for shape in SHAPES])
