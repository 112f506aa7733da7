from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance import Case
from sgd_ref.conformance.deviations import DEVIATIONS, compose
from sgd_ref.conformance.deviations.observed.clipping import NormInAnotherOrder
from sgd_ref.conformance.deviations.observed.schedules import RateInFloat32
from sgd_ref.conformance.diagnosis.attribution import explain
from sgd_ref.conformance.diagnosis.replay import NORM_UNITS
from sgd_ref.conformance.targets.keras.known import KNOWN
from sgd_ref.conformance.targets.keras.launch import BACKENDS
from sgd_ref.conformance.targets.known import known_failure
from sgd_ref.conformance.trajectories import reference
from sgd_ref.optimizer import SGD
from tests.conftest import Sweep

ALL = tuple(DEVIATIONS)
FEW = ("norm-summed-in-another-order", "update-fused", "subnormals-flushed", "scale-without-limits")

EVERYTHING_ON = "axes/decay/global_clipnorm/overwrite/dynamic/exponential/missing/subnormal/decimal"
ACCUMULATING = "axes/momentum/decay/averages/accumulation-2/fixed/callable/missing/special"
CLIPPING = "axes/momentum/clipnorm"
CLIPPING_GLOBALLY = "axes/momentum/global_clipnorm"
DECAYING = "axes/float64/momentum/decay/overwrite/fixed/piecewise"
COSINE = "axes/momentum/cosine"


def drawn(sweep: Sweep) -> list[str]:
    """Return names of deviations: all of them in a complete sweep."""
    return sweep.generator.choice(ALL, sweep.count(len(ALL), 10), replace=False).tolist()


@cache
def standard_cases() -> Mapping[str, Case]:
    return MappingProxyType({case.id: case for case in conformance.cases()})


def deviating(case: Case, *names: str) -> list[dict[str, Any]]:
    return reference.run(case, *compose(names))


def without(trajectory: list[dict[str, Any]], *keys: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key not in keys} for record in trajectory]


def flipped(array: Array) -> Array:
    result = array.copy()
    result.reshape(-1).view(f"u{array.itemsize}")[-1] ^= 1
    return result


@pytest.mark.parametrize("case_id", [EVERYTHING_ON, ACCUMULATING, "named/float64-settings"])
def test_the_reference_needs_no_explanation(case_id: str) -> None:
    case = standard_cases()[case_id]
    explanation = explain(case, reference.run(case), ALL)
    assert (explanation.names, explanation.complete, explanation.residual_units) == ((), True, 0.0)


@pytest.mark.parametrize(
    ("case_id", "names"),
    [
        (DECAYING, ("decay-fused", "update-fused")),
        (DECAYING, ("averages-fused", "decay-factor-in-single", "update-in-fused-steps")),
        (ACCUMULATING, ("rate-frozen", "averages-on-every-call")),
        (ACCUMULATING, ("averages-on-every-call", "accumulator-kept-without-gradient", "update-fused")),
        (CLIPPING, ("clipnorm-by-one-factor", "update-fused")),
        (EVERYTHING_ON, ("subnormals-flushed", "norm-summed-in-another-order", "update-fused")),
        ("named/third-restart", ("restart-missed", "update-fused")),
        ("named/scale-stays-normal", ("scale-without-limits", "update-fused")),
    ],
)
def test_compositions_are_taken_apart(case_id: str, names: tuple[str, ...]) -> None:
    case = standard_cases()[case_id]
    explanation = explain(case, deviating(case, *names), names)
    assert explanation.complete
    assert explanation.names == names


def test_candidates_that_have_no_part_are_left_out() -> None:
    case = standard_cases()[DECAYING]
    candidates = list(KNOWN["jax", "compiled"].deviations)
    explanation = explain(case, deviating(case, "update-fused", "decay-fused"), candidates)
    assert set(explanation.names) == {"update-fused", "decay-fused"}


