"""The counts of instructions of the CUDA kernels, as ``sgd-ref regenerate`` writes them."""

from __future__ import annotations

from sgd_ref.command.recipes.recipe import Recipe

RECIPE = Recipe(
    "machine-code",
    ("-m", "numba_kernels.selfcheck.machine_code.cuda", "--update"),
    writes=("numba_kernels/selfcheck/machine_code/cuda/pins.json",),
    duration="minutes",
    extras=("cuda", "cuda-code"),
)
