"""Every evaluation of a rule fits it, right or wrong, and the trajectory of another rule does not."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.bounds.running_error.judging import fit
from sgd_ref.conformance.deviations import Basis, compose
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference

SMALL = [case for case in cases() if case.made is None and len(case.gradients) <= 16]
BY_ID = {case.id: case for case in SMALL}
NUMBER = 400
PAIRS = [
    ("ascends", "exact/momentum/float32"),
    ("rate-outside-velocity", "axes/momentum/callable"),
    ("decay-enters-velocity", "axes/momentum/decay"),
    ("clip-adds-epsilon", "exact/global-clipnorm/float16"),
]


def test_every_faithful_variant_fits_the_reference(sweep: Any) -> None:
    pairs = [(case, variant) for case in SMALL for variant in FAITHFUL.values()]
    count = len(pairs) if sweep.complete else NUMBER
    for place in sweep.generator.choice(len(pairs), count, replace=False):
        case, variant = pairs[place]
        found = fit(case, (), variant.run(case), variant.hidden_wider_state)
        assert found.fits or variant.flushes_subnormals, (case.id, variant.name, str(found.violation))


def test_the_reference_is_exact() -> None:
    for case in SMALL[::40]:
        found = fit(case, (), reference.run(case))
        assert found.fits
        assert found.is_exact


@pytest.mark.parametrize(("name", "case_id"), PAIRS)
def test_a_deviation_fits_itself_and_other_rules_do_not(name: str, case_id: str) -> None:
    case = BY_ID[case_id]
    wrong = reference.run(case, *compose([name]))
    assert fit(case, [name], wrong).is_exact
    for variant in ("update-fused", "velocity-fused-with-momentum", "step-in-float32"):
        rounded = reference.run(case, *compose([name], FAITHFUL[variant].optimizer))
        assert fit(case, [name], rounded).fits
    assert not fit(case, ["updated-twice"], wrong).fits
    assert not fit(case, [name, "updated-twice"], wrong).fits


@pytest.mark.parametrize(
    "case_id",
    [
        "named/staircase-InverseTimeDecay-3",
        "axes/float64/exclusion/averages/fixed-96/polynomial/missing/subnormal",
    ],
)
def test_rates_of_schedules_may_be_float64_where_none_is_reported(case_id: str) -> None:
    case = BY_ID[case_id]
    double = FAITHFUL["rate-in-double"].run(case)
    silent = [{key: value for key, value in record.items() if key != "learning_rate"} for record in double]
    assert fit(case, (), silent).fits
    silent[-1]["variables"][0].reshape(-1)[0] += 1e-6
    assert not fit(case, (), silent).fits


def test_a_norm_of_rounded_squares_may_be_added_in_the_dtype_of_each_gradient() -> None:
    case = BY_ID["structure/bfloat16-first/mixed-global_clipnorm/plain/mixed"]
    wrong = reference.run(case, *compose(["norm-of-rounded-squares"]))
    (double,) = [position for position, one in enumerate(case.variables) if one.dtype == "float64"]
    wrong[-1]["variables"][double][...] *= 1.0 + 2.0**-27
    assert fit(case, ["norm-of-rounded-squares"], wrong).fits
    assert not fit(case, (), wrong).fits


@pytest.mark.parametrize("clipping", ["clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("rule", [(), ("zero-decay-skipped", "rate-outside-velocity")])
def test_a_norm_that_overflows_may_be_kept_wider(clipping: str, dtype: str, rule: tuple[str, ...]) -> None:
    """The largest number twice has a norm of 1.41 times this number, which only a wider dtype holds."""
    case = BY_ID[f"named/narrow/{clipping}-of-an-overflow/{dtype}"]
    basis = Basis(names=rule)
    # The range of bfloat16 is that of float32.
    wider = "stages-in-float32" if dtype == "float16" else "stages-in-float64"
    kept = reference.run(case, *compose(rule, FAITHFUL[wider].optimizer))
    assert float(kept[1]["variables"][0][0]) == pytest.approx(0.5 - 0.5 / 2**0.5, abs=2.0**-9)
    assert fit(case, (), kept, basis=basis).fits
    assert not fit(case, (), kept, basis=basis).is_exact
    assert fit(case, (), reference.run(case, *compose(rule)), basis=basis).is_exact
    for name in ("ascends", "norm-of-rounded-squares", "norm-without-root", "sum-of-elements-as-norm"):
        assert not fit(case, [name], kept, basis=basis).fits, name
    kept[1]["variables"][0][1] += kept[1]["variables"][0].dtype.type(0.25)
    assert not fit(case, (), kept, basis=basis).fits


def test_what_does_not_fit_says_where() -> None:
    case = BY_ID["axes/momentum"]
    observed = reference.run(case)
    observed[3]["variables"][0].reshape(-1)[5] += 1
    found = fit(case, (), observed)
    assert (found.calls, found.is_exact) == (3, True)
    assert found.violation is not None
    assert (found.violation.call, found.violation.variable) == (3, case.names[0])


def test_rates_that_are_reported_must_be_those_of_the_rule() -> None:
    case = BY_ID["axes/momentum/callable"]
    observed = reference.run(case)
    observed[2]["learning_rate"] *= 2
    found = fit(case, (), observed)
    assert found.violation is not None
    assert (found.violation.call, found.violation.quantity) == (2, "learning_rate")