def test_candidates_that_exclude_each_other_do_not_matter() -> None:
    case = standard_cases()[DECAYING]
    candidates = ["decay-factor-in-single", "update-in-fused-steps", "decay-fused", "update-fused"]
    explanation = explain(case, deviating(case, "decay-fused", "update-fused"), candidates)
    assert explanation.names == ("decay-fused", "update-fused")


def test_roundings_are_preferred_to_contradictions() -> None:
    case = standard_cases()["named/half-gradient-of-a-wider-variable"]
    candidates = ["unscale-in-dtype-of-gradient", "quotient-in-dtype-of-gradient", "update-fused"]
    observed = deviating(case, "quotient-in-dtype-of-gradient", "update-fused")
    assert explain(case, observed, candidates).names == ("quotient-in-dtype-of-gradient", "update-fused")
    case = standard_cases()[COSINE]
    observed = without(deviating(case, "schedule-in-float32", "update-fused"), "learning_rate")
    candidates = ["quotient-in-float32", "schedule-in-float32", "restart-missed", "update-fused"]
    assert explain(case, observed, candidates).names == ("schedule-in-float32", "update-fused")


@pytest.mark.parametrize("quantity", ["variables", "velocities", "averages", "accumulators"])
@pytest.mark.parametrize("call", [0, 5, 11])
def test_one_bit_stays_unexplained(quantity: str, call: int) -> None:
    case = standard_cases()[ACCUMULATING]
    observed = deviating(case, "update-fused", "averages-on-every-call")
    observed[call][quantity][2] = flipped(observed[call][quantity][2])
    explanation = explain(case, observed, ["update-fused", "averages-on-every-call", "rate-frozen"])
    assert not explanation.complete
    assert set(explanation.names) == {"update-fused", "averages-on-every-call"}
    left = explanation.left
    assert left is not None
    assert (left.call, left.quantity, left.variable) == (call, quantity, "table")
    assert left.units in (1.0, 0.0)


def test_one_bit_after_finalisation_stays_unexplained(sweep: Sweep) -> None:
    case = standard_cases()[ACCUMULATING]
    observed = reference.run(case)
    observed[-1]["variables"][0] = flipped(observed[-1]["variables"][0])
    left = explain(case, observed, drawn(sweep)).left
    assert left is not None
    assert (left.call, left.quantity, left.variable) == (12, "variables", "kernel")


@pytest.mark.parametrize("quantity", ["iterations", "calls", "growth_counter", "loss_scale"])
def test_a_wrong_scalar_stays_unexplained(quantity: str) -> None:
    case = standard_cases()[EVERYTHING_ON]
    observed = reference.run(case)
    observed[-2][quantity] = type(observed[-2][quantity])(observed[-2][quantity] + 1)
    assert not explain(case, observed, FEW).complete


def test_a_wrong_learning_rate_stays_unexplained(sweep: Sweep) -> None:
    case = standard_cases()[COSINE]
    observed = reference.run(case)
    observed[3]["learning_rate"] = np.float32(0.25)
    left = explain(case, observed, drawn(sweep)).left
    assert left is not None
    assert (left.call, left.quantity, left.values[1]) == (3, "learning_rate", 0.25)


def with_rate_units(units: int) -> type[SGD]:
    return type("Moved", (RateInFloat32,), {"rate_units": units})


@pytest.mark.parametrize("is_reported", [True, False])
@pytest.mark.parametrize("units", [3, -7])
def test_schedules_in_float32_are_some_units_off(is_reported: bool, units: int) -> None:
    case = standard_cases()[COSINE]
    observed = reference.run(case, with_rate_units(units))
    if not is_reported:
        observed = without(observed, "learning_rate")
    explanation = explain(case, observed, ["update-fused", "schedule-in-float32"])
    assert explanation.names == ("schedule-in-float32",)
    assert explanation.residual_units == abs(units)
    assert not explain(case, observed, ["update-fused"]).complete


