"""Structures about the layout of variables and gradients in memory, which no result depends on."""

from __future__ import annotations

from sgd_ref.conformance.catalogue.structure.building import Structure

SHAPES = {"kernel": (3, 5), "twin": (3, 5), "other": (3, 5), "cube": (2, 3, 4), "bias": (5,)}
BY_VARIABLE = ("kernel", "other", "cube", "bias")
BY_GRADIENT = ("twin", "other", "cube", "bias")


def _both(layout: str, notes: str, *exposes: str) -> Structure:
    """Return the structure in which variables and gradients have a layout: one of them alone, or both."""
    return Structure(
        f"layout-{layout}",
        notes,
        SHAPES,
        calls=2,
        variable_layouts=dict.fromkeys(BY_VARIABLE, layout),
        gradient_layouts=dict.fromkeys(BY_GRADIENT, layout),
        exposes=exposes,
    )


STRUCTURES = (
    _both(
        "transposed",
        "Matrices lie in memory column by column: the variable, its gradient, or both. Taken for alike: "
        "https://github.com/ROCm/apex/pull/97.",
        "layouts-taken-for-alike",
        "strides-of-gradient-ignored",
        "copy-of-variable-updated",
    ),
    _both(
        "strided",
        "Arrays are every second element of larger ones. Other results by other strides: "
        "https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1185.",
        "strides-of-gradient-ignored",
        "copy-of-variable-updated",
    ),
    _both(
        "reversed",
        "Arrays run backwards in memory: their strides are negative.",
        "signs-of-strides-ignored",
        "strides-of-gradient-ignored",
        "copy-of-variable-updated",
    ),
    _both(
        "offset",
        "Arrays begin within larger ones, where no vector register is aligned.",
        "start-within-memory-ignored",
    ),
    Structure(
        "layout-broadcast",
        "Gradients hold equal elements once: they are read-only, and some of their strides are 0.",
        {"kernel": (3, 5), "table": (4, 3), "bias": (5,), "cube": (2, 3, 4), "dense": (5,)},
        calls=2,
        gradient_layouts=dict.fromkeys(("kernel", "table", "bias", "cube"), "broadcast"),
        equal_along={"kernel": (0,), "table": (1,), "bias": (0,), "cube": (0, 2)},
        exposes=("strides-of-gradient-ignored", "first-of-broadcast-only"),
    ),
)
