"""The page, the goals and the raw samples: losses are shown like wins, and what is missing is named."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from numba_kernels.benchmarks import measurements, page, plots
from numba_kernels.benchmarks.contest import Measurement
from numba_kernels.benchmarks.goals import goals
from numba_kernels.benchmarks.measurements import Measurements
from numba_kernels.benchmarks.suite import Race, full, quick
from numba_kernels.benchmarks.workload import Workload

RESNET = Workload("ResNet-50", "momentum")


def entry(seconds: float, threads: int = 1, growth: int | None = 0) -> Measurement:
    return Measurement(threads, [[seconds, seconds], [2 * seconds]], growth, {"2": [seconds]})


def found(kernels: float, growth: int | None = 0) -> Measurements:
    peers = {
        "kernels": entry(kernels, growth=growth),
        "torch fused": entry(0.02, threads=2),
        "torch foreach": entry(0.03),
        "roof numpy": entry(0.019),
        "optax": Measurement(absent="optax is not installed"),
    }
    growing = {peer: entry(1e-5) for peer in ("kernels", "numpy")}
    sizes = [Race("size", Workload(f"1 x {size}", "momentum"), tuple(growing)) for size in (100, 10_000)]
    steps = {"kernels": {"cold": [9.0], "warm": [1.0, 1.25, 2.0]}, "optax": {"absent": "it failed"}}
    return Measurements(
        {"processor": "abacus"},
        [(Race("steps", RESNET, tuple(peers)), peers), *((race, growing) for race in sizes)],
        steps,
    )


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {name}"))


def test_a_win_and_a_loss_look_alike() -> None:
    for kernels, cell, times, status in (
        (0.01, "15.0 ms, 34.1 GB/s, 1 thread", "x 2.00", "| 2 | reached |"),
        (0.04, "60.0 ms, 8.52 GB/s, 1 thread", "x 0.50", "| 0.5 | missed |"),
    ):
        text = page.render(found(kernels))
        step = row(text, "ResNet-50 |")
        assert cell in step
        assert f"30.0 ms, {times}, 2 threads" in step
        words = "ResNet-50, momentum, float32: speed over that of the faster one of PyTorch"
        assert status in row(text, words)


def test_everything_is_on_the_page() -> None:
    text = page.render(found(0.01), ["growth.svg"])
    assert "| processor | abacus |" in text
    assert "| **kernels** | 9.00 s | 1.25 s |" in text
    assert "![growth.svg](growth.svg)" in text
    assert "| 1 of 10,000 | 15.0 us" in text
    assert "| optax | optax is not installed | 1, such as ResNet-50, momentum, float32 |" in text
    assert "| optax | it failed | 1, such as the first step |" in text
    assert "not measured" in row(text, "one of 32 M, momentum, float32: speed over that of the roof")


def test_a_wrong_result_is_marked_beside_its_time() -> None:
    measurements_ = found(0.01)
    assert "Wrong results" not in page.render(measurements_)
    measurements_.races[0][1]["torch fused"].fault = "after one step it is off"
    text = page.render(measurements_)
    assert "30.0 ms, x 2.00, 2 threads, **wrong result**" in row(text, "ResNet-50 |")
    assert text.count("**wrong result**,") == 0
    assert "## Wrong results" in text
    assert "| torch fused | ResNet-50, momentum, float32 | after one step it is off |" in text


@pytest.mark.parametrize(
    ("growth", "status"), [(0, "reached"), (100_000_000, "missed"), (None, "not measured")]
)
def test_memory_of_the_size_of_the_model_misses_the_goal(growth: int | None, status: str) -> None:
    (goal,) = (goal for goal in goals(found(0.01, growth)) if "memory allocated" in goal.words)
    assert goal.status == status


def test_raw_samples_are_kept() -> None:
    document = json.loads(measurements.to_json(found(0.0123456789)))
    kernels = document["races"][0]["peers"]["kernels"]
    assert kernels["seconds"] == [[0.0123457, 0.0123457], [0.0246914]]
    assert kernels["threads"] == 1
    assert document["machine"] == {"processor": "abacus"}
    assert document["first_steps"]["kernels"]["warm"] == [1.0, 1.25, 2.0]


def test_all_goals_are_among_what_is_measured_in_full() -> None:
    planned = Measurements(
        {},
        [(race, {peer: entry(1.0) for peer in race.peers}) for race in full().races],
        {"kernels": {"cold": [1.0], "warm": [1.0]}},
    )
    assert len(goals(planned)) > 30
    assert "not measured" not in {goal.status for goal in goals(planned)}


def test_a_quick_look_is_a_part_of_everything() -> None:
    everything = {race.workload for race in full().races}
    assert {race.workload for race in quick().races} < everything
    assert len(quick().races) < 10


def test_plots_show_each_peer_and_come_out_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert plots.draw(found(0.01), tmp_path) == ["benchmarks-size.svg"]
    first = (tmp_path / "benchmarks-size.svg").read_bytes()
    assert {b"kernels", b"numpy"} <= set(re.findall(rb"<!-- (\w+) -->", first))
    plots.draw(found(0.01), tmp_path)
    assert (tmp_path / "benchmarks-size.svg").read_bytes() == first


def test_without_matplotlib_there_are_no_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert plots.draw(found(0.01), tmp_path) == []
    assert list(tmp_path.iterdir()) == []