@pytest.mark.parametrize("is_reported", [True, False])
def test_schedules_are_not_more_units_off_than_the_case_allows(is_reported: bool) -> None:
    case = standard_cases()[COSINE]
    observed = reference.run(case, with_rate_units(case.learning_rate_units + 1))
    if not is_reported:
        observed = without(observed, "learning_rate")
    assert not explain(case, observed, ["schedule-in-float32"]).complete


def test_a_learning_rate_that_is_not_a_number_is_explained() -> None:
    case = standard_cases()["axes/nesterov/clipnorm/averages/accumulation-3/polynomial/special/decimal"]
    observed = deviating(case, "polynomial-remainder-fused")
    assert any(math.isnan(record["learning_rate"]) for record in observed[:-1])
    for trajectory in (observed, without(observed, "learning_rate")):
        assert explain(case, trajectory, ALL).names == ("polynomial-remainder-fused",)


def with_norm_units(units: Callable[[list[Array]], int]) -> type[SGD]:
    def norm(optimizer: Any, gradients: list[Array]) -> Any:
        optimizer.norm_units = units(gradients)
        return NormInAnotherOrder.norm(optimizer, gradients)

    return type("Moved", (NormInAnotherOrder,), {"norm": norm})


@pytest.mark.parametrize("case_id", [CLIPPING, CLIPPING_GLOBALLY])
@pytest.mark.parametrize("units", [2, -NORM_UNITS])
def test_norms_in_another_order_are_some_units_off(case_id: str, units: int) -> None:
    case = standard_cases()[case_id]
    observed = reference.run(case, with_norm_units(lambda _: units))
    explanation = explain(case, observed, ALL)
    assert explanation.names == ("norm-summed-in-another-order",)
    assert 0 < explanation.residual_units <= abs(units)
    assert not explain(case, observed, ["update-fused"]).complete


def test_each_norm_is_off_by_units_of_its_own() -> None:
    case = standard_cases()[CLIPPING]
    observed = reference.run(case, with_norm_units(lambda gradients: 3 if gradients[0].size > 40 else -2))
    assert explain(case, observed, ALL).names == ("norm-summed-in-another-order",)


def test_norms_are_not_arbitrary() -> None:
    case = standard_cases()[CLIPPING_GLOBALLY]
    observed = reference.run(case, with_norm_units(lambda _: 64))
    assert not explain(case, observed, FEW).complete


def test_without_norms_no_bit_is_given_away() -> None:
    case = standard_cases()["named/signed-zeros"]
    observed = reference.run(case)
    observed[3]["variables"][1] = flipped(observed[3]["variables"][1])
    assert not explain(case, observed, ["norm-summed-in-another-order"]).complete


def test_a_state_that_is_not_reported_is_replayed_from_the_beginning() -> None:
    case = standard_cases()[DECAYING]
    observed = deviating(case, "decay-fused", "update-fused")
    for missing in (("averages",), ("velocities", "averages", "calls", "iterations", "learning_rate")):
        explanation = explain(case, without(observed, *missing), ["update-fused", "decay-fused"])
        assert set(explanation.names) == {"update-fused", "decay-fused"}
    bare = without(observed, "averages")
    bare[4]["variables"][0] = flipped(bare[4]["variables"][0])
    left = explain(case, bare, ["update-fused", "decay-fused"]).left
    assert left is not None
    assert (left.call, left.variable) == (4, "kernel")


def test_states_that_nothing_can_be_in_are_no_explanation(sweep: Sweep) -> None:
    case = standard_cases()["named/count-above-the-integers-of-32-bits"]
    observed = deviating(case, "count-wraps")
    assert not explain(case, observed, [name for name in drawn(sweep) if name != "count-wraps"]).complete
    case = standard_cases()["named/scale-stays-finite"]
    observed = deviating(case, "scale-without-limits")
    assert not explain(
        case, observed, [name for name in drawn(sweep) if name != "scale-without-limits"]
    ).complete


