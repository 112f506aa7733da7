"""A deviation that changes a variable dies though nothing else is reported."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from sgd_ref.conformance import cases
from sgd_ref.conformance.audit.kill_matrix import wrong_names
from sgd_ref.conformance.audit.variables_alone import killing
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.golden.content.kill_matrix import read

FEWEST_KILLS = 3
SHARE = 4
"""Deviations that are tried anew without ``--sweep``, which takes all."""

IN_STATE_ALONE = {
    "accumulator-kept-without-gradient",
    "accumulator-used-without-gradient",
    "scale-without-limits",
    "iterations-count-calls",
    "iterations-lost-in-wrapper",
}
"""Answers to open questions, and counts that no variable depends on."""


def by_likelihood(name: str) -> list[Any]:
    """Return the uncontested cases that reject a deviation with its whole state, the plainest first."""
    exposing = set(read()["deviations"][name].exposing)
    chosen = [case for case in cases() if case.id in exposing and not contested(case)]
    return sorted(chosen, key=lambda case: ("/alone/" not in case.id, len(case.gradients) * len(case.names)))


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("accumulator-reset-by-multiplication", "infinity-clipped-in-windows"),
        ("infinity-in-running-mean", "infinity-clipped-in-windows"),
        ("first-average-computed", "first-average-copied"),
        ("count-wraps", "count-passes-31-bits"),
        ("zero-decay-skipped", "decay-zero"),
        ("clipped-before-unscaling", "clipvalue-after-unscaling"),
    ],
)
def test_cases_that_are_made_for_it_suffice(name: str, group: str) -> None:
    of_group = [case for case in cases() if case.id.startswith(f"named/alone/{group}/")]
    assert len(list(killing(name, of_group))) == len(of_group) >= FEWEST_KILLS


def test_every_deviation_of_variables_dies_in_several_cases(sweep: Any) -> None:
    names = sorted(set(wrong_names()) - IN_STATE_ALONE)
    count = len(names) if sweep.complete else SHARE
    for name in sweep.generator.choice(names, count, replace=False):
        found = list(islice(killing(str(name), by_likelihood(str(name))), FEWEST_KILLS))
        assert len(found) == FEWEST_KILLS, name
