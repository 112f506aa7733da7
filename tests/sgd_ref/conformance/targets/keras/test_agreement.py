"""Real Keras over the standard tier: where it keeps to the definition, and by which names it does not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from rich.console import Console

from sgd_ref.base.installing import how_to_install
from sgd_ref.conformance import Case, Verdict
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.targets import registry, running
from sgd_ref.conformance.targets.keras.launch import BACKENDS, available
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import units_apart

# A run of all cases takes minutes; every 120th case shows every stage.
SHARE = 120
MODES = ("eager", "compiled")
# Of the share that a run without --sweep takes; a run of all has three times as many.
FEWEST_CLEAR, FEWEST_RATES, FEWEST_NAMES = 12, 4, 3


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest) -> dict[str, Findings]:
    """What the runs of all backends found, by name; without --sweep only JAX runs compiled as well."""
    missing = [backend for backend in BACKENDS if not available(backend)]
    if missing:
        reason = f"Keras on {', '.join(missing)} is not installed: {how_to_install('keras', 'torch')}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    console = Console(quiet=True)
    found: dict[str, Findings] = {}
    complete = request.config.getoption("--sweep")
    for mode in MODES:
        chosen = small_cases() if complete else share_of_cases(mode)
        # Each process takes seconds to import its framework.
        backend = "all" if complete or mode == "eager" else "jax"
        runs, _ = running.run_all(registry.targets("keras", backend=backend, mode=mode), chosen, console)
        found |= {run.report.name: run for run in runs}
    return found


def small_cases() -> list[Case]:
    return [case for case in cases() if case.made is None]


def share_of_cases(mode: str) -> list[Case]:
    """Return every few cases; for the tests of eager runs also clear ground and smooth schedules."""
    small = small_cases()
    chosen = {case.id for case in [*small[::SHARE], next(filter(contested, small))]}
    if mode == "eager":
        chosen |= {case.id for case in list(filter(is_clear, small))[::5]}
        chosen |= {case.id for case in list(filter(has_smooth_schedule, small))[::30]}
    return [case for case in small if case.id in chosen]


def has_smooth_schedule(case: Case) -> bool:
    """Whether the rate of an implementation may be some units off; named cases hold extremes."""
    return bool(case.learning_rate_units) and not case.id.startswith("named/")


def is_clear(case: Case) -> bool:
    """Whether a case stays clear of all that Keras is known to do otherwise on JAX and TensorFlow.

    That is: smooth schedules, subnormals, infinities and -0.0, norms, divisions that are no powers of
    two, averages in accumulating calls, dynamic loss scaling, sparse gradients, whose rows TensorFlow
    merges late, and float64 settings that float32 does not hold.
    """
    features = case.features
    if features is None:
        return False
    return (
        features["learning_rate"] in ("constant", "piecewise", "callable")
        and features["values"] == "ordinary"
        and features["clipping"] in ("none", "clipvalue")
        and features["accumulation"] in ("none", "2")
        and features["loss_scaling"] in ("none", "fixed")
        and (features["averages"] == "none" or features["accumulation"] == "none")
        and (features["gradients"] == "dense" or features["accumulation"] == "none")
        and features["gradients"] != "sparse"
        and (features["dtype"] != "float64" or features["settings"] == "dyadic")
    )


def clear(found: Findings) -> Iterator[Verdict]:
    for verdict in found.report.verdicts.values():
        if is_clear(verdict.case) and verdict.grade != "unsupported":
            yield verdict


@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_eager_keras_is_bit_equal_on_clear_ground(findings: dict[str, Findings], backend: str) -> None:
    verdicts = list(clear(findings[f"keras {backend} eager"]))
    assert len(verdicts) >= FEWEST_CLEAR
    assert {dtype for v in verdicts for dtype in [v.case.features["dtype"]]} == {  # type: ignore[index]
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "mixed",
    }
    assert [(v.case.id, str(v.difference), v.message) for v in verdicts if v.grade != "exact"] == []


def test_pytorch_is_within_a_few_units_on_clear_ground(findings: dict[str, Findings]) -> None:
    verdicts = list(clear(findings["keras torch eager"]))
    assert len(verdicts) >= FEWEST_CLEAR
    for verdict in verdicts:
        if verdict.case.features["dtype"] in ("float16", "bfloat16", "mixed"):  # type: ignore[index]
            continue
        assert verdict.trajectory is not None, verdict.message
        expected = reference.run(verdict.case)
        for position, start in enumerate(verdict.case.variables):
            if not start.size:
                continue
            # Of what was added up, not of what a cancellation left of it.
            path = np.array([start, *(record["variables"][position] for record in expected)])
            units = np.spacing(np.abs(path).max())
            observed = np.array([start, *(record["variables"][position] for record in verdict.trajectory)])
            assert np.abs(path - observed).max() <= 8 * units, verdict.case.id


@pytest.mark.parametrize("backend", BACKENDS)
def test_smooth_schedules_are_within_the_units_of_their_cases(
    findings: dict[str, Findings], backend: str
) -> None:
    checked = 0
    for verdict in findings[f"keras {backend} eager"].report.verdicts.values():
        case = verdict.case
        if not has_smooth_schedule(case) or verdict.trajectory is None:
            continue
        for want, got in zip(reference.run(case), verdict.trajectory, strict=True):
            if "learning_rate" in want:
                rates = [np.float32(record["learning_rate"]) for record in (want, got)]
                assert units_apart(*map(np.asarray, rates)) <= case.learning_rate_units, case.id
                checked += 1
    assert checked > FEWEST_RATES


def test_nothing_is_unexplained(findings: dict[str, Findings]) -> None:
    unexplained = {
        name: [(v.case.id, str(v.difference), v.message) for v in found.unexplained()]
        for name, found in findings.items()
    }
    assert unexplained == {name: [] for name in findings}


def test_known_contradictions_are_found_by_name(findings: dict[str, Findings]) -> None:
    found = {name for run in findings.values() for name in run.found if name in run.contradictions}
    assert len(found) >= FEWEST_NAMES, found


def test_contested_share_is_small(findings: dict[str, Findings]) -> None:
    for run in findings.values():
        assert 0 < run.report.contested_share < 0.25
