"""The catalogue: every pair of features, the same data everywhere, nothing degenerate, one case at a time."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import random
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sgd_ref
from sgd_ref import SparseRows
from sgd_ref.conformance import Case, cases
from sgd_ref.conformance.catalogue.axes import (
    AXES,
    PLAINEST,
    combination,
    every_pair,
    from_labels,
    full_product,
)
from sgd_ref.conformance.catalogue.combinations import case_id, full_ids
from sgd_ref.conformance.catalogue.degenerate import refuse_degenerate
from sgd_ref.conformance.catalogue.named import narrow
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.protocol.encoding import case_to_json, to_line
from sgd_ref.conformance.trajectories import reference

PLAIN = make_case(PLAINEST)
NAMED = ("named/", "exact/", "optimization/", "structure/")

# What these ids stand for never changes: other data needs another id.
SUMS = {
    "axes/plain": "4250cab364837ba6ce7142dea9d0109f8bca8d83ee00f57a186fc4040c2c81d0",
    "axes/float16/momentum": "30eb59c12bbf521b3fc6e475dc40ffb4d0e9970d7283e850da8b914e760afe05",
    "axes/mixed/nesterov": "48575e871a8b43ed8ae0f8512405bbfe390c9dca589258c132b115585dfbb9d1",
    "axes/momentum/sparse": "21cb76579b2ce8f6634c3fef79dd43fde8116ca058e97de38b0144f246801c7d",
    "axes/momentum/special": "eb893e475f7158bd3ed5b560f948597609b76b2d03682670fba9f8444c82ff3a",
    "axes/momentum/subnormal": "73fb6d06b5fe2f3986f984e1de7f56cb4af7c14f5e5aacbebde39dc7de89d60c",
    "axes/momentum/dynamic": "631c9bfc785e6e08c43317ae3071726f5465ae49426aacee161f42b5fc515d75",
    "named/signed-zeros": "a262590414b960b268d6ffd7efdb021160dad4a564e75738021454d2db2f5446",
}

SUMS_IN_REVERSE = """
import hashlib
from sgd_ref.conformance import cases
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.protocol.encoding import case_to_json, to_line

for case in reversed(cases()):
    made = case if case.features is None else make_case(case.features)
    document = case_to_json(made)
    del document["exposes"]
    print(made.id, hashlib.sha256(to_line(document)).hexdigest())
