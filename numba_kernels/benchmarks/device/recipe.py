"""The page of benchmarks on a CUDA device, as ``sgd-ref regenerate`` writes it."""

from __future__ import annotations

from numba_kernels.benchmarks.recipe import FOLDER
from sgd_ref.command.recipes.recipe import Recipe


def _obstacle() -> str | None:
    # A machine without a device may lack numba-cuda.
    from numba_kernels.benchmarks.device.runner import why_not

    return why_not()


RECIPE = Recipe(
    "benchmarks-cuda",
    ("-m", "sgd_ref.command.main", "bench", "--device", "cuda", "--page"),
    writes=(f"{FOLDER}/benchmarks_cuda.md", f"{FOLDER}/benchmarks_cuda.json"),
    duration="a quarter of an hour, with a CUDA device that does nothing else",
    extras=("cuda", "keras", "torch"),
    is_measured=True,
    obstacle=_obstacle,
)
