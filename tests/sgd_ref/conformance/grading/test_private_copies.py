"""What an implementation does to its case reaches nobody else, and is found where it matters."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from sgd_ref import SparseRows
from sgd_ref.conformance import Case, cases, check
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.diagnosis.replay import replayed
from sgd_ref.conformance.grading.check import grade, private_copy
from sgd_ref.conformance.trajectories import reference

Records = list[dict[str, Any]]

PLAIN = make_case(PLAINEST)
SPARSE = make_case(PLAINEST | {"gradients": "sparse"})
CASES = [PLAIN, SPARSE, make_case(PLAINEST | {"dtype": "mixed", "loss_scaling": "dynamic"})]


def first_gradient(case: Case) -> Any:
    return next(gradient for gradient in case.gradients[0] if gradient is not None)


def changes_a_gradient(case: Case) -> Records:
    records = reference.run(case)
    gradient = first_gradient(case)
    values = gradient.values if isinstance(gradient, SparseRows) else gradient
    values.reshape(-1)[0] += values.dtype.type(1)
    return records


def changes_indices(case: Case) -> Records:
    records = reference.run(case)
    gradient = first_gradient(case)
    if isinstance(gradient, SparseRows):
        gradient.indices[0] = (gradient.indices[0] + 1) % gradient.shape[0]
    return records


def test_whoever_changes_gradients_is_found() -> None:
    for verdict in check(changes_a_gradient, CASES).verdicts.values():
        assert (verdict.grade, verdict.message) == ("error", "it changed the gradients that it was given")
    assert grade(changes_indices, SPARSE).message == "it changed the gradients that it was given"
    assert grade(changes_indices, PLAIN).grade == "exact"


def changes_the_config(case: Case) -> Records:
    records = reference.run(case)
    case.config.clear()
    case.config["learning_rate"] = 7.0
    if case.features is not None:
        case.features.clear()
    for variable in case.variables:
        variable[...] = 0
    return records


def test_nobody_else_sees_what_one_changes_in_a_case() -> None:
    case = PLAIN
    config, features = dict(case.config), dict(case.features or {})
    kernel = case.variables[0].tobytes()
    assert check(changes_the_config, CASES).ok
    assert (case.config, case.features, case.variables[0].tobytes()) == (config, features, kernel)
    assert check(reference.run, [case]).ok


def test_a_private_copy_is_equal_and_belongs_to_nobody_else() -> None:
    case = make_case(PLAINEST | {"gradients": "sparse", "loss_scaling": "dynamic"})
    copy = private_copy(case)
    for mine, theirs in zip(case.variables, copy.variables, strict=True):
        assert mine.tobytes() == theirs.tobytes()
        assert theirs.flags.writeable
        assert not np.shares_memory(mine, theirs)
    assert (copy.id, copy.config, copy.loss_scaling) == (case.id, case.config, case.loss_scaling)
    assert copy.config is not case.config


def test_the_search_for_a_mistake_changes_no_case() -> None:
    """Known mistakes that write over gradients are tried on cases of a user, whose arrays are writable."""
    kept = next(case for case in cases("first") if case.id == "first/dynamic-loss-scale")
    case = copy.deepcopy(kept)
    (verdict,) = check(lambda given: replayed(given, ["scale-never-grows"]), [case]).verdicts.values()
    assert str(verdict.diagnosis) == "it equals scale-never-grows"
    for before, after in zip(kept.gradients, case.gradients, strict=True):
        for old, new in zip(before, after, strict=True):
            assert isinstance(old, np.ndarray)
            assert isinstance(new, np.ndarray)
            assert old.tobytes() == new.tobytes()
            assert new.flags.writeable
