"""The page, the goals and the raw samples, from measurements that were made up."""

from __future__ import annotations

import json

from numba_kernels.benchmarks import measurements
from numba_kernels.benchmarks.contest import Measurement
from numba_kernels.benchmarks.device import page
from numba_kernels.benchmarks.device.goals import goals
from numba_kernels.benchmarks.device.peers import FAMILIES
from numba_kernels.benchmarks.device.suite import CALLS, STEPS, full
from numba_kernels.benchmarks.measurements import Measurements
from numba_kernels.benchmarks.suite import Race
from numba_kernels.benchmarks.workload import Workload

SINGLE = Workload("one of 1 G", "everything")
SMALL = Workload("200 of 1,000", "momentum")

OTHERS = {"torch fused": 0.020, "torch foreach": 0.025, "torch compiled": 0.0125, "torch graph": 0.019}


def entry(seconds: float) -> Measurement:
    return Measurement(1, [[seconds, 9 * seconds, seconds], [seconds]])


def found(kernels: float, kernels_in_graph: float, small: float = 12e-6) -> Measurements:
    steps = {
        "kernels": entry(kernels),
        "kernels graph": entry(kernels_in_graph),
        **{peer: entry(seconds) for peer, seconds in OTHERS.items()},
        "optax": Measurement(absent="JAX finds no device"),
        "roof torch": entry(0.010),
        "roof driver": entry(0.011),
    }
    graph = {"kernels graph": entry(small), "torch graph": entry(20e-6)}
    calls = {"kernels": entry(50e-6), "torch fused": entry(100e-6), "torch foreach": entry(40e-6)}
    races = [
        (Race(STEPS, SINGLE, tuple(steps)), steps),
        (Race(STEPS, SMALL, tuple(graph)), graph),
        (Race(CALLS, SMALL, tuple(calls)), calls),
    ]
    return Measurements({"device": "abacus", "driver": "1.0"}, races)


def statuses(found: Measurements) -> dict[str, tuple[float | None, str]]:
    return {goal.words: (goal.value, goal.status) for goal in goals(found)}


def rows(text: str, heading: str) -> list[str]:
    lines = text.partition(f"\n{heading}\n")[2].partition("\n#")[0].splitlines()
    return [line for line in lines if line.startswith("| ")]


def test_a_table_has_time_bytes_roof_and_pytorch() -> None:
    text = page.render(found(0.0125, 0.025))
    assert rows(text, "## one of 1 G, everything, float32")[1:4] == [
        # Eight arrays of 4 GiB; the faster copy takes 10 ms, the compiled composition 12.5.
        "| **kernels** | 12.5 ms | 2,749 | 0.80 | 1.00 |",
        "| **kernels graph** | 25.0 ms | 1,374 | 0.40 | 0.50 |",
        "| torch fused | 20.0 ms | 1,718 | 0.50 | 0.62 |",
    ]
    assert "| optax | JAX finds no device | 1, such as one of 1 G, everything, float32 |" in text
    assert rows(text, "### Launch cost of 200 of 1,000, momentum, float32")[1:] == [
        "| **kernels** | 50.0 us | 0.80 |",
        "| torch fused | 100 us | 0.40 |",
        "| torch foreach | 40.0 us | 1.00 |",
    ]
    assert "| device | abacus |" in text
    assert "| driver | 1.0 |" in text


def test_a_win_and_a_loss_look_alike() -> None:
    name = "one of 1 G, everything, float32: speed over that of"
    for kernels, captured, expected in (
        (0.010, 0.008, (1.25, "reached", 1.5625, "reached", 2.375, "reached", 1.25, "reached")),
        (0.012, 0.0125, (0.010 / 0.012, "missed", 0.0125 / 0.012, "missed", 0.019 / 0.012, "reached")),
        (0.025, 0.020, (0.5, "missed", 0.625, "missed", 0.95, "missed", 0.5, "missed")),
    ):
        all_goals = statuses(found(kernels, captured))
        results = [
            all_goals[f"{name} a copy of as many bytes"],
            all_goals[f"{name} PyTorch's fastest composition"],
            all_goals[f"{name} PyTorch's fastest composition without a compiler"],
            all_goals[f"{name} PyTorch's best, both without a graph"],
        ]
        flat = [part for result in results for part in result]
        for part, wanted in zip(flat, expected, strict=False):
            assert part == wanted if isinstance(wanted, str) else abs(float(part or 0) - wanted) < 1e-12


def test_the_goals_are_those_that_were_set() -> None:
    bounds: dict[float, int] = {}
    for goal in goals(found(1.0, 1.0)):
        bounds[goal.bound] = bounds.get(goal.bound, 0) + 1
    # One of 1 G beside a copy; everything beside a copy; PyTorch's best with graphs and without;
    # everything with a compiler and without; microseconds.
    assert bounds == {0.92: 2, 0.9: 6, 1.0: 32, 1.55: 12, 15.0: 4}


def test_microseconds_in_a_graph_are_at_most_fifteen() -> None:
    words = "200 of 1,000, momentum, float32: microseconds of a step in a graph"
    assert statuses(found(1.0, 1.0))[words] == (12.0, "reached")
    value, status = statuses(found(1.0, 1.0, 16e-6))[words]
    assert (round(value or 0, 9), status) == (16.0, "missed")
    assert "| at most 15 | 12 | reached |" in page.render(found(1.0, 1.0))


def test_what_was_not_measured_is_named() -> None:
    nothing = Measurements({}, [])
    assert {status for _, status in statuses(nothing).values()} == {"not measured"}
    assert "not measured" in page.render(nothing)


def test_all_goals_are_among_what_is_measured_in_full() -> None:
    planned = Measurements({}, [(race, {peer: entry(1.0) for peer in race.peers}) for race in full().races])
    assert "not measured" not in {status for _, status in statuses(planned).values()}


def test_the_steps_and_not_the_calls_decide() -> None:
    measured = found(1.0, 1.0)
    measured.races.reverse()
    words = "200 of 1,000, momentum, float32: microseconds of a step in a graph"
    assert statuses(measured)[words] == (12.0, "reached")


def test_raw_samples_are_kept() -> None:
    document = json.loads(measurements.to_json(found(0.0125, 0.025)))
    assert document["races"][0]["peers"]["kernels"]["seconds"] == [[0.0125, 0.1125, 0.0125], [0.0125]]
    assert document["races"][2]["section"] == "calls"


def test_every_peer_has_a_name_on_the_page() -> None:
    result = {peer: entry(1.0) for peer in FAMILIES}
    text = page.render(Measurements({}, [(Race(STEPS, SINGLE, tuple(FAMILIES)), result)]))
    assert len(rows(text, "## one of 1 G, everything, float32")) == 1 + len(FAMILIES)
