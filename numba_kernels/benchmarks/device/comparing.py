"""Comparisons of the measurements on a device: which peer is the fastest, and by how much."""

from __future__ import annotations

from collections.abc import Sequence

from numba_kernels.benchmarks import contest
from numba_kernels.benchmarks.contest import ByPeer
from numba_kernels.benchmarks.device.suite import STEPS
from numba_kernels.benchmarks.measurements import Measurements, fastest, measured
from numba_kernels.benchmarks.workload import Workload


def steps(found: Measurements, workload: Workload) -> ByPeer:
    """Return the measurements of the steps of a workload; none, if it was not run."""
    return dict(found.section(STEPS)).get(workload, {})


def speed_over(result: ByPeer, peers: Sequence[str], others: Sequence[str]) -> float | None:
    """Return how many times as long the fastest of the others takes as the fastest of some peers.

    None if nothing was measured of the ones or of the others.
    """
    peer, other = measured(result, fastest(result, peers)), measured(result, fastest(result, others))
    return None if peer is None or other is None else contest.ratio(other, peer)
