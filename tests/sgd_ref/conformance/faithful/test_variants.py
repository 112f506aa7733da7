"""Every faithful variant on the standard cases: what it may change, and that it changes something."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, LossScaleOptimizer, conformance
from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance import Case
from sgd_ref.conformance.catalogue.axes import from_labels
from sgd_ref.conformance.catalogue.case import Record, State
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.faithful import FAITHFUL, Faithful
from sgd_ref.conformance.protocol.encoding import case_to_json
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import COUNTERS, LISTS, check_form, compare, equal_bits

# Sums and products overflow there in one evaluation and not in another.
NARROW = tuple(
    f"named/narrow/{name}/"
    for name in ("norms", "global-norms", "momentum-that-vanishes", "global_clipnorm-of-an-overflow")
)
"""Begins of cases at the ends of a dtype, where a wider one has no infinity, or no zero that meets one."""

OVERFLOWING = {
    "named/product-overflows",
    "named/sum-overflows-though-the-mean-fits",
    *(f"named/overflows-when-unscaled-by-{scale}" for scale in (0.5, 0.25, 0.125)),
}

# On these, no two variants have the same bits, and none has those of the reference.
TELLING = (
    "axes/mixed/nesterov/decay/averages/accumulation-3/fixed-96/restarts/sparse/special/decimal",
    "axes/float64/momentum/decay/clipnorm/averages/dynamic/missing/special/decimal",
    "axes/mixed/decay/global_clipnorm/averages/accumulation-3/dynamic/callable/sparse/subnormal",
    "axes/float16/momentum/global_clipnorm/overwrite/accumulation-2/fixed/special/decimal",
    "axes/mixed/momentum/decay/clipnorm/averages/accumulation-2/exponential/missing/decimal",
    "axes/bfloat16/exclusion/clipvalue/overwrite/accumulation-3/piecewise/special",
    "axes/momentum/global_clipnorm",
    "axes/momentum/fixed-96",
    "axes/momentum/sparse",
    "named/alone/averages-low/float64",
)


# What the standard cases do not have: a scale, a common norm and special values; infinite velocities.
SPECIAL = (
    "axes/momentum/decay/global_clipnorm/averages/fixed-96/special/decimal",
    "axes/float16/nesterov/exclusion/clipnorm/overwrite/fixed-96/callable/special/decimal",
    "axes/float64/nesterov/decay/averages/accumulation-3/fixed/missing/special/decimal",
)


@cache
def standard_cases() -> Mapping[str, Case]:
    return MappingProxyType({case.id: case for case in conformance.cases() if case.made is None})


def case_of(identifier: str) -> Case:
    known = standard_cases().get(identifier)
    if known is not None:
        return known
    features = from_labels(identifier.split("/")[1:])
    assert features is not None, identifier
    return make_case(features)


@cache
def expected(identifier: str) -> list[Record]:
    return reference.run(case_of(identifier))


def arrays(record: Record, quantity: str) -> list[Array]:
    found: list[Array] = record.get(quantity, [])
    return found


def test_there_are_at_least_thirty() -> None:
    assert len(FAITHFUL) >= 30
    assert all(name == variant.name for name, variant in FAITHFUL.items())


@pytest.mark.parametrize("name", FAITHFUL)
def test_a_variant_says_how_it_evaluates(name: str) -> None:
    variant = FAITHFUL[name]
    assert issubclass(variant.optimizer, SGD)
    assert variant.wrapper is LossScaleOptimizer
    assert variant.optimizer.__doc__
    assert variant.description.split("\n\n")[0].endswith(".")
    assert variant.unreported <= {"velocities", "accumulators"}


@cache
def told(name: str, identifier: str) -> list[Record]:
    return FAITHFUL[name].run(case_of(identifier))


@pytest.mark.share(3)
@pytest.mark.parametrize("name", FAITHFUL)
def test_special_values_shapes_counts_and_copies_are_those_of_the_definition(name: str) -> None:
    for identifier in (*TELLING, *SPECIAL):
        check_kept(name, case_of(identifier), told(name, identifier))


def test_they_are_in_every_standard_case(sweep: Any) -> None:
    pairs = [(name, case) for name in FAITHFUL for case in standard_cases().values()]
    for index in sweep.generator.choice(len(pairs), sweep.count(len(pairs), 400), replace=False):
        name, case = pairs[index]
        before = case_to_json(case)
        check_kept(name, case, FAITHFUL[name].run(case))
        assert case_to_json(case) == before


def check_kept(name: str, case: Case, observed: list[Record]) -> None:
    check_form(case, expected(case.id), observed)
    for wanted, given in zip(expected(case.id), observed, strict=True):
        assert given.keys() == wanted.keys() - FAITHFUL[name].unreported
        for quantity in (*COUNTERS, "loss_scale"):
            assert given.get(quantity) == wanted.get(quantity), (case.id, quantity)
        for quantity in given.keys() & set(LISTS):
            if case.id.startswith(NARROW):
                continue
            for want, got in zip(wanted[quantity], given[quantity], strict=True):
                assert np.array_equal(np.isnan(want), np.isnan(got)), (case.id, quantity)
                infinite = np.isinf(want) | np.isinf(got)
                assert case.id in OVERFLOWING or np.array_equal(want[infinite], got[infinite]), case.id
    check_copies(case, observed)


def check_copies(case: Case, trajectory: list[Record]) -> None:
    frequency = case.config["ema_overwrite_frequency"]
    first = case.state is None or case.state.calls == 0
    before: Record = {"variables": list(case.variables), "iterations": 0}
    if case.state is not None:
        steps = case.config["gradient_accumulation_steps"] or 1
        before = {name: list(getattr(case.state, name)) for name in LISTS if name != "variables"} | before
        before["iterations"] = case.state.calls // steps
    for call, record in enumerate(trajectory):
        if call == len(case.gradients):
            if case.config["use_ema"] and record["iterations"]:
                assert same(record, "variables", record, "averages"), case.id
            continue
        updates = record["iterations"] > before["iterations"]
        overwrites = updates and case.config["use_ema"] and frequency and not record["iterations"] % frequency
        if overwrites or (updates and first and case.config["use_ema"]):
            assert same(record, "variables", record, "averages"), case.id
        for quantity in ("variables", "velocities", "averages"):
            if arrays(before, quantity) and arrays(record, quantity):
                for position, gradient in enumerate(case.gradients[call]):
                    is_missing = gradient is None and quantity != "averages" and not overwrites
                    if not updates or is_missing:
                        kept = before[quantity][position], record[quantity][position]
                        assert equal_bits(*kept).all(), (case.id, quantity, call)
        first = first and not updates
        before = record


def same(one: Record, quantity: str, other: Record, copied: str) -> bool:
    pairs = zip(one[quantity], other[copied], strict=True)
    return all(equal_bits(copy, original).all() for copy, original in pairs)


def signature(trajectory: list[Record]) -> str:
    digest = hashlib.sha256()
    for record in trajectory:
        for array in record["variables"]:
            digest.update(np.where(np.isnan(array), np.zeros_like(array), array).tobytes())
    return digest.hexdigest()


def test_no_two_variants_are_the_same_and_none_is_the_reference() -> None:
    names = {tuple(signature(expected(identifier)) for identifier in TELLING): "reference"}
    for name in FAITHFUL:
        signatures = tuple(signature(told(name, identifier)) for identifier in TELLING)
        assert signatures not in names, f"{name} is {names[signatures]}"
        names[signatures] = name


RESUMED = (
    "axes/mixed/nesterov/decay/averages/accumulation-3/inverse_time/decimal",
    "axes/mixed/momentum/decay/clipnorm/averages/accumulation-2/exponential/missing/decimal",
)


def resumed(case: Case, trajectory: list[Record], calls: int) -> Case:
    """The rest of a case, from the state that a trajectory reports after some calls."""
    record = trajectory[calls - 1]
    return dataclasses.replace(
        case,
        variables=tuple(record["variables"]),
        gradients=case.gradients[calls:],
        state=State(
            calls=record["calls"],
            velocities=tuple(arrays(record, "velocities")),
            averages=tuple(arrays(record, "averages")),
            accumulators=tuple(arrays(record, "accumulators")),
        ),
    )


def rests(variant: Faithful) -> Iterator[bool]:
    """Whether each rest of a case has the bits that it has when nothing is interrupted."""
    for identifier in RESUMED:
        case = case_of(identifier)
        whole = variant.run(case)
        for calls in range(1, len(case.gradients), 4):
            rest = resumed(case, whole, calls)
            yield compare(rest, reference_form(whole[calls:]), variant.run(rest)).equal


def reference_form(trajectory: list[Record]) -> list[Record]:
    return [{**dict.fromkeys(LISTS, ()), **record} for record in trajectory]


@pytest.mark.share(3)
@pytest.mark.parametrize("name", [name for name, variant in FAITHFUL.items() if not variant.unreported])
def test_the_state_is_what_is_reported_unless_it_is_declared_to_be_wider(name: str) -> None:
    variant = FAITHFUL[name]
    assert all(rests(variant)) == (not variant.hidden_wider_state)


def test_rates_in_double_are_reported_so() -> None:
    case = standard_cases()["axes/float64/momentum/accumulation-2/callable/decimal"]
    rates = [record["learning_rate"] for record in FAITHFUL["rate-in-double"].run(case)]
    assert rates == list(case.learning_rate_calls or ())
    assert [record["learning_rate"] for record in expected(case.id)] != rates


def test_one_name_stands_for_one_evaluation() -> None:
    """What is both an observed deviation and a faithful variant is the same class."""
    for name in DEVIATIONS.keys() & FAITHFUL.keys():
        assert DEVIATIONS[name].optimizer is FAITHFUL[name].optimizer, name
