"""A search ends after a fixed amount of work, and says how much it looked at."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref.conformance import Case, cases
from sgd_ref.conformance.bounds.running_error.judging import Fit, fit
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.diagnosis.search import WORK_FOR_MORE, WORK_FOR_PAIRS, Search
from sgd_ref.conformance.diagnosis.work import FIT, work_of
from sgd_ref.conformance.trajectories import reference

CASE = "axes/bfloat16/nesterov/decay/averages/piecewise/missing"


def test_the_work_of_a_search_is_bounded() -> None:
    case = next(one for one in cases() if one.id == CASE)
    observed = reference.run(case)
    odd = observed[6]["variables"][0].reshape(-1)
    odd[1] = odd[1] * odd.dtype.type(1.5) + odd.dtype.type(0.25)
    search = Search(case, observed)
    assert search.alone() == []
    begun = search.work.done
    assert (search.extended(), search.pairs()) == ([], [])
    assert search.pairs_tried > 10
    limit = WORK_FOR_MORE + WORK_FOR_PAIRS + 2 * FIT * work_of(case, len(observed))
    assert search.work.done - begun < limit


@pytest.mark.parametrize("name", ["ascends", "dampened"])
def test_the_same_deviations_are_fitted_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(one for one in cases() if one.id == "axes/momentum")
    observed = reference.run(case, *compose(["ascends"]))
    fitted = []

    def counting(case: Case, names: tuple[str, ...], *rest: Any) -> Fit:
        fitted.append(frozenset(names))
        return fit(case, names, *rest)

    monkeypatch.setattr("sgd_ref.conformance.diagnosis.search.fit", counting)
    search = Search(case, observed, (name, "callable-one-call-late"))
    assert search.holds((name,)) is search.holds((name,)) is (name == "ascends")
    pair = (name, "callable-one-call-late")
    assert len(search.among([pair, pair[::-1]])) == 2 * len(search.among([pair]))
    assert fitted == [frozenset(), {name}, set(pair)]
