"""The page of benchmarks on CPUs, as ``sgd-ref regenerate`` writes it."""

from __future__ import annotations

from sgd_ref.command.recipes.recipe import Recipe

FOLDER = "numba_kernels/benchmarks/results"

RECIPE = Recipe(
    "benchmarks",
    ("-m", "sgd_ref.command.main", "bench", "--page"),
    writes=tuple(
        f"{FOLDER}/{name}"
        for name in ("benchmarks.md", "benchmarks.json", "history.json", "benchmarks-*.svg")
    ),
    duration="a quarter to half an hour, on a machine that does nothing else",
    extras=("bench", "keras", "torch"),
    is_measured=True,
)
