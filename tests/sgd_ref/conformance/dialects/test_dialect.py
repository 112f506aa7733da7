"""An implementation is held to the rule that it declares: its own mistakes count, and are named beyond it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sgd_ref.conformance import Case, Profile, cases, check
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.faithful.combined import LoopOfTensors

Records = list[dict[str, Any]]

PYTORCH = Profile(rule="pytorch")

TELLING = [
    next(case for case in cases() if case.id == case_id)
    for case_id in (
        "axes/momentum/decay",
        "axes/nesterov",
        "axes/momentum/callable",
        "axes/momentum/clipnorm",
        "axes/momentum/global_clipnorm",
    )
]

BEYOND = (
    "ascends",
    "dampened",
    "velocity-not-kept",
    "moves-against-velocity",
    "nesterov-with-full-velocity",
    "decay-ignored",
    "norm-of-replicas",
)


def of(*names: str, base: Any = None) -> Any:
    """Return an implementation of PyTorch's rule with more deviations; it does not report velocities."""
    dialect = Dialect("pytorch")
    basis = dialect.basis() if base is None else Basis(dialect.names, base)

    def run(case: Case) -> Records:
        records = basis.run(case, names)
        return [{key: value for key, value in one.items() if key != "velocities"} for one in records]

    return run


def test_what_is_by_design_passes() -> None:
    assert check(of(), TELLING, profile=PYTORCH).count("exact") == len(TELLING)
    assert check(of(base=LoopOfTensors), TELLING, profile=PYTORCH).ok
    assert not check(of(), TELLING).ok


@pytest.mark.share(7)
@pytest.mark.parametrize("name", BEYOND)
def test_a_mistake_beyond_the_rule_counts_and_is_named_alone(name: str) -> None:
    report = check(of(name), TELLING, profile=PYTORCH)
    assert not report.ok
    diverging = [verdict for verdict in report.verdicts.values() if not verdict.passes]
    for verdict in diverging:
        assert verdict.diagnosis is not None
        assert (name,) in verdict.diagnosis.names, (verdict.case.id, str(verdict.diagnosis))
    # In some cases another mistake gives the same bits.
    of_run = [one for diagnosis in report.diagnoses.values() for names in diagnosis.names for one in names]
    assert of_run
    assert not set(of_run) & set(PYTORCH.dialect.names)


def test_names_are_added_to_a_rule() -> None:
    profile = Profile(rule="pytorch", by_design={"ascends"})
    assert check(of("ascends"), TELLING, profile=profile).ok
    assert str(profile.dialect) == "pytorch with ascends"
    alone = Profile(by_design=["rate-outside-velocity", "ascends"])
    assert str(alone.dialect) == "keras with ascends, rate-outside-velocity"
    assert alone.dialect.sources["ascends"] == "by design"


def test_where_the_rules_are_one_the_bounds_are_those_of_keras() -> None:
    plain = next(case for case in cases() if case.id == "axes/plain")
    assert not PYTORCH.dialect.differs_in(plain)

    def off_by_units(case: Case) -> Records:
        records = Dialect().basis().run(case)
        w = records[0]["variables"][0]
        w[(0,) * w.ndim] += 3 * np.spacing(np.abs(w).max())
        return records[:1] + records[1:]

    assert not check(off_by_units, [plain], profile=PYTORCH).ok


def test_state_that_is_off_stays_zero() -> None:
    case = next(case for case in cases() if case.id.startswith("axes/decay/") and not case.config["momentum"])
    assert PYTORCH.dialect.differs_in(case)

    def run(case: Case) -> Records:
        velocities = [np.ones_like(variable) for variable in case.variables]
        return [{**record, "velocities": velocities} for record in PYTORCH.dialect.basis().run(case)]

    assert not check(run, [case], profile=PYTORCH).ok


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"rule": "caffe"}, ValueError, "rule must be one of keras, pytorch, sutskever, optax, got 'caffe'"),
        ({"rule": 3}, TypeError, "rule must be"),
        ({"by_design": {"descends"}}, ValueError, "by_design must be names of deviations, "),
        ({"by_design": "ascends"}, TypeError, "by_design must be several names of deviations, got 'ascends'"),
    ],
)
def test_what_there_is_not_is_refused(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        Profile(**given)
