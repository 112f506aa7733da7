"""What the tiers cover."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import pytest

import numba_kernels
from numba_kernels.selfcheck import gradient_forms, product, runner, sizes, special
from numba_kernels.selfcheck.extent import FULL, QUICK, STANDARD, Extent
from numba_kernels.selfcheck.machine_code import compiling
from numba_kernels.selfcheck.making import settings_for
from numba_kernels.shared.constants import Constants
from numba_kernels.shared.element import VARIANTS
from sgd_ref.arithmetic.formats import FORMATS
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.catalogue.tiers import make_case

ExtentOf = Callable[..., Extent]


def tuples(tier: str, length: int) -> set[tuple[tuple[str, str], ...]]:
    combinations = product.combinations(Extent(tier))
    return {
        chosen for features in combinations for chosen in itertools.combinations(features.items(), length)
    }


def possible(length: int) -> Iterator[tuple[tuple[str, str], ...]]:
    for axes in itertools.combinations(AXES, length):
        for values in itertools.product(*(AXES[axis] for axis in axes)):
            yield tuple(zip(axes, values, strict=True))


def test_the_standard_tier_has_every_triple_of_values() -> None:
    assert tuples(STANDARD, 3) == set(possible(3))


def test_the_quick_tier_has_every_pair_of_values() -> None:
    assert tuples(QUICK, 2) == set(possible(2))


def test_the_standard_tier_has_every_combination_that_changes_what_kernels_do() -> None:
    paths = [
        tuple(value for axis, value in features.items() if axis not in product.FREE_AXES)
        for features in product.combinations(Extent(STANDARD))
    ]
    assert len(paths) == len(set(paths)) == 5 * 3 * 3 * 4 * 3 * 3 * 4 * 3


def test_the_full_tier_is_the_product_of_all_axes() -> None:
    first = next(product.combinations(Extent(FULL)))
    assert first == {axis: values[0] for axis, values in AXES.items()}
    assert sum(1 for _ in product.combinations(Extent(FULL))) == 933_120


@pytest.mark.parametrize("tier", [QUICK, STANDARD])
def test_each_variant_is_compiled_and_each_kind_in_each_dtype(tier: str) -> None:
    extent = Extent(tier)
    assert {variant for _, variant in extent.kernels()} == set(VARIANTS)
    for dtype in FORMATS:
        for kind in range(3):
            assert len({variant[kind] for variant in extent.variants(dtype)}) == (2 if kind == 2 else 3)


def test_the_kernel_of_a_combination_is_that_of_its_optimizer() -> None:
    for features in itertools.islice(product.combinations(Extent(QUICK)), 60):
        case = make_case(features)
        optimizer = numba_kernels.SGD.from_config(case.config, learning_rate=0.1)
        has_loss_scale = case.loss_scaling is not None or optimizer.loss_scale_factor is not None
        for dtype in product.dtypes(features):
            assert Constants(optimizer.settings, dtype).variant(has_loss_scale) == product.variant(features)


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_lead_to_their_kernel(variant: numba_kernels.shared.element.Variant) -> None:
    for clipping in ({}, {"global_clipnorm": 1.0}, *([{"clipnorm": 1.0}] if variant.gradient else [])):
        optimizer = numba_kernels.SGD.from_config(settings_for(variant, **clipping))
        constants = Constants(optimizer.settings, next(iter(FORMATS)))
        assert constants.variant(optimizer.loss_scale_factor is not None) == variant


def test_no_two_cases_of_a_check_have_the_same_id(one_kernel: ExtentOf) -> None:
    extent = one_kernel()
    for cases in (
        [placement.case for placement in sizes._placements(extent)],
        [
            *gradient_forms.one_form(extent),
            *gradient_forms.all_dtypes(extent),
            *gradient_forms.untouched_rows(extent),
        ],
        list(special.every_role(extent)),
    ):
        identifiers = [case.id for case in cases]
        assert len(identifiers) == len(set(identifiers))


def test_one_id_chooses_one_case(one_kernel: ExtentOf) -> None:
    found = runner.run(one_kernel("^sizes/float32/nesterov_accumulated_averages/all-gaps$"))
    assert [(result.name, result.cases) for result in found.results if result.cases] == [("sizes", 1)]


def test_shares_of_kernels_are_all_kernels_once() -> None:
    kernels = list(compiling.kernels_of(Extent(QUICK)))
    shares = compiling.shares(kernels, 5)
    assert sorted(kernel.name for share in shares for kernel in share) == sorted(k.name for k in kernels)
    assert len({kernel.name for kernel in kernels}) == len(kernels)


def test_a_command_chooses_the_case_that_it_is_for() -> None:
    identifier = "sizes/float32/a+b/offset-3"
    *_, pattern = Extent(STANDARD, seed=5).command(identifier).split(" ")
    assert Extent(STANDARD, seed=5).command(identifier).startswith("sgd-ref check --seed 5 -k ")
    assert re.search(pattern.strip("'"), identifier)
