"""Steps that are judged one by one: in those with a norm that overflows, it may have been kept wider."""

from __future__ import annotations

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.conformance import Case
from sgd_ref.conformance.bounds.running_error.following import Follower
from sgd_ref.conformance.deviations import Basis

W = np.array([0.5, -1.0], "f2")


@pytest.mark.parametrize(("clipping", "narrow"), [("clipnorm", 0.0), ("global_clipnorm", np.nan)])
def test_a_norm_that_overflows_may_be_kept_wider(clipping: str, narrow: float) -> None:
    g = np.array([65504.0, -65504.0], "f2")
    config = SGD(1.0, **{clipping: 0.5}).get_config()
    clipped = np.array([0.5, -0.5]) / 2**0.5
    for taken, is_possible in ((clipped, True), (narrow, True), (-clipped, False), (clipped / 2, False)):
        follower = Follower(Case("a", config, ("w",), (W,), ()), Basis())
        after = {"variables": [(W - taken).astype("f2")]}
        violation, is_exact = follower.follow({"variables": [W]}, [g], 1.0, after)
        assert (violation is None) == is_possible, taken
        assert is_exact == (taken is narrow)


def test_velocities_that_are_not_seen_are_carried_on_with_either_norm() -> None:
    """The velocity after the first step is -0.35 with a norm in float32, and 0 with one in float16."""
    config = SGD(1.0, momentum=0.5, clipnorm=0.5).get_config()
    overflowing, small = np.array([65504.0, -65504.0], "f2"), np.array([0.25, 0.0], "f2")
    for velocity in (np.array([-0.5, 0.5]) / 2**0.5, np.zeros(2)):
        follower = Follower(Case("a", config, ("w",), (W,), ()), Basis())
        first = (W + velocity).astype("f2")
        second = (first + 0.5 * velocity - small).astype("f2")
        assert follower.follow({"variables": [W]}, [overflowing], 1.0, {"variables": [first]})[0] is None
        found, _ = follower.follow({"variables": [first]}, [small], 1.0, {"variables": [second]})
        assert found is None
        wrong = {"variables": [(second + np.array([0.25, 0.0])).astype("f2")]}
        assert follower.follow({"variables": [first]}, [small], 1.0, wrong)[0] is not None


def test_a_norm_that_fits_its_dtype_has_one_reading() -> None:
    config = SGD(1.0, clipnorm=0.5).get_config()
    follower = Follower(Case("a", config, ("w",), (W.astype("f8"),), ()), Basis())
    assert len(follower.optimizers) == 1
