"""While only kernels may compute, the reference cannot."""

from __future__ import annotations

import numpy as np
import pytest

import sgd_ref
from numba_kernels.selfcheck.guard import FellBack, forbidden_functions, forbidden_methods, only_kernels
from sgd_ref import norm, optimizer, rule
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.trajectories import reference

PLAINEST = {axis: values[0] for axis, values in AXES.items()}


def test_every_formula_and_stage_is_forbidden() -> None:
    names = {function.__name__ for function in forbidden_functions()}
    assert {"descend", "accelerate", "average", "clip_by_value", "euclidean_norm", "to_dense"} <= names
    stages = {name for owner, name in forbidden_methods() if owner is optimizer.SGD}
    assert {"advance", "clip", "decay", "update", "average", "overwrite", "norm", "perform"} <= stages


@pytest.mark.parametrize("update", AXES["update"])
def test_the_reference_cannot_run(update: str) -> None:
    case = make_case(PLAINEST | {"update": update})
    with only_kernels(), pytest.raises(FellBack, match="sgd_ref"):
        reference.run(case)


def test_names_that_modules_have_imported_are_replaced() -> None:
    with only_kernels():
        with pytest.raises(FellBack, match="euclidean_norm"):
            optimizer.euclidean_norm([np.ones(2)], np.float64)
        with pytest.raises(FellBack, match="to_dense"):
            sgd_ref.SparseRows([0], np.ones((1, 2)), (2, 2)).to_dense()


def test_everything_is_restored() -> None:
    before = rule.descend, norm.euclidean_norm, optimizer.euclidean_norm, vars(optimizer.SGD)["perform"]
    with pytest.raises(RuntimeError, match="on purpose"), only_kernels():
        raise RuntimeError("on purpose")
    assert before == (
        rule.descend,
        norm.euclidean_norm,
        optimizer.euclidean_norm,
        vars(optimizer.SGD)["perform"],
    )
