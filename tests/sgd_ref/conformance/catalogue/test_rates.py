"""The rate of a call is the one that the reference reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.trajectories import reference

CASES = {case.id: case for case in cases()}


def of_kind(name: str) -> list[Case]:
    return [case for case in CASES.values() if name in case.id and case.made is None]


@pytest.mark.parametrize(
    "kind",
    ["piecewise", "callable", "exponential", "inverse_time", "polynomial", "cosine", "restarts", "resumed"],
)
def test_it_is_the_rate_that_the_reference_reports(kind: str) -> None:
    found = of_kind(kind)
    assert found
    for case in found:
        skipped = 0
        before = 0 if case.state is None else case.state.calls
        for call, record in enumerate(reference.run(case)[: len(case.gradients)]):
            rate = case.rate(call, skipped)
            assert type(rate) is float
            assert rate == float(record["learning_rate"]), (case.id, call)
            skipped += record["calls"] == before
            before = record["calls"]


def test_skipped_calls_are_not_counted_by_a_schedule() -> None:
    case = CASES["axes/momentum/piecewise"]
    assert case.rate(3) != case.rate(2)
    assert case.rate(3, skipped=1) == case.rate(2)
    called = CASES["axes/momentum/callable"]
    assert called.rate(3, skipped=1) == called.rate(3)


def test_a_resumed_case_goes_on() -> None:
    case = CASES["named/resumed-in-mid-training-float32"]
    assert case.state is not None
    fresh = replace(case, state=None)
    assert case.rate(0) == fresh.rate(case.state.calls) != fresh.rate(0)


def test_it_passes_through_float32() -> None:
    case = replace(CASES["axes/plain"], config=CASES["axes/plain"].config | {"learning_rate": 0.1})
    assert case.rate(0) == float(np.float32(0.1)) != 0.1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1,), ValueError, "call must be"),
        ((1.5,), TypeError, "call must be"),
        ((2, 3), ValueError, "skipped must be at most the calls made before, which are 2, got 3"),
        ((1000,), ValueError, "call must be below 9, the number of calls of the case, got 1000"),
    ],
)
def test_what_is_no_call_is_refused(arguments: tuple[int, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CASES["axes/momentum/callable"].rate(*arguments)
