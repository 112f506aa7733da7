from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, LossScaleOptimizer, conformance
from sgd_ref.conformance import Case
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.named import events
from sgd_ref.conformance.deviations import DEVIATIONS, Deviation, compose
from sgd_ref.conformance.deviations.mistakes import MISTAKES
from sgd_ref.conformance.deviations.mistakes.damage import DAMAGE
from sgd_ref.conformance.deviations.mistakes.mistake import ADDRESS
from sgd_ref.conformance.golden.content.kill_matrix import read
from sgd_ref.conformance.grading.check import grade, private_copy
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import check_form, compare

NAMES = tuple(mistake.name for mistake in MISTAKES)
DAMAGING = tuple(mistake.name for mistake in DAMAGE)
SHOWN_IN = 3
"""Uncontested cases in which a mistake must change bits."""

REFERENCE = ""
"""The name of what is no mistake."""

ON_OPEN_GROUND = ("global-norm-of-each-dtype",)
"""Mistakes beside every answer to a question, which only cases of that question can show."""

QUICK = 600
"""Pairs of a mistake and a case that are run without ``--sweep``."""

TELLING = (
    "axes/mixed/nesterov/exclusion/clipvalue/overwrite/accumulation-3/dynamic/polynomial/sparse/subnormal",
    "axes/momentum/decay/clipnorm/averages/accumulation-2/fixed/piecewise/missing/special/decimal",
    "axes/decay/global_clipnorm/overwrite/dynamic/exponential/missing/subnormal/decimal",
    "named/resumed-in-mid-training-float64",
    "axes/float16/nesterov/global_clipnorm/averages/accumulation-2/cosine/subnormal/decimal",
    "axes/mixed/nesterov/decay/averages/accumulation-3/fixed-96/restarts/sparse/special/decimal",
    "named/one-nan-under-loss-scaling-float32",
    "axes/float16/momentum/global_clipnorm/overwrite/accumulation-2/fixed/special/decimal",
    "named/part-of-a-name-excluded-float32",
    "axes/momentum/callable",
    "axes/float16/decay/clipvalue/averages/accumulation-3/inverse_time/missing",
    "named/signed-zeros",
    "named/thirteenth-restart",
    "exact/staircase/float32",
    "named/overflows-when-unscaled-by-0.5",
    "named/count-passes-32-bits-float32",
    "exact/momentum/float64",
    "structure/axes-five/plain/float32",
    "structure/layout-transposed/plain/float32",
    "structure/layout-reversed/plain/float32",
    "structure/layout-offset/plain/float32",
    "structure/layout-broadcast/plain/float32",
    "structure/equal-shapes-missing-first/exclusion/momentum/float32",
    "structure/equal-sizes/momentum/float32",
    "structure/empty-in-a-row/momentum/float32",
    "structure/empty-last/plain/float32",
    "structure/empty-between/global_clipnorm/momentum/float32",
    "structure/scalars/momentum/float32",
    "structure/one-element/accumulation-2/momentum/float32",
    "structure/equal-shapes/clipnorm/plain/float32",
    "structure/equal-shapes/averages/momentum/float32",
    "structure/equal-values/plain/float32",
    "structure/sizes-to-65/plain/float32",
    "structure/sizes-around-256/plain/float32",
    "structure/size-1025/plain/float32",
    "structure/variables-112/plain/float32",
    "structure/resumed/momentum/bfloat16",
    "structure/resumed/averages/momentum/float32",
    "structure/resumed/accumulation-2/momentum/float32",
    "structure/calls-66/averages/momentum/float32",
    "structure/calls-260/momentum/float32",
    "structure/big-65536/plain/float32",
    "structure/square-matrices/momentum/float32",
    "structure/cubes/plain/float32",
    "structure/axes-of-one/plain/float32",
    "structure/several-missing/momentum/float32",
    "structure/variables-64/momentum/float32",
    "structure/names-alike/momentum/float32",
    "structure/resumed-fine/momentum/float32",
    "structure/resumed-missing/momentum/float32",
    "structure/bfloat16-first/mixed/momentum/mixed",
    "structure/bfloat16-first/mixed-global_clipnorm/plain/mixed",
    "structure/calls-66/callable/momentum/float32",
    "structure/big-norm/plain/float32",
    "structure/calls-1002/plain/float32",
    "structure/names-excluded/exclusion/momentum/float32",
    "named/narrow/infinite-in-turn/float32",
    "structure/big-axes/plain/float32",
    "structure/big-list/momentum/float32",
    "named/narrow/finite-to-the-end/float16",
    "named/narrow/sums-beyond-the-end/float32",
    "named/scale-stays-normal",
    "named/polynomial-ends-at-its-end",
    "named/scale-stays-finite",
    "axes/float64/momentum/clipvalue/accumulation-2/fixed-96/cosine/sparse/special/decimal",
    "named/alone/clipnorm-of-zeros/float32",
    "named/alone/decay-above-one/float32",
    "named/infinite-weight-without-decay",
    "named/alone/averages-of-zeros/float32",
    "structure/equal-shapes-missing-first/accumulation-3/momentum/float32",
    "named/narrow/rates/cosine-fraction",
)
"""Cases that tell any two mistakes apart, chosen one after another by the pairs that each separates."""

