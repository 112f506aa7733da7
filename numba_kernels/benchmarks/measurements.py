"""All results of one run of the benchmarks, and their raw form."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numba_kernels.benchmarks import contest
from numba_kernels.benchmarks.contest import ByPeer, Measurement
from numba_kernels.benchmarks.peers import KERNELS, ROOFS
from numba_kernels.benchmarks.suite import Race
from numba_kernels.benchmarks.workload import Workload

FirstSteps = Mapping[str, Mapping[str, Any]]
"""For each peer: seconds under "cold" and "warm", or under "absent" the reason why there are none."""


@dataclass
class Measurements:
    """The results of one run.

    Attributes
    ----------
    machine : mapping of str to str
        The machine and the versions that the results hold for.
    races : list of (Race, ByPeer)
        Every race, with the measurements of its peers.
    first_steps : mapping
        Seconds from the start of a process to the end of its first step.
    """

    machine: Mapping[str, str]
    races: list[tuple[Race, ByPeer]] = field(default_factory=list)
    first_steps: FirstSteps = field(default_factory=dict)

    def result(self, workload: Workload) -> ByPeer:
        """Return the measurements of a workload; empty if the workload was not run."""
        return next((result for race, result in self.races if race.workload == workload), {})

    def section(self, name: str) -> list[tuple[Workload, ByPeer]]:
        """Return the workloads of a section with their results."""
        return [(race.workload, result) for race, result in self.races if race.section == name]

    def times_as_long(self, workload: Workload, peers: Sequence[str]) -> float | None:
        """Return the time of the fastest of some peers, divided by that of the kernels."""
        result = self.result(workload)
        return times_as_long(result, fastest(result, peers))


def measured(result: ByPeer, peer: str | None) -> Measurement | None:
    """Return the measurement of a peer; None if it was not measured."""
    measurement = None if peer is None else result.get(peer)
    return None if measurement is None or measurement.absent else measurement


def fastest(result: ByPeer, peers: Iterable[str]) -> str | None:
    """Return the peer with the shortest median."""
    candidates = {peer: measurement for peer in peers if (measurement := measured(result, peer)) is not None}
    return min(candidates, key=lambda peer: candidates[peer].seconds, default=None)


def times_as_long(result: ByPeer, peer: str | None) -> float | None:
    """Return the time of a peer, divided by that of the kernels; None if one of them was not measured."""
    measurement, kernels = measured(result, peer), measured(result, KERNELS)
    return None if measurement is None or kernels is None else contest.ratio(measurement, kernels)


def roof(result: ByPeer) -> str | None:
    """Return the fastest peer that moves as many bytes as a step."""
    return fastest(result, ROOFS)


def median(samples: Any) -> float | None:
    """Return the median of a list of seconds; None if there is no list."""
    return statistics.median(samples) if samples else None


def to_json(measurements: Measurements) -> str:
    """Return everything as JSON, all samples in seconds."""
    document = {
        "machine": dict(measurements.machine),
        "races": [
            {
                "section": race.section,
                "workload": race.workload.to_json(),
                "peers": {peer: contest.to_json(measurement) for peer, measurement in result.items()},
            }
            for race, result in measurements.races
        ],
        "first_steps": {peer: dict(found) for peer, found in measurements.first_steps.items()},
    }
    # Two runs never agree to six digits, so more digits would say nothing.
    return json.dumps(_rounded(document), separators=(",", ":")) + "\n"


def _rounded(part: Any) -> Any:
    if isinstance(part, float):
        return float(f"{part:.6g}")
    if isinstance(part, dict):
        return {key: _rounded(value) for key, value in part.items()}
    return [_rounded(value) for value in part] if isinstance(part, list) else part
