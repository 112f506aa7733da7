"""Structures about the number of variables, and about variables that look alike."""

from __future__ import annotations

import numpy as np

from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64, Array
from sgd_ref.conformance.catalogue.structure.building import WITH_MOMENTUM, Form, Shape, Structure


def numbered(count: int, *shapes: Shape) -> dict[str, Shape]:
    """Return variables with numbered names, and with some shapes in turn.

    >>> numbered(3, (2,), (1,))
    {'variable_0': (2,), 'variable_1': (1,), 'variable_2': (2,)}
    """
    return {f"variable_{index}": shapes[index % len(shapes)] for index in range(count)}


def _equal_first_values(values: Array) -> Array:
    """Return 1/4 everywhere."""
    return np.full_like(values, 0.25)


ONE_VARIABLE = Structure(
    "one-variable",
    "There is one variable alone.",
    {"weights": (7,)},
    exposes=("last-variable-skipped", "ascends"),
)

ONE_ELEMENT = Structure(
    "one-element",
    "Shape (1,) is a shape like any other: variables of one element beside a longer one.",
    {"gain": (1,), "weights": (5,), "shift": (1,), "corner": (1, 1)},
    exposes=("one-element-skipped",),
)

EQUAL_SHAPES = Structure(
    "equal-shapes",
    "Variables of one shape and dtype have each a velocity of its own. Shared velocities: "
    "https://github.com/ddbourgin/numpy-ml/pull/96.",
    {
        "dense_kernel": (4, 3),
        "dense_bias": (3,),
        "twin_kernel": (4, 3),
        "other_kernel": (4, 3),
        "twin_bias": (3,),
    },
    calls=4,
    exposes=("last-gradient-of-each-shape", "gradients-in-order-of-names"),
    exposes_with_momentum=("velocity-by-shape",),
)

MISSING_FIRST = Structure(
    "equal-shapes-missing-first",
    "A missing gradient does not shift the velocities of the variables after it. Velocities by position in "
    "the map of gradients: https://github.com/tensorflow/tfjs/issues/8379.",
    {"kernel_0": (3, 2), "kernel_1": (3, 2), "kernel_2": (3, 2), "bias": (2,)},
    calls=5,
    missing=lambda call, position: position == 0 and call in (1, 3),
    exposes=("missing-ends-the-loop",),
    exposes_with_momentum=("velocity-by-place-among-gradients",),
)

MISSING_IN_TURN = Structure(
    "equal-shapes-missing-in-turn",
    "In each call another variable of equal shape has no gradient.",
    numbered(4, (3,)),
    calls=6,
    missing=lambda call, position: call % 4 == position,
    exposes=("missing-ends-the-loop", "last-gradient-of-each-shape"),
    exposes_with_momentum=("velocity-by-place-among-gradients", "velocity-by-shape"),
)

EQUAL_VALUES = Structure(
    "equal-values",
    "Variables that begin with equal values are two variables all the same.",
    {"first": (3,), "second": (3,), "matrix": (2, 2), "another": (2, 2)},
    calls=4,
    weights=_equal_first_values,
    exposes=("equal-values-taken-for-one", "last-variable-only"),
    exposes_with_momentum=("velocity-by-shape",),
)

EQUAL_SIZES = Structure(
    "equal-sizes",
    "Variables of equal size have different shapes.",
    {"wide": (2, 6), "tall": (6, 2), "flat": (12,), "deep": (2, 3, 2), "square": (3, 4)},
    exposes=("gradient-in-other-layout",),
    exposes_with_momentum=("velocity-by-size",),
)

MANY = tuple(
    Structure(
        f"variables-{count}",
        f"There are {count} small variables, more than a launch for many tensors takes at once.",
        numbered(count, (2,), (1,)),
        calls=2,
        exposes=exposes,
        exposes_with_momentum=("velocity-by-shape",),
    )
    for count, exposes in (
        (34, ("last-launch-lost", "gradients-in-order-of-names")),
        (66, ("last-launch-lost", "later-launches-take-first-gradients")),
        (112, ("variables-above-slots-skipped", "later-launches-take-first-gradients")),
        (201, ("variables-above-slots-skipped", "last-launch-lost")),
    )
)

