"""Cases that each test one sentence of ``golden/README.md``: a program that breaks it gives other bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, FORMATS, Array
from sgd_ref.conformance.catalogue.case import Case, LossScaling, State
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.catalogue.numbers import readonly
from sgd_ref.gradients import SparseRows

NAME = "sentences"

CALLS_BEFORE = 4

Gradient = Array | SparseRows | None

ONCE = "The setting is rounded once; by way of float32 it would be rounded down twice."


def sentence_cases() -> Iterator[Case]:
    """Yield the cases, always the same: one call each, from a given state.

    >>> next(sentence_cases()).id
    'resume/sentences/learning_rate-by-way-of-float32/float16'
    """
    for dtype in (FLOAT16, BFLOAT16):
        yield from _settings_of_half_types(dtype)
    yield from _sparse_rows()
    yield from _global_norms()
    yield from _loss_scales()


def above_tie(dtype: np.dtype[Any]) -> float:
    """Return a number just above the midpoint of two numbers of a half type; in float32 it is the midpoint.

    >>> above_tie(BFLOAT16) == 0.5 * (1 + 2.0**-8 + 2.0**-40)
    True
    """
    return 0.5 * (1 + 2.0 ** -FORMATS[dtype].precision + 2.0**-40)


def _settings_of_half_types(dtype: np.dtype[Any]) -> Iterator[Case]:
    value = above_tie(dtype)
    zeros, ones, halves = (np.full(2, number, dtype) for number in (0.0, 1.0, 0.5))
    # One of its elements is 0, so that a norm of 1 is that of the other one.
    unit = np.array([1.0, 0.0], dtype)
    yield _case(
        f"learning_rate-by-way-of-float32/{dtype}",
        "The learning rate, alone among the settings, is rounded to float32 first.",
        [zeros],
        [ones],
        learning_rate=value,
    )
    yield _case(f"momentum/{dtype}", ONCE, [ones], [zeros], velocities=[ones], momentum=value)
    yield _case(f"weight_decay/{dtype}", ONCE, [ones], [zeros], weight_decay=value)
    yield _case(
        f"ema_momentum/{dtype}", ONCE, [zeros], [zeros], averages=[ones], use_ema=True, ema_momentum=value
    )
    yield _case(f"clipvalue/{dtype}", ONCE, [zeros], [ones], clipvalue=value)
    yield _case(f"clipnorm/{dtype}", ONCE, [zeros], [unit], clipnorm=value)
    yield _case(f"global_clipnorm/{dtype}", ONCE, [zeros], [unit], global_clipnorm=value)
    yield _case(
        f"reciprocal-of-global_clipnorm/{dtype}",
        "The reciprocal of the limit is rounded once; by way of float32 it would be rounded down twice.",
        [zeros],
        [halves],
        global_clipnorm=1 / value,
    )


def _sparse_rows() -> Iterator[Case]:
    yield _case(
        "first-row-is-copied",
        "A row that occurs once is copied: -0.0 stays -0.0, which it would not if it were added to 0.0.",
        [np.full((2, 1), -0.0, np.float32)],
        [_rows([1], [-0.0], FLOAT32)],
    )
    for dtype, narrow, small in (
        (FLOAT32, BFLOAT16, 2.0**-10),
        (FLOAT32, FLOAT16, 2.0**-13),
        (FLOAT64, FLOAT32, 2.0**-30),
    ):
        yield _case(
            f"narrow-duplicates-are-added-in/{dtype}/from-{narrow}",
            "The sum of the two rows is a number of the dtype of the variable, but not of their own.",
            [np.zeros((2, 1), dtype)],
            [_rows([1, 1], [1.0, small], narrow)],
        )


def _global_norms() -> Iterator[Case]:
    # The norm is 2, and half of the limit times 1 + 2**-10 is so near to the middle of two numbers of
    # float16 that it becomes that middle in float32.
    yield _case(
        "clipped-gradient-is-rounded-twice",
        "The product of gradient and global factor is rounded to the wider dtype and then to that of the "
        "variable.",
        [np.zeros(1, FLOAT16), np.zeros(1, FLOAT32)],
        [np.array([1 + 2.0**-10], FLOAT16), np.array([np.sqrt(4 - (1 + 2.0**-10) ** 2)], FLOAT32)],
        global_clipnorm=float.fromhex("0x1.001ff8p+0"),
    )
    yield _case(
        "global-norm-without-the-missing",
        "A variable that has no gradient does not make the dtype of the global norm a wider one.",
        [np.zeros(3, FLOAT16), np.zeros(1, FLOAT32)],
        [np.array([1.1, 0.7, -2.3], FLOAT16), None],
        global_clipnorm=0.7,
    )


def _loss_scales() -> Iterator[Case]:
    for dtype in (FLOAT16, FLOAT32):
        largest = float(FORMATS[dtype].largest)
        yield _case(
            f"rows-whose-sum-overflows/{dtype}",
            "Each row is finite and their sum is not: the call is skipped, and the scale halved.",
            [np.ones((2, 1), dtype)],
            [_rows([0, 0], [largest, largest], dtype)],
            loss_scaling=LossScaling(8.0, 3),
        )
    yield _case(
        "rows-whose-sum-overflows-narrowly",
        "The sum of the rows is finite in the dtype of the variable, not in their own: nothing is skipped.",
        [np.ones((2, 1), FLOAT32)],
        [_rows([0, 0], [65504.0, 65504.0], FLOAT16)],
        loss_scaling=LossScaling(8.0, 3),
    )
    yield _case(
        "initial-scale-is-a-float32",
        "The scale is a float32 also where gradients of float64 are divided by it.",
        [np.zeros(2, FLOAT64)],
        [np.array([1.0, -3.0])],
        loss_scaling=LossScaling(1000.1, 3),
    )


def _rows(indices: list[int], values: list[float], dtype: np.dtype[Any]) -> SparseRows:
    """Return rows of one element of a gradient of two rows."""
    rows = SparseRows(indices, readonly(np.array(values, dtype).reshape(-1, 1)), (2, 1))
    readonly(rows.indices)
    return rows


def _case(
    name: str,
    notes: str,
    variables: Sequence[Array],
    gradients: Sequence[Gradient],
    *,
    velocities: Sequence[Array] = (),
    averages: Sequence[Array] = (),
    loss_scaling: LossScaling | None = None,
    **settings: Any,
) -> Case:
    for array in (*variables, *gradients, *velocities, *averages):
        if isinstance(array, np.ndarray):
            readonly(array)
    return Case(
        id=f"resume/{NAME}/{name}",
        config=PLAIN_CONFIG | {"learning_rate": 1.0} | settings,
        names=tuple(f"w{position}" for position in range(len(variables))),
        variables=tuple(variables),
        gradients=(tuple(gradients),),
        state=State(CALLS_BEFORE, tuple(velocities), tuple(averages)),
        loss_scaling=loss_scaling,
        notes=notes,
    )
