"""Faithful ways to clip whose products or quotients leave the range of the dtype."""

from __future__ import annotations

import numpy as np
import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.bounds.running_error.array import allowance, termed
from sgd_ref.conformance.bounds.running_error.judging import fit
from sgd_ref.conformance.bounds.running_error.orders import in_other_orders
from sgd_ref.conformance.faithful import FAITHFUL

BY_ID = {case.id: case for case in cases()}
OVERFLOW = "named/narrow/clipnorm-of-an-overflow/"


@pytest.mark.parametrize(
    ("name", "case_id"),
    [
        *(("clip-by-excess", OVERFLOW + dtype) for dtype in ("float16", "bfloat16", "float32", "float64")),
        ("global-clip-divided", "named/squares-underflow"),
        ("global-clip-by-reciprocal", "named/squares-underflow"),
    ],
)
def test_a_faithful_variant_fits(name: str, case_id: str) -> None:
    assert fit(BY_ID[case_id], (), FAITHFUL[name].run(BY_ID[case_id])).fits


def test_where_nothing_leaves_the_range_nothing_is_allowed() -> None:
    g, norm, limit = np.array([3.0, -0.5], np.float32), np.float32(4), np.float32(2)
    before = termed(g * limit / norm, roundings=2)
    found = in_other_orders(before, g, norm, limit)
    assert allowance(found).tobytes() == allowance(before).tobytes()
    assert found.tobytes() == before.tobytes()


def test_each_element_by_itself() -> None:
    g = np.array([2.0**-20, 1.0, 0.0], np.float16)
    norm, limit = np.float16(4), np.float16(2.0**-6)
    found = in_other_orders(termed(np.zeros(3, np.float16), roundings=1), g, norm, limit)
    assert found.terms.tolist() == [2.0**-14 / 4 / 2, 0.0, 0.0]


def test_a_norm_that_is_not_finite_allows_nothing_more() -> None:
    before = termed(np.full(2, np.nan, np.float16))
    found = in_other_orders(before, np.ones(2, np.float16), np.float16(np.inf), np.float16(1))
    assert found is before
