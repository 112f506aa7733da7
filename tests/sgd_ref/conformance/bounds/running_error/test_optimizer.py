"""The roundings of a norm that is kept in a wider dtype than its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance.bounds.running_error.array import termed
from sgd_ref.conformance.bounds.running_error.optimizer import composed
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.deviations.forms import WholeNorms

LARGEST = np.array([65504.0], "f2")


@pytest.mark.parametrize("left_out", [0, 2**20])
def test_a_norm_that_is_kept_in_float64_may_have_been_added_in_float32(left_out: int) -> None:
    """Each addition may be wrong by half a unit of float32, also those of the elements left out."""
    rule, _ = composed(frozenset(), Basis(forms=(WholeNorms,)), keeps_norm=True)
    optimizer: Any = rule(1.0, global_clipnorm=0.5)
    optimizer._made, optimizer._with_gradients = 0, 1
    optimizer.others, optimizer.left_out = [LARGEST], left_out
    norm = optimizer.norm([termed(LARGEST)])
    assert norm.dtype == np.float64
    assert float(norm) == pytest.approx(65504 * 2**0.5, rel=2.0**-50)
    assert left_out * 2.0**-24 < norm.roundings * 2.0**-53 < left_out * 2.0**-24 + 2.0**-8
