"""Combinations of features on the device against the reference: the smoke tier, and a share of all others."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.selfcheck.device.on_device import LossScaleOnDevice, OnDevice
from sgd_ref import conformance
from sgd_ref.conformance.catalogue.axes import combination, every_pair
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.combinations import case_id
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import check_form, compare

COMBINATIONS = 933_120


def assert_same_trajectory(case: Case) -> None:
    expected, observed = reference.run(case), reference.run(case, OnDevice, LossScaleOnDevice)
    check_form(case, expected, observed)
    comparison = compare(case, expected, observed)
    # All of the state was there to be compared.
    assert [record.keys() for record in observed] == [record.keys() for record in expected]
    assert comparison.equal, f"{case.id}: {comparison.first}"


@pytest.mark.share(4)
@pytest.mark.parametrize("case", conformance.cases(tier="smoke"), ids=lambda case: case.id)
def test_the_smoke_tier(case: Case) -> None:
    assert_same_trajectory(case)


@pytest.mark.share(4)
@pytest.mark.parametrize("features", every_pair(), ids=case_id)
def test_every_pair_of_values_of_two_features(features: dict[str, str]) -> None:
    assert_same_trajectory(make_case(features))


def test_a_share_of_all_combinations(sweep: Any) -> None:
    for index in sweep.generator.choice(COMBINATIONS, sweep.count(400, 60), replace=False).tolist():
        assert_same_trajectory(make_case(combination(index)))
