"""Explaining a divergence: which known deviations, replayed, give exactly the bits that were observed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from sgd_ref import schedules
from sgd_ref.arithmetic.rounded import FLOAT32, Array
from sgd_ref.conformance import reference
from sgd_ref.conformance.case import Case, Record, State, Trajectory
from sgd_ref.conformance.comparison import COUNTERS, LISTS, Difference, compare, equal_bits, units_apart
from sgd_ref.conformance.deviations import compose

NORM_IN_ANOTHER_ORDER = "norm-summed-in-another-order"
NORM_UNITS = 4


class Step(NamedTuple):
    """A case of one call that starts in an observed state, and the record observed after it."""

    call: int
    case: Case
    observed: Record


def steps(case, observed):
    before = {"variables": case.variables, "calls": 0}
    if case.state is not None:
        s = case.state
        before |= {
            "calls": s.calls,
            "velocities": s.velocities,
            "averages": s.averages,
            "accumulators": s.accumulators,
            "loss_scale": s.loss_scale,
            "growth_counter": s.growth_counter,
        }
    elif case.loss_scaling is not None:
        before |= {"loss_scale": case.loss_scaling.initial_scale, "growth_counter": 0}
    fresh = case.state is None
    for call, record in enumerate(observed):
        final = call == len(case.gradients)
        rate = None if final else record["learning_rate"]
        constant = not final and case.learning_rate_calls is None and np.float32(rate) == rate
        state = (
            None
            if fresh
            else State(
                calls=before["calls"],
                velocities=tuple(before.get("velocities", ())),
                averages=tuple(before.get("averages", ())),
                accumulators=tuple(before.get("accumulators", ())),
                loss_scale=before.get("loss_scale"),
                growth_counter=before.get("growth_counter"),
            )
        )
        single = replace(
            case,
            config={**case.config, "learning_rate": float(rate) if constant else (0.5 if final else None)},
            variables=tuple(before["variables"]),
            state=state,
            gradients=() if final else (case.gradients[call],),
            learning_rate_calls=None if constant or final else (float(rate),),
            finalize=final,
        )
        yield Step(call, single, record)
        before = record
        fresh = False
