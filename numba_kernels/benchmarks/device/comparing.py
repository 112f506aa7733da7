"""Comparisons of the measurements on a device: which peer is the fastest, and by how much."""

from __future__ import annotations

from collections.abc import Sequence

from numba_kernels.benchmarks import contest
from numba_kernels.benchmarks.contest import ByPeer
from numba_kernels.benchmarks.device.suite import STEPS
from numba_kernels.benchmarks.measurements import Measurements, fastest, measured
from numba_kernels.benchmarks.workload import Workload


def steps(found: Measurements, workload: Workload) -> ByPeer:
    """Return the measurements of the steps of a workload; empty if the workload was not run."""
    return dict(found.section(STEPS)).get(workload, {})


def speed_over(result: ByPeer, peers: Sequence[str], others: Sequence[str]) -> float | None:
    """Return the time of the fastest of the other peers, divided by that of the fastest of some peers.

    The result is None if one of the two groups has no measurement.
    """
    peer, other = measured(result, fastest(result, peers)), measured(result, fastest(result, others))
    return None if peer is None or other is None else contest.ratio(other, peer)