DAMAGED = {
    "unscaled-in-place": (
        "named/unscale-by-three",
        "named/large-scale-of-half-gradients",
        "named/sparse-rows-are-unscaled",
    ),
    "clipped-in-place": (
        "named/clipping-without-need",
        "named/squares-overflow",
        "named/float64-settings",
    ),
    "summed-in-place": (
        "named/mean-of-three",
        "named/missing-within-a-window-float32",
        "axes/float16/decay/clipvalue/averages/accumulation-3/inverse_time/missing",
    ),
    "decayed-in-place": (
        "named/every-variable-excluded",
        "named/exclusion-is-a-substring",
        "named/float64-settings",
    ),
}

SHOWN_BY_EVENTS = {
    "velocities-lost-on-restore": "resumed-in-mid-training",
    "averages-lost-on-restore": "resumed-in-mid-training",
    "accumulators-lost-on-restore": "resumed-in-mid-training",
    "calls-lost-on-restore": "resumed-in-mid-training",
    "scale-lost-on-restore": "resumed-in-mid-training",
    "growth-counter-lost-on-restore": "resumed-in-mid-training",
    "skipped-call-resets-accumulators": "resumed-in-mid-training",
    "staircase-ignored": "staircase",
    "only-infinity-tested": "one-nan-under-loss-scaling",
    "scale-at-least-one": "one-nan-under-loss-scaling",
    "skipped-call-moves-velocities": "one-infinity-under-loss-scaling",
    "infinite-norm-hides-gradients": "infinite-global-norm",
    "zero-as-missing": "gradient-of-zeros",
    "global-norm-with-stale-gradients": "missing-under-global-norm",
    "mean-of-those-present": "missing-within-a-window",
    "accumulator-lost-when-missing": "missing-within-a-window",
    "exclusion-by-whole-name": "part-of-a-name-excluded",
    "exclusion-by-first-name-only": "part-of-a-name-excluded",
    "finiteness-tested-after-unscaling": "overflows-when-unscaled",
}
"""Mistakes that random data hardly show, or on contested ground only, and the events that do."""


@cache
def all_cases() -> Mapping[str, Case]:
    """Return the standard cases, those first that tell many mistakes apart."""
    cases = {case.id: case for case in conformance.cases()}
    return MappingProxyType({case_id: cases[case_id] for case_id in dict.fromkeys((*TELLING, *cases))})


@cache
def expected(case_id: str) -> list[dict[str, Any]]:
    return reference.run(all_cases()[case_id])


@cache
def is_contested(case_id: str) -> bool:
    return bool(contested(all_cases()[case_id]))


@cache
def answer(name: str, case_id: str) -> str | None:
    """Return a digest of what a mistake makes of a case; None where it is what the definition does."""
    case = all_cases()[case_id]
    observed = reference.run(case, DEVIATIONS[name].optimizer, DEVIATIONS[name].wrapper)
    check_form(case, expected(case_id), observed)
    if compare(case, expected(case_id), observed).equal:
        return None
    digest = hashlib.sha256()
    for record in observed:
        for quantity, value in sorted(record.items()):
            parts = value if isinstance(value, list) else [value]
            digest.update(quantity.encode())
            for part in parts:
                array = np.asarray(part)
                # The signalling NaNs of bfloat16 raise the processor's flag for invalid operations.
                with np.errstate(invalid="ignore"):
                    nan = np.isnan(array)
                digest.update(nan.tobytes() + np.where(nan, np.zeros_like(array), array).tobytes())
    return digest.hexdigest()