FULL = tuple(
    Structure(
        f"variables-{count}",
        f"There are {count} small variables, which fill launches for many tensors exactly.",
        numbered(count, (2,), (1,)),
        calls=2,
        exposes=exposes,
        exposes_with_momentum=("velocity-by-shape",),
    )
    for count, exposes in (
        (32, ("last-full-launch-lost", "full-launch-made-twice")),
        (64, ("last-full-launch-lost", "full-launch-made-twice")),
        (110, ("last-launch-lost", "later-launches-take-first-gradients")),
    )
)

SEVERAL_MISSING = Structure(
    "several-missing",
    "In each call several variables have no gradient, in every position.",
    numbered(6, (3,)),
    calls=6,
    missing=lambda call, position: (call + position) % 3 != 0,
    exposes=("second-missing-takes-the-last-gradient", "missing-ends-the-loop", "missing-shifts-gradients"),
    exposes_with_momentum=("second-missing-counts-as-zeros",),
)

NAMES_ALIKE = Structure(
    "names-alike",
    "Names differ in the case of a letter, or after many equal letters.",
    {
        "Kernel": (3,),
        "kernel": (3,),
        "encoder_attention_projection_kernel": (2, 2),
        "encoder_attention_projection_recurrent_kernel": (2, 2),
        "encoder_attention_projection_kernel_1": (2, 2),
    },
    calls=4,
    exposes=("last-gradient-of-each-shape", "gradients-in-order-of-names"),
    exposes_with_momentum=("velocity-by-name-in-lower-case", "velocity-by-start-of-name"),
)

NAMES_IN_PARTS = Structure(
    "names-in-parts",
    "Names are paths, of which some have the same last part, as the variables of layers have.",
    {
        "encoder/dense/kernel": (3,),
        "decoder/dense/kernel": (3,),
        "encoder/dense/bias": (2,),
        "decoder/dense/bias": (2,),
        "decoder/norm/bias": (2,),
    },
    calls=4,
    exposes=("last-gradient-of-each-shape", "gradients-in-order-of-names"),
    exposes_with_momentum=("velocity-by-last-part-of-name",),
)

RESUMED = Structure(
    "resumed",
    "A run resumes; each of many variables of equal shape gets back the velocity that it had.",
    numbered(12, (3,)),
    calls=2,
    forms=WITH_MOMENTUM,
    calls_before=5,
    exposes=(
        "velocities-lost-on-restore",
        "restored-in-order-of-names",
        "restored-by-shape",
        "only-first-restored",
    ),
)

OF_SINGLE = (
    Form("momentum", FLOAT32),
    Form("momentum", FLOAT64),
    Form("nesterov", FLOAT32),
    Form("nesterov", FLOAT64),
)
"""The forms whose dtypes hold velocities of many bits."""

RESUMED_FINE = Structure(
    "resumed-fine",
    "A run resumes with velocities that have more bits than a half type holds.",
    numbered(3, (3,)),
    calls=2,
    forms=OF_SINGLE,
    fine=dict.fromkeys(numbered(3, (3,)), 12),
    calls_before=5,
    exposes=("velocities-restored-through-half", "velocities-lost-on-restore"),
)

RESUMED_MISSING = Structure(
    "resumed-missing",
    "In the first call after a run resumes some variables have no gradient.",
    numbered(4, (3,)),
    calls=3,
    forms=WITH_MOMENTUM,
    missing=lambda call, position: call == 0 and position in (0, 2),
    calls_before=5,
    exposes=("missing-after-restore-counts-as-zeros", "velocities-lost-on-restore"),
)

STRUCTURES = (
    ONE_VARIABLE,
    ONE_ELEMENT,
    EQUAL_SHAPES,
    MISSING_FIRST,
    MISSING_IN_TURN,
    EQUAL_VALUES,
    EQUAL_SIZES,
    *MANY,
    *FULL,
    SEVERAL_MISSING,
    NAMES_ALIKE,
    NAMES_IN_PARTS,
    RESUMED,
    RESUMED_FINE,
    RESUMED_MISSING,
)
