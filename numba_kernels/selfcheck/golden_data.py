"""The golden data, replayed by kernels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba_kernels
from numba_kernels.selfcheck.comparison import by_kernels, compare_cases, timed
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.result import Result
from numba_kernels.shared.constants import Constants
from sgd_ref.conformance import data_folder
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.golden.format import location
from sgd_ref.conformance.golden.format.entries import entry_from_json
from sgd_ref.conformance.golden.format.schemas import TRAJECTORY
from sgd_ref.conformance.protocol.encoding import case_from_json

NAME = "golden data"
START = "golden"

NOT_THERE = "there is no golden data in this installation"
NOT_COMPILED = "they need kernels that this tier does not compile"


def check(extent: Extent, optimizer_class: Any = numba_kernels.SGD) -> Result:
    """Check the trajectories of the golden data; kernels have no schedules, stages or errors of their own."""
    result = Result(NAME)
    with timed(result):
        try:
            places = list(location.places(data_folder.folder()))
        except FileNotFoundError:
            result.skips(NOT_THERE)
            return result
        cases, expected = [], {}
        for place in places:
            if place.kind != TRAJECTORY or not extent.wants(f"{START}/{location.id_of(place.entry)}"):
                continue
            if not _is_compiled(case_from_json(place.entry["case"]), extent):
                result.skips(NOT_COMPILED)
                continue
            entry = entry_from_json(place.entry)
            case = replace(entry.case, id=f"{START}/{entry.case.id}")
            cases.append(case)
            expected[case.id] = entry.expected
        compare_cases(result, cases, extent, by_kernels(optimizer_class), lambda case: expected[case.id])
    return result


def _is_compiled(case: Case, extent: Extent) -> bool:
    optimizer = numba_kernels.SGD.from_config(case.config, learning_rate=0.1)
    has_loss_scale = case.loss_scaling is not None or optimizer.loss_scale_factor is not None
    return all(
        Constants(optimizer.settings, dtype).variant(has_loss_scale) in extent.variants(dtype)
        for dtype in {variable.dtype for variable in case.variables}
    )
