"""Structures about the number of elements and of axes of a variable."""

from __future__ import annotations

from sgd_ref.conformance.catalogue.structure.building import Shape, Structure

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23)

SMALL_POWERS = (2, 4, 8, 16, 32, 64)


def around(*powers: int) -> dict[str, Shape]:
    """Return flat variables with one element less than each number, with just as many, and with one more.

    >>> around(4)
    {'size_3': (3,), 'size_4': (4,), 'size_5': (5,)}
    """
    sizes = {size for power in powers for size in (power - 1, power, power + 1)}
    return {f"size_{size}": (size,) for size in sorted(sizes)}


SIZES = (
    Structure(
        "sizes-prime",
        "Numbers of elements that no block divides.",
        {f"size_{size}": (size,) for size in PRIMES},
        exposes=("tail-skipped", "last-element-skipped"),
    ),
    Structure(
        "sizes-to-65",
        "Numbers of elements around all powers of two to 64.",
        around(*SMALL_POWERS),
        calls=2,
        exposes=("tail-skipped", "last-whole-block-skipped", "last-block-updated-twice"),
    ),
    Structure(
        "sizes-around-128",
        "Numbers of elements around 128.",
        around(128),
        calls=2,
        exposes=("last-whole-block-skipped", "last-block-updated-twice"),
    ),
    Structure(
        "sizes-around-256",
        "Numbers of elements around 256, the threads of a block on many devices.",
        around(256),
        calls=2,
        exposes=("elements-past-a-block-skipped", "last-block-updated-twice"),
    ),
    Structure(
        "size-1025",
        "One element more than 1024.",
        {"size_1025": (1025,), "size_3": (3,)},
        calls=2,
        exposes=("large-variables-skipped", "elements-past-a-block-skipped"),
    ),
)

AXES = (
    Structure(
        "axes-three",
        "Arrays of three axes, all of different length. Treated otherwise: "
        "https://github.com/salesforce/jaxformer/issues/28, https://github.com/microsoft/dion/pull/121.",
        {"kernel": (2, 4, 3), "bias": (3,)},
        exposes=("three-axes-in-memory-order", "first-matrix-only"),
    ),
    Structure(
        "axes-four",
        "Arrays of four axes, all of different length, as convolutions have them.",
        {"kernel": (3, 2, 4, 5), "bias": (5,)},
        calls=2,
        exposes=("three-axes-in-memory-order", "first-matrix-only"),
    ),
    Structure(
        "axes-five",
        "Arrays of five axes, all of different length, as convolutions in space have them.",
        {"kernel": (2, 1, 3, 5, 4), "bias": (4,)},
        calls=2,
        exposes=("three-axes-in-memory-order", "more-than-four-axes-skipped"),
    ),
    Structure(
        "axes-six",
        "Arrays of six axes, some of length 1.",
        {"kernel": (2, 1, 2, 3, 1, 4), "bias": (4,)},
        calls=2,
        exposes=("three-axes-in-memory-order", "more-than-four-axes-skipped"),
    ),
)

EQUAL_LENGTHS = (
    Structure(
        "square-matrices",
        "Square matrices, of which no shape shows that one is transposed.",
        {"kernel": (4, 4), "twin": (4, 4), "large": (7, 7), "bias": (4,)},
        exposes=("square-gradient-transposed",),
        exposes_with_momentum=("square-velocity-transposed",),
    ),
    Structure(
        "cubes",
        "Arrays of three and four axes, all of one length.",
        {"kernel": (3, 3, 3), "twin": (3, 3, 3), "deep": (2, 2, 2, 2), "bias": (3,)},
        exposes=("cube-gradient-reversed", "three-axes-in-memory-order"),
    ),
    Structure(
        "axes-of-one",
        "Arrays of several axes, of which some have length 1, in every position.",
        {"row": (1, 5), "column": (5, 1), "filter": (1, 3, 1, 2), "twin": (1, 5), "between": (2, 1, 3)},
        exposes=("axis-of-one-taken-for-broadcast",),
    ),
)

EMPTY = (
    Structure(
        "empty-first",
        "A variable without elements stands before the others.",
        {"nothing": (0,), "kernel": (3, 2), "twin": (3, 2), "bias": (2,)},
        exposes=("empty-ends-the-loop",),
        exposes_with_momentum=("empty-shifts-velocities",),
    ),
    Structure(
        "empty-between",
        "A variable without elements stands between the others, and has two axes.",
        {"kernel": (3, 2), "nothing": (0, 2), "twin": (3, 2), "other": (3, 2), "bias": (2,)},
        exposes=("empty-ends-the-loop",),
        exposes_with_momentum=("empty-shifts-velocities",),
    ),
    Structure(
        "empty-last",
        "A variable without elements stands after the others.",
        {"kernel": (3, 2), "twin": (3, 2), "nothing": (2, 0)},
        exposes=("empty-last-loses-the-launch", "last-gradient-of-each-shape"),
        exposes_with_momentum=("velocity-by-shape",),
    ),
    Structure(
        "empty-in-a-row",
        "Several variables without elements stand side by side, of one, two and three axes.",
        {
            "none": (0,),
            "nil": (2, 0, 3),
            "kernel": (4,),
            "zero": (0, 0),
            "void": (0,),
            "twin": (4,),
            "other": (4,),
        },
        exposes=("empty-ends-the-loop",),
        exposes_with_momentum=("empty-shifts-velocities",),
    ),
)

SCALARS = (
    Structure(
        "scalar-first",
        "A variable without axes stands before the others.",
        {"scale": (), "kernel": (3, 2), "bias": (2,)},
        exposes=("scalars-skipped",),
    ),
    Structure(
        "scalars",
        "Several variables without axes stand between the others, and at the end.",
        {"kernel": (3, 2), "scale": (), "bias": (2,), "shift": (), "slope": ()},
        calls=4,
        exposes=("scalars-skipped",),
        exposes_with_momentum=("scalars-share-a-velocity",),
    ),
)

STRUCTURES = (*SIZES, *AXES, *EQUAL_LENGTHS, *EMPTY, *SCALARS)
