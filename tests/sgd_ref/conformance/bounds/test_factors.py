"""Factors of clipping that are formed together with those of other stages: no line of their hull is idle."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from sgd_ref import conformance
from sgd_ref.arithmetic.formats import FLOAT16
from sgd_ref.conformance.bounds import step, walk
from sgd_ref.conformance.bounds.enclosure import Enclosure, arithmetic_of
from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.bounds.settings import held
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.named.building import PLAIN_CONFIG
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference

Change = Callable[[ModuleType, str, str], ModuleType]

SOURCES = "(Late((part.gradient,), rule.Factors()), *part.late)"
ABLATIONS = [
    # Without the factors of the stages before those of clipping.
    (SOURCES, "(Late((part.gradient,), rule.Factors()),)"),
    # Without the rate as part of the same number.
    ("for x in products)), late\n    )", "for x in products))\n    )"),
]
TELLING = "axes/float16/nesterov/exclusion/global_clipnorm/accumulation-3/dynamic/restarts/sparse"


@pytest.mark.parametrize(("old", "new"), ABLATIONS)
def test_factors_of_several_stages_may_be_one_number(
    old: str, new: str, changed: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = next(case for case in conformance.cases() if case.id == TELLING)
    expected, observed = reference.run(case), FAITHFUL["mean-clip-and-rate"].run(case)
    assert judge(case, expected, observed).is_faithful
    without = changed(step, old, new)
    for name in ("prepared", "mean", "clipped", "updated"):
        monkeypatch.setattr(walk, name, getattr(without, name))
    assert not judge(case, expected, observed).is_faithful


def clipped(module: ModuleType) -> Enclosure:
    """The gradient 4 and 2.75 units, unscaled from 16 and 11 units, clipped to half its norm."""
    arithmetic = arithmetic_of(FLOAT16)
    gradient = np.array([16, 11 * 2.0**-24], FLOAT16)
    case = Case("factors", PLAIN_CONFIG | {"clipnorm": 2.0}, ("w",), (gradient,), ((gradient,),))
    settings = held(case, arithmetic, {})
    part = module.prepared(gradient, arithmetic, 4.0)
    [result] = module.clipped([part], [np.arange(2)], [settings], lambda _: settings)
    found: Enclosure = result.gradient.stored()
    return found


def test_a_gradient_may_be_rounded_before_it_is_clipped(changed: Change) -> None:
    # 2.75 units are 3, and half of that 2; half of 2.75 units is 1.
    rounded, at_once = (np.array([2, units * 2.0**-24], FLOAT16) for units in (2, 1))
    assert clipped(step).holds(rounded).all()
    assert clipped(step).holds(at_once).all()
    without = changed(step, SOURCES, "part.late or (Late((part.gradient,), rule.Factors()),)")
    assert clipped(without).holds(at_once).all()
    assert not clipped(without).holds(rounded).all()
