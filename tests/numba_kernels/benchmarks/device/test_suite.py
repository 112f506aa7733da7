"""What is measured on a device, and how much of its memory that takes."""

from __future__ import annotations

import re

import pytest

from numba_kernels.benchmarks import suite as suite_of_host
from numba_kernels.benchmarks.device.peers import FAMILIES, ROOFS
from numba_kernels.benchmarks.device.suite import full, quick
from numba_kernels.benchmarks.device.workers import MARGIN, needed_memory
from numba_kernels.benchmarks.models import FOR_DEVICES
from numba_kernels.benchmarks.workload import Workload

GIBI = 2**30


def test_the_suite_has_what_was_asked_for() -> None:
    races = full().races
    steps = [race.workload for race in races if race.section == "steps"]
    assert {w.model for w in steps} == {"one of 1 G", "ResNet-50", "GPT-2 XL", "200 of 1,000"}
    assert len(set(steps)) == len(steps) == 4 * 2 * 2
    assert {(w.settings, w.dtype) for w in steps} == {
        (settings, dtype) for settings in ("momentum", "everything") for dtype in ("float32", "bfloat16")
    }
    assert all(race.peers == tuple(FAMILIES) for race in races if race.section == "steps")
    calls = [race for race in races if race.section == "calls"]
    assert {race.workload.model for race in calls} == {"200 of 1,000"}
    assert not any(set(race.peers) & set(ROOFS) for race in calls)
    assert full().rounds >= 3


def test_a_quick_look_is_a_part_of_everything() -> None:
    everything = {(race.section, race.workload) for race in full().races}
    some = {(race.section, race.workload) for race in quick().races}
    assert some < everything
    assert {section for section, _ in some} == {"steps", "calls"}
    assert not {w.model for _, w in some} & set(FOR_DEVICES)


def test_the_host_is_spared_the_models_for_devices() -> None:
    races = [*suite_of_host.full().races, *suite_of_host.quick().races]
    assert not {race.workload.model for race in races} & set(FOR_DEVICES)


def test_workloads_are_chosen_by_name() -> None:
    chosen = full().only(re.compile("^200.*everything, float32"))
    assert [(race.section, str(race.workload)) for race in chosen.races] == [
        ("steps", "200 of 1,000, everything, float32"),
        ("calls", "200 of 1,000, everything, float32"),
    ]
    assert quick().only(None) == quick()
    with pytest.raises(ValueError, match="-k must match the name of a workload, got 'AlexNet'"):
        full().only(re.compile("AlexNet"))


@pytest.mark.parametrize(
    ("peer", "settings", "dtype", "gibibytes"),
    [
        # Variables, velocities and gradients of 4 GiB; a copy of half as much as is read and written.
        ("kernels", "momentum", "float32", 12),
        ("roof torch", "momentum", "float32", 20),
        # With averages, and the gradients read twice.
        ("torch fused", "everything", "float32", 16),
        ("roof driver", "everything", "float32", 32),
        ("optax", "everything", "bfloat16", 8),
    ],
)
def test_memory_that_is_needed(peer: str, settings: str, dtype: str, gibibytes: int) -> None:
    needed = needed_memory(peer, Workload("one of 1 G", settings, dtype))
    assert needed == gibibytes * GIBI + MARGIN
