"""What is not offered is declined, and variables of shapes that are not offered are left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sgd_ref.conformance import cases, cases_within
from sgd_ref.conformance.catalogue.qualities import BESIDE_AXES, qualities
from sgd_ref.conformance.catalogue.suiting import lacking, suited
from sgd_ref.conformance.catalogue.within import offered_by
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import equal_bits

CASES = {case.id: case for case in cases()}


def test_values_that_are_on_no_axis_are_lacking_too() -> None:
    case = CASES["exact/resumed-in-a-window/float32"]
    assert qualities(case)["accumulation"] == {"4"}
    assert "accumulation-4" in lacking(case, {"accumulation": ["none", "2", "3"]})
    assert lacking(case, {"start": ["fresh"]}) == ("resumed",)


def test_every_case_of_the_grid_is_left_without_odd_shapes() -> None:
    grid = [case for case in CASES.values() if case.id.startswith("axes/")]
    found = [suited(case, {"shapes": ["filled"]}) for case in grid]
    assert all(case is not None and all(w.ndim and w.size for w in case.variables) for case in found)
    assert len({case.id for case in found if case is not None} - set(CASES)) == len(grid)


def test_no_case_is_lost_and_those_without_odd_shapes_are_the_same() -> None:
    for case in CASES.values():
        found = suited(case, {"shapes": ["filled"]})
        assert found is not None
        assert (found is case) == (qualities(case)["shapes"] == {"filled"}), case.id


def test_a_case_of_odd_shapes_alone_is_lost() -> None:
    case = CASES["axes/momentum"]
    scalar = case.names.index("scale")
    alone = replace(
        case,
        names=("scale",),
        variables=(case.variables[scalar],),
        gradients=tuple((call[scalar],) for call in case.gradients),
    )
    assert suited(alone, {"shapes": ["filled", "scalar"]}) is alone
    assert suited(alone, {"shapes": ["filled"]}) is None


@pytest.mark.parametrize("shapes", [["filled"], ["filled", "scalar"], ["filled", "empty"]])
def test_the_other_variables_have_the_trajectory_that_they_had(shapes: list[str]) -> None:
    for case_id in ("axes/momentum/missing", "axes/decay/averages/piecewise/missing", "axes/momentum/sparse"):
        case = CASES[case_id]
        found = suited(case, {"shapes": shapes})
        assert found is not None
        assert found.id == "/".join([case_id, *(shape for shape in BESIDE_AXES["shapes"] if shape in shapes)])
        kept = [case.names.index(name) for name in found.names]
        assert len(kept) == 3 + len(shapes) - 1
        for whole, part in zip(reference.run(case), reference.run(found), strict=True):
            for key in ("variables", "velocities", "averages"):
                for position, array in zip(kept, part[key], strict=False):
                    assert equal_bits(np.asarray(whole[key][position]), np.asarray(array)).all()


def test_state_and_layouts_go_with_their_variables() -> None:
    many = [case for case in CASES.values() if case.state is not None and case.state.velocities]
    odd = [case for case in many if not qualities(case)["shapes"] <= {"filled"}]
    assert odd
    for case in odd:
        found = suited(case, {"shapes": ["filled"]})
        assert found is None or (
            found.state is not None
            and [v.shape for v in found.state.velocities] == [w.shape for w in found.variables]
        )


def test_a_case_with_a_call_without_any_gradient_left_is_lost() -> None:
    case = CASES["axes/momentum"]
    alone = tuple(
        None if name != "scale" else g for name, g in zip(case.names, case.gradients[0], strict=True)
    )
    changed = replace(case, gradients=(alone, *case.gradients[1:]))
    assert suited(case, {"shapes": ["filled"]}) is not None
    assert suited(changed, {"shapes": ["filled"]}) is None


def test_words_for_shapes_and_starts_restrict_only_where_one_is_there() -> None:
    assert {"shapes", "start"}.isdisjoint(offered_by(["float32"]))
    assert offered_by(["float32", "filled", "fresh"])["shapes"] == ("filled",)
    assert offered_by(["float32", "scalar"])["shapes"] == ("filled", "scalar")
    assert offered_by(["float32", "shapes"])["shapes"] == BESIDE_AXES["shapes"]
    chosen = cases_within(offered_by(["float32", "momentum", "filled", "fresh"]))
    assert {word for case in chosen for word in qualities(case)["shapes"]} == {"filled"}
    assert all(case.state is None for case in chosen)
    assert sum(case.id.startswith("axes/") for case in chosen) > 10