"""


def sum_of(case: Case) -> str:
    """A sum of everything but what the case is known to expose, which grows with the deviations."""
    document = case_to_json(case)
    del document["exposes"]
    return hashlib.sha256(to_line(document)).hexdigest()


def sum_of_data(case: Case) -> str:
    """A sum of what an implementation is given; explanations may change."""
    return sum_of(replace(case, id="", notes="", features=None, learning_rate_units=0))


def plain_but(**features: str) -> Case:
    return make_case(PLAINEST | features)


def test_every_pair_of_values_is_in_the_standard_tier() -> None:
    shown = set()
    for case in cases("standard"):
        shown |= set(itertools.combinations(sorted((case.features or {}).items()), 2))
    wanted = {
        tuple(sorted(((first, a), (second, b))))
        for first, second in itertools.combinations(AXES, 2)
        for a in AXES[first]
        for b in AXES[second]
    }
    assert wanted <= shown


def test_pairs_are_covered_by_few_combinations() -> None:
    largest_two = sorted(len(values) for values in AXES.values())[-2:]
    assert math.prod(largest_two) <= len(every_pair()) <= 2 * math.prod(largest_two)


def test_every_value_alone_is_in_the_standard_tier() -> None:
    ids = {case.id for case in cases()}
    momentum = PLAINEST | {"update": "momentum"}
    alone = [momentum | {axis: value} for axis, values in AXES.items() for value in values]
    assert {case_id(features) for features in alone} <= ids


def test_tiers_are_parts_of_one_another() -> None:
    smoke, standard = ({case.id for case in cases(tier)} for tier in ("smoke", "standard"))
    assert smoke < standard
    assert {name for name in standard if not name.startswith(NAMED)} <= {
        case_id(features) for features in (case.features for case in cases()) if features
    }


def test_an_unknown_tier_is_refused() -> None:
    with pytest.raises(ValueError, match="tier must be one of first, smoke, standard, full, got 'all'"):
        cases("all")


def test_ids_are_unique_and_name_the_features() -> None:
    ids = [case.id for case in cases()]
    assert len(set(ids)) == len(ids)
    for case in cases():
        if case.features is None:
            assert case.id.startswith(NAMED)
        else:
            assert case.id == "axes/plain" or from_labels(case.id.split("/")[1:]) == case.features
        assert case.notes


def test_the_data_of_an_id_never_changes() -> None:
    by_id = {case.id: case for case in cases()}
    assert {name: sum_of_data(by_id[name]) for name in SUMS} == SUMS


def test_the_order_in_which_cases_are_made_does_not_matter() -> None:
    combinations = [case.features for case in cases() if case.features]
    random.Random(5).shuffle(combinations)
    made = {case_id(features): sum_of(make_case(features)) for features in combinations}
    assert made == {case.id: sum_of(case) for case in cases() if case.features}


@pytest.mark.share(2)
@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_another_process_makes_the_same_cases(hash_seed: str) -> None:
    assert sgd_ref.__file__ is not None
    answer = subprocess.run(
        [sys.executable, "-c", SUMS_IN_REVERSE],
        cwd=Path(sgd_ref.__file__).parent.parent,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = dict(line.split() for line in answer.stdout.splitlines())
    assert theirs == {case.id: sum_of(case) for case in cases()}


@pytest.mark.parametrize("tier", ["smoke", "standard"])
def test_cases_are_long_and_large_enough(tier: str) -> None:
    for case in cases(tier):
        if not case.id.startswith(("structure/", narrow.PREFIX)):
            assert len(case.gradients) >= 9
            assert max(variable.size for variable in case.variables) > 64
        assert all(len(gradients) == len(case.variables) == len(case.names) for gradients in case.gradients)


def test_nobody_can_change_the_arrays_of_a_case() -> None:
    for case in cases():
        arrays = [*case.variables]
        for gradient in itertools.chain(*case.gradients):
            if isinstance(gradient, SparseRows):
                arrays += [gradient.indices, gradient.values]
            elif gradient is not None:
                arrays.append(gradient)
        assert not any(array.flags.writeable for array in arrays), case.id


def dtypes(case: Case) -> set[str]:
    return {variable.dtype.name for variable in case.variables}


def any_gradient(case: Case, condition: Callable[[Any], Any]) -> bool:
    return any(condition(gradient) for gradient in itertools.chain(*case.gradients))


def is_finite(gradient: Any) -> bool:
    return gradient is None or bool(np.isfinite(getattr(gradient, "values", gradient)).all())


def has_subnormal(array: Any) -> bool:
    return bool(((array != 0) & (np.abs(array) < np.finfo(np.float32).smallest_normal)).any())


def class_name(case: Case) -> str | None:
    schedule = case.config["learning_rate"]
    return schedule["class_name"] if isinstance(schedule, dict) else None


SHOWN: dict[tuple[str, str], Callable[[Case], Any]] = {
    ("dtype", "float32"): lambda case: dtypes(case) == {"float32"},
    ("dtype", "float16"): lambda case: dtypes(case) == {"float16"},
    ("dtype", "bfloat16"): lambda case: dtypes(case) == {"bfloat16"},
    ("dtype", "float64"): lambda case: dtypes(case) == {"float64"},
    ("dtype", "mixed"): lambda case: dtypes(case) == {"float16", "bfloat16", "float32"},
    ("update", "plain"): lambda case: case.config["momentum"] == 0 and not case.config["nesterov"],
    ("update", "momentum"): lambda case: case.config["momentum"] > 0 and not case.config["nesterov"],
    ("update", "nesterov"): lambda case: case.config["momentum"] > 0 and case.config["nesterov"],
    ("weight_decay", "none"): lambda case: case.config["weight_decay"] is None,
    ("weight_decay", "decay"): lambda case: (
        case.config["weight_decay"] and not case.excluded_from_weight_decay
    ),
    ("weight_decay", "exclusion"): lambda case: (
        case.config["weight_decay"]
        and any(part in name for part in case.excluded_from_weight_decay for name in case.names)
        and not all(any(part in name for part in case.excluded_from_weight_decay) for name in case.names)
    ),
    ("clipping", "none"): lambda case: (
        {case.config[name] for name in ("clipnorm", "clipvalue", "global_clipnorm")} == {None}
    ),
    ("clipping", "clipnorm"): lambda case: case.config["clipnorm"],
    ("clipping", "clipvalue"): lambda case: case.config["clipvalue"],
    ("clipping", "global_clipnorm"): lambda case: case.config["global_clipnorm"],
    ("averages", "none"): lambda case: not case.config["use_ema"] and not case.finalize,
    ("averages", "averages"): lambda case: (
        case.config["use_ema"] and case.config["ema_overwrite_frequency"] is None and case.finalize
    ),
    ("averages", "overwrite"): lambda case: (
        case.config["use_ema"] and case.config["ema_overwrite_frequency"] == 2
    ),
    ("accumulation", "none"): lambda case: case.config["gradient_accumulation_steps"] is None,
    ("accumulation", "2"): lambda case: case.config["gradient_accumulation_steps"] == 2,
    ("accumulation", "3"): lambda case: case.config["gradient_accumulation_steps"] == 3,
    ("loss_scaling", "none"): lambda case: case.config["loss_scale_factor"] is None and not case.loss_scaling,
    ("loss_scaling", "fixed"): lambda case: case.config["loss_scale_factor"] == 1024,
    ("loss_scaling", "fixed-96"): lambda case: case.config["loss_scale_factor"] == 96,
    ("loss_scaling", "dynamic"): lambda case: (
        case.loss_scaling and any_gradient(case, lambda gradient: not is_finite(gradient))
    ),
    ("learning_rate", "constant"): lambda case: isinstance(case.config["learning_rate"], float),
    ("learning_rate", "callable"): lambda case: (
        case.config["learning_rate"] is None
        and len(case.learning_rate_calls or ()) == len(case.gradients)
        and len(set(case.learning_rate_calls or ())) > 4
    ),
    **{
        ("learning_rate", kind): lambda case, name=name: class_name(case) == name
        for kind, name in {
            "piecewise": "PiecewiseConstantDecay",
            "exponential": "ExponentialDecay",
            "inverse_time": "InverseTimeDecay",
            "polynomial": "PolynomialDecay",
            "cosine": "CosineDecay",
            "restarts": "CosineDecayRestarts",
        }.items()
    },
    ("gradients", "dense"): lambda case: (
        not any_gradient(case, lambda g: g is None or isinstance(g, SparseRows))
    ),
    ("gradients", "missing"): lambda case: (
        any_gradient(case, lambda gradient: gradient is None)
        and all(any(g is not None for g in gradients) for gradients in case.gradients)
    ),
    ("gradients", "sparse"): lambda case: any_gradient(
        case, lambda g: isinstance(g, SparseRows) and len(np.unique(g.indices)) < len(g.indices)
    ),
    ("values", "ordinary"): lambda case: (
        not any_gradient(case, lambda gradient: has_subnormal(gradient) or not is_finite(gradient))
    ),
    ("values", "special"): lambda case: (
        np.isnan(case.variables[0]).any()
        and any_gradient(case, lambda gradient: not is_finite(gradient))
        and any_gradient(case, lambda gradient: ((gradient == 0) & np.signbit(gradient)).any())
    ),
    ("values", "subnormal"): lambda case: (
        has_subnormal(case.variables[0]) and any_gradient(case, has_subnormal)
    ),
    ("settings", "dyadic"): lambda case: (
        case.config["learning_rate"] == float(np.float16(case.config["learning_rate"]))
    ),
    ("settings", "decimal"): lambda case: (
        case.config["learning_rate"] != float(np.float32(case.config["learning_rate"]))
    ),
}


def test_all_values_are_looked_for() -> None:
    assert set(SHOWN) == {(axis, value) for axis, values in AXES.items() for value in values}


@pytest.mark.parametrize(("axis", "value"), SHOWN)
def test_a_value_of_an_axis_is_in_its_case_and_in_no_other(axis: str, value: str) -> None:
    for other in AXES[axis]:
        assert bool(SHOWN[axis, value](plain_but(**{axis: other}))) == (other == value), other


@pytest.mark.parametrize("settings", AXES["settings"])
def test_norms_lie_on_both_sides_of_the_clippings(settings: str) -> None:
    for clipping in ("clipnorm", "clipvalue", "global_clipnorm"):
        case = plain_but(clipping=clipping, settings=settings)
        limit = case.config[clipping]
        for position, variable in enumerate(case.variables):
            if variable.size < 2:
                continue
            calls = [[call[position]] for call in case.gradients]
            if clipping == "global_clipnorm":
                calls = [list(call) for call in case.gradients]
            flat = [np.concatenate([np.ravel(g) for g in call if g is not None]) for call in calls]
            sizes = [np.abs(g).max() if clipping == "clipvalue" else np.linalg.norm(g) for g in flat]
            assert min(sizes) < limit < max(sizes), (clipping, case.names[position])


def test_dyadic_settings_are_exact_in_every_dtype() -> None:
    for features in every_pair():
        if features["settings"] == "dyadic":
            config = make_case(features).config
            schedule = config["learning_rate"]
            settings = [
                *config.values(),
                *(schedule["config"].values() if isinstance(schedule, dict) else ()),
            ]
            # Four significant bits and an exponent that float16 has, at most.
            for value in settings:
                if isinstance(value, float) and value:
                    assert (math.frexp(value)[0] * 2**5).is_integer()
                    assert 2.0**-14 <= value <= 65504


def test_combinations_are_numbered_like_the_product() -> None:
    numbered = enumerate(zip(full_product(), full_ids(), strict=False))
    for position, (features, identifier) in itertools.islice(numbered, 0, 40_000, 997):
        assert combination(position) == features
        assert identifier == case_id(features)


def test_there_is_an_id_for_each_combination() -> None:
    ((position, last),) = deque(enumerate(full_ids()), maxlen=1)
    assert position == len(cases("full")) - 1
    assert last == case_id(combination(position))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"dtype": "float8"}, r"features\['dtype'\] must be one of \('float32', .*got 'float8'"),
        ({"accumulation": 2}, r"features\['accumulation'\] must be one of .*got 2"),
        ({"values": None}, r"features\['values'\] must be one of .*got None"),
    ],
)
def test_unknown_features_are_refused(features: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_case(PLAINEST | features)


def test_missing_features_are_the_plainest() -> None:
    assert make_case({"update": "nesterov"}).features == {**PLAINEST, "update": "nesterov"}
    assert make_case({}).id == PLAIN.id


def test_the_full_tier_is_made_as_it_is_asked_for() -> None:
    full = cases("full")
    first, last, another = full[0], full[-1], next(iter(full))
    assert len(full) == math.prod(len(values) for values in AXES.values()) > 100_000
    assert (first.id, another.id) == (PLAIN.id, PLAIN.id)
    assert last.features == {axis: values[-1] for axis, values in AXES.items()}
    assert full[len(full) - 1].id == last.id
    assert [case.id for case in full[1:6:2]] == [full[1].id, full[3].id, full[5].id]
    assert full[5:5] == []


@pytest.mark.parametrize("beyond", [0, -1])
def test_the_full_tier_ends(beyond: int) -> None:
    full = cases("full")
    index = len(full) if beyond == 0 else -len(full) - 1
    with pytest.raises(IndexError, match=f"index must be below {len(full)}, got {index}"):
        full[index]


def test_cases_of_the_full_tier_are_valid(sweep: Any) -> None:
    full = cases("full")
    for index in sweep.generator.integers(len(full), size=sweep.count(1000)).tolist():
        case = full[index]
        refuse_degenerate(case)
        assert case.id == case_id(combination(index))
        assert len(reference.run(case)) == len(case.gradients) + case.finalize