def test_there_are_many_and_no_two_have_one_name() -> None:
    assert len(NAMES) >= 85
    assert len(set(NAMES)) == len(NAMES)
    assert list(DEVIATIONS)[-len(NAMES) :] == list(NAMES)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_says_what_it_is(mistake: Deviation) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+|[a-z]+", mistake.name)
    assert mistake.kind == "contradiction"
    assert issubclass(mistake.optimizer, SGD)
    assert issubclass(mistake.wrapper, LossScaleOptimizer)
    assert (mistake.optimizer is SGD) != (mistake.wrapper is LossScaleOptimizer)
    assert mistake.summary.endswith(".")
    description = " ".join(mistake.description.split())
    assert description.count("Evidence: ") == 1
    evidence = description.split("Evidence: ")[1]
    assert evidence.endswith(".")
    assert ADDRESS.findall(evidence) == ([mistake.address] if mistake.address else [])
    assert bool(mistake.address) != evidence.endswith("no report is known.")
    if mistake.address:
        thread = r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/[0-9]+"
        assert re.fullmatch(thread, mistake.address)


@pytest.mark.share(4)
@pytest.mark.parametrize("name", [name for name in NAMES if name not in DAMAGING])
def test_a_mistake_changes_bits_in_several_cases(name: str) -> None:
    shown = 0
    # Those first in which the audit saw it, so that few have to be run.
    seen = read()["deviations"][name].exposing if name in read()["deviations"] else ()
    for case_id in dict.fromkeys((*(case_id for case_id in seen if case_id in all_cases()), *all_cases())):
        counts = name in ON_OPEN_GROUND or not is_contested(case_id)
        shown += counts and answer(name, case_id) is not None
        if shown == SHOWN_IN:
            return
    pytest.fail(f"{name} is shown by {shown} uncontested cases only")


def test_any_two_mistakes_differ(sweep: Any) -> None:
    """Case by case, what is still alike is told apart; no mistake runs on more cases than it needs."""
    names = [name for name in NAMES if name not in DAMAGING]
    drawn = sweep.generator.choice(names, sweep.count(len(names), 10), replace=False).tolist()
    alike: list[list[str]] = [[REFERENCE, *drawn]]
    for case_id in TELLING:
        told_apart = []
        for names in alike:
            by_answer: dict[str | None, list[str]] = {}
            for name in names:
                made = None if name == REFERENCE else answer(name, case_id)
                by_answer.setdefault(made, []).append(name)
            told_apart += by_answer.values()
        alike = [names for names in told_apart if len(names) > 1]
    assert alike == []


def test_mistakes_run_on_every_case(sweep: Any) -> None:
    pairs = [(name, case.id) for name in NAMES for case in all_cases().values() if case.made is None]
    count = len(pairs) if sweep.complete else QUICK
    for index in sweep.generator.choice(len(pairs), count, replace=False):
        answer(*pairs[index])


@pytest.mark.parametrize("name", DAMAGING)
def test_damage_is_an_error_and_changes_no_bit(name: str) -> None:
    damaging = DEVIATIONS[name].optimizer
    for case in (all_cases()[case_id] for case_id in DAMAGED[name]):
        assert compare(case, expected(case.id), reference.run(private_copy(case), damaging)).equal
        verdict = grade(lambda given: reference.run(given, damaging), case)
        assert (verdict.grade, verdict.message) == ("error", "it changed the gradients that it was given")


@pytest.mark.parametrize("name", SHOWN_BY_EVENTS)
def test_events_show_what_they_are_for(name: str) -> None:
    prefix = f"named/{SHOWN_BY_EVENTS[name]}-"
    answers = [answer(name, case.id) for case in events.cases() if case.id.startswith(prefix)]
    assert len(answers) == SHOWN_IN
    assert all(answers)


def test_all_compose_with_the_others() -> None:
    optimizer, wrapper = compose(DEVIATIONS)
    for mistake in MISTAKES:
        assert issubclass(optimizer, mistake.optimizer)
        assert issubclass(wrapper, mistake.wrapper)
