"""A search tries nothing twice."""

from __future__ import annotations

from typing import Any

import pytest

from sgd_ref.conformance import Case, cases
from sgd_ref.conformance.bounds.running_error.judging import Fit, fit
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.diagnosis.search import Search
from sgd_ref.conformance.trajectories import reference


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