def test_nothing_is_changed() -> None:
    case = standard_cases()[ACCUMULATING]
    observed = deviating(case, "rate-frozen")
    before = copy.deepcopy(observed)
    explain(case, observed, ["update-fused", "rate-frozen"])
    for old, new in zip(before, observed, strict=True):
        assert old.keys() == new.keys()
        assert all(
            a.tobytes() == b.tobytes() for a, b in zip(old["variables"], new["variables"], strict=True)
        )


def test_unknown_candidates_are_refused() -> None:
    case = standard_cases()[COSINE]
    with pytest.raises(ValueError, match=r"names must be names of deviations, .*got 'update'"):
        explain(case, reference.run(case), ["update"])


def test_every_backend_and_mode_of_keras_is_known() -> None:
    pairs = {(backend, mode) for backend in BACKENDS for mode in ("eager", "compiled")}
    assert set(KNOWN) == pairs - {("torch", "compiled")}


@pytest.mark.parametrize("pair", KNOWN, ids=" ".join)
def test_what_keras_is_known_for_exists(pair: tuple[str, str]) -> None:
    known = KNOWN[pair]
    assert set(known.deviations) <= set(DEVIATIONS)
    assert all(known.deviations.values())
    for failure in known.failures:
        concerned = [case for case in standard_cases().values() if failure.concerns(case)]
        assert 0 < len(concerned) < len(standard_cases()), failure.name
        assert failure.evidence


MESSAGES = {
    ("torch", "eager"): {
        "every-variable-excluded": "call 0: RuntimeError: Tensor list must have at least one tensor.",
        "count-wraps": "ValueError: record 3.iterations must be an integer of at least 0, got -2147483648",
    },
    ("tensorflow", "eager"): {
        "sparse-gradient-not-unscaled": (
            "call 0: TypeError: unsupported operand type(s) for /: 'IndexedSlices' and 'float'"
        ),
        "accumulation-in-another-dtype": (
            "call 0: InvalidArgumentError: Exception encountered when calling Cond.call().\n\ncannot compute "
            "AddV2 as input #1(zero-based) was expected to be a half tensor but is a float tensor [Op:AddV2]"
        ),
        "global-clipping-of-mixed-dtypes": (
            "call 0: InvalidArgumentError: cannot compute Mul as input #1(zero-based) was expected to be a "
            "half tensor but is a float tensor [Op:Mul] name: "
        ),
        "averages-of-an-empty-matrix": "call 0: InvalidArgumentError: Biases must be 1D: [0,3] [Op:BiasAdd]",
        "schedule-from-an-integer": (
            "call 0: InvalidArgumentError: cannot compute Mul as input #1(zero-based) was expected to be a "
            "int32 tensor but is a double tensor [Op:Mul]"
        ),
    },
    ("jax", "eager"): {
        "loss-scale-optimizer-outside-of-jit": "call 0: UnexpectedTracerError: Encountered an unexpected",
        "boundary-too-large": "call 0: OverflowError: Python int 3000000000 too large to convert to int32",
        "accumulation-in-another-dtype": (
            "call 0: TypeError: cond branches must have equal output types but they differ."
        ),
    },
}


@pytest.mark.parametrize(
    ("pair", "name", "message"),
    [(pair, name, message) for pair, messages in MESSAGES.items() for name, message in messages.items()],
)
def test_errors_are_known_where_they_are_to_be_expected(
    pair: tuple[str, str], name: str, message: str
) -> None:
    failures = KNOWN[pair].failures
    (failure,) = (failure for failure in failures if failure.name == name)
    found = {case.id: known_failure(case, message, failures) for case in standard_cases().values()}
    for case in standard_cases().values():
        assert (found[case.id] == name) == failure.concerns(case)
    assert known_failure(next(iter(standard_cases().values())), "ValueError: something new", failures) is None
