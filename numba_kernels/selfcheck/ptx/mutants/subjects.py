"""The kernels that mutants are made of, each with cases that reach it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.making import dense_case, random_numbers
from numba_kernels.selfcheck.ptx.checks.working import Way
from numba_kernels.shared.element import ACCUMULATED, CLASSIC, DIVIDED, NESTEROV, NO_MOMENTUM, PLAIN, Variant
from sgd_ref import schedules
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from sgd_ref.conformance.catalogue.case import Case

SHAPES = (1,), (7,), (17,), (33,), (203,), (5, 3)

MANY = (*SHAPES, (2048,), (2, 3, 4), (2, 1, 3, 2, 2), *[(3,)] * 7)
"""More chunks than the device has room for blocks; one chunk ends where all threads have read whole
packets."""

SCHEDULE = schedules.CosineDecay(0.1, 7)

PLAINEST = Variant(NO_MOMENTUM, PLAIN, averages=False)
DIVIDING = Variant(CLASSIC, DIVIDED, averages=False)
FULLEST = Variant(NESTEROV, ACCUMULATED, averages=True)


class Subject(NamedTuple):
    """A case with the kernels that it is for.

    Attributes
    ----------
    kernels : tuple of str
    case : Case
    ways : tuple of Way
        The ways in which it is run: a mutant counts as noticed if one of them shows it.
    """

    kernels: tuple[str, ...]
    case: Case
    ways: tuple[Way, ...]


IN_ORDER, OVERTAKING, EXACTLY = Way(), Way(in_random_order=True), Way("numba", True, True)

Row = tuple[tuple[str, ...], Variant, Any, dict[str, Any], tuple[Way, ...]]

SUBJECTS: tuple[Row, ...] = (
    (("update_float32_nesterov_accumulated_averages",), FULLEST, FLOAT32, {}, (IN_ORDER,)),
    (("update_bfloat16_nesterov_accumulated_averages",), FULLEST, BFLOAT16, {}, (IN_ORDER,)),
    (("update_float16_nesterov_accumulated_averages",), FULLEST, FLOAT16, {}, (IN_ORDER,)),
    (("update_float64_nesterov_accumulated_averages",), FULLEST, FLOAT64, {}, (OVERTAKING,)),
    (("update_bfloat16_no_momentum_plain",), PLAINEST, BFLOAT16, {"learning_rate": SCHEDULE}, (IN_ORDER,)),
    (("gather_float32_float32", "scatter_float32"), PLAINEST, FLOAT32, {}, (Way("gaps"),)),
    (
        ("sum_float64_1_compensated", "decide_float64_each", "exact_float64_1", "finish_float64_each"),
        DIVIDING,
        FLOAT64,
        {"clipnorm": 0.5},
        (OVERTAKING, EXACTLY),
    ),
    (("sum_bfloat16_0_plain",), PLAINEST, BFLOAT16, {"global_clipnorm": 0.5}, (OVERTAKING,)),
)


def subjects(extent: Extent) -> Iterator[Subject]:
    """Yield all subjects."""
    for kernels, variant, dtype, others, ways in SUBJECTS:
        identifier = f"mutants/{kernels[0]}"
        generator = random_numbers(extent, identifier)
        yield Subject(kernels, dense_case(identifier, variant, MANY, dtype, generator, **others), ways)
