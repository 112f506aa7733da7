"""Every faithful variant means what the reference means: in real arithmetic both are equal.

A wrong formula differs by a share of the numbers themselves; another evaluation only by few units in the last
place of the largest number that takes part, also after all calls of a case.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import FORMATS, Array
from sgd_ref.conformance import Case
from sgd_ref.conformance.catalogue.axes import AXES, PLAINEST
from sgd_ref.conformance.catalogue.case import Record, State
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import LISTS, compare
from sgd_ref.gradients import SparseRows

UNITS = 8

COMBINATIONS: tuple[dict[str, str], ...] = (
    {"update": "plain", "weight_decay": "decay", "clipping": "clipnorm", "accumulation": "3"},
    {"update": "plain", "weight_decay": "decay", "averages": "averages", "loss_scaling": "fixed-96"},
    {"update": "plain", "gradients": "sparse", "learning_rate": "callable"},
    {"update": "momentum", "weight_decay": "exclusion", "averages": "overwrite", "gradients": "missing"},
    {"update": "momentum", "accumulation": "3", "gradients": "missing", "loss_scaling": "fixed-96"},
    {"update": "momentum", "clipping": "clipnorm", "loss_scaling": "dynamic", "gradients": "sparse"},
    {"update": "nesterov", "weight_decay": "decay", "accumulation": "2", "averages": "averages"},
    {"update": "nesterov", "clipping": "global_clipnorm", "gradients": "missing"},
    {"update": "nesterov", "clipping": "clipvalue", "learning_rate": "callable", "weight_decay": "decay"},
)

# They differ from the reference in other learning rates or in a low momentum of averages alone, or where
# subnormal numbers occur.
ELSEWHERE = {
    "average-by-complements",
    "rate-in-double",
    "schedule-in-single",
    "schedule-in-double",
    "subnormals-flushed",
}


def with_rates_of_float32(case: Case) -> Case:
    """The same case with learning rates on which float32 and float64 agree."""
    config = dict(case.config)
    if case.learning_rate_calls is None:
        config["learning_rate"] = float(np.float32(config["learning_rate"]))
        return dataclasses.replace(case, config=config)
    rates = tuple(float(np.float32(rate)) for rate in case.learning_rate_calls)
    return dataclasses.replace(case, learning_rate_calls=rates)


def resumed_within_a_window() -> Case:
    """A case that starts in the middle of a window, from a state that nothing is 0 in."""
    features = PLAINEST | {
        "dtype": "float64",
        "update": "nesterov",
        "accumulation": "3",
        "settings": "decimal",
    }
    case = with_rates_of_float32(make_case(features | {"averages": "averages", "loss_scaling": "fixed-96"}))
    record = reference.run(case)[4]
    state = State(
        calls=record["calls"],
        **{name: tuple(record[name]) for name in LISTS if name != "variables"},
    )
    variables = tuple(record["variables"])
    return dataclasses.replace(case, variables=variables, gradients=case.gradients[5:], state=state)


@cache
def cases() -> tuple[tuple[Case, list[Record], Array], ...]:
    """Cases, what the reference answers, and the unit of each variable."""
    combinations = [PLAINEST | {"settings": "decimal"} | features for features in COMBINATIONS]
    made = [
        with_rates_of_float32(make_case({axis: (features | {"dtype": dtype})[axis] for axis in AXES}))
        for features, half in zip(combinations, itertools.cycle(("bfloat16", "float16")), strict=False)
        for dtype in ("float64", half)
    ]
    chosen = [*made, resumed_within_a_window()]
    answers = [reference.run(case) for case in chosen]
    return tuple((case, answer, units(case, answer)) for case, answer in zip(chosen, answers, strict=True))


def units(case: Case, trajectory: Sequence[Record]) -> Array:
    """The unit in the last place of the largest number that a variable, its state and its gradients have."""
    scale = case.config["loss_scale_factor"] or (case.loss_scaling.initial_scale if case.loss_scaling else 1)
    largest = []
    for index, variable in enumerate(case.variables):
        given = [gradients[index] for gradients in case.gradients]
        found: list[Any] = [g.to_dense() if isinstance(g, SparseRows) else g for g in given]
        found = [g.astype(np.float64) / scale for g in found if g is not None and np.isfinite(g).all()]
        kept = [record[name][index] for record in trajectory for name in LISTS if record[name]]
        sizes = [np.max(np.abs(array), initial=0) for array in (*found, *kept)]
        largest.append(float(max(sizes)) * 2.0 ** (1 - FORMATS[variable.dtype].precision))
    return np.array(largest)


def distance(observed: Sequence[Record], answer: Sequence[Record], unit: Array) -> float:
    """The largest distance of all that both report, in units."""
    most = 0.0
    for given, wanted in zip(observed, answer, strict=True):
        for quantity in given.keys() & set(LISTS):
            for index, (got, want) in enumerate(zip(given[quantity], wanted[quantity], strict=True)):
                apart = np.abs(got.astype(np.float64) - want.astype(np.float64))
                if apart.size and apart.max() > 0:
                    most = max(most, float(apart.max() / unit[index]))
    return most


@pytest.mark.share(3)
@pytest.mark.parametrize("name", FAITHFUL)
def test_a_variant_is_equal_but_for_roundings(name: str) -> None:
    differs = False
    for case, answer, unit in cases():
        observed = FAITHFUL[name].run(case)
        assert distance(observed, answer, unit) <= UNITS, case.id
        differs = differs or not compare(case, answer, observed).equal
    assert differs == (name not in ELSEWHERE)
