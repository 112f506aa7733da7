"""The work of a process: run cases with their kernels as PTX, and compare every bit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from numba_kernels.selfcheck.comparison import by_kernels, compare_cases, timed
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.ptx import session
from numba_kernels.selfcheck.ptx.checks import coverage
from numba_kernels.selfcheck.ptx.checks.dumping import Dump
from numba_kernels.selfcheck.result import Result
from sgd_ref.conformance.catalogue.case import Case, Trajectory


class Way(NamedTuple):
    """The way in which cases are run.

    Attributes
    ----------
    move : str
        How arrays are moved to the device: a name of ``device.libraries.MOVES``, or "graph" or "stream".
    in_random_order : bool
        Whether warps and blocks overtake each other.
    computes_norms_exactly : bool
        Whether every norm takes the path for norms that no bound decides.
    """

    move: str = "numba"
    in_random_order: bool = False
    computes_norms_exactly: bool = False


def run_cases(
    name: str, cases: Sequence[Case], way: Way, extent: Extent, folder: Path, dump: Path | None = None
) -> Result:
    """Run cases in this process, and return the differences; a fault of memory or order counts as one.

    Parameters
    ----------
    name : str
        The name of the result.
    cases : sequence of Case
    way : Way
        The way in which they are run.
    extent : Extent
        The extent, which has the seed.
    folder : Path
        The folder for the coverage.
    dump : Path, optional
        The folder that all launches are written into.
    """
    device = session.begin()
    device.dump = None if dump is None else device.dump or Dump(dump)
    device.options.seed, device.options.in_random_order = extent.seed, way.in_random_order
    device.queue.draw_from(np.random.default_rng([extent.seed, len(cases)]))
    run, expected = _implementation(way)

    def checked(case: Case) -> Trajectory:
        device.take_faults()
        device.captures.clear()
        if device.dump is not None:
            device.dump.case = case.id
        try:
            answer = run(case)
            device.queue.finish_all()
        # After a fault, a device answers every call with an error, which says less than the fault itself.
        except Exception:
            device.captures.clear()
            if device.faults:
                raise device.faults[0] from None
            raise
        if device.faults:
            raise device.faults[0]
        return list(answer)

    result = Result(name)
    with timed(result), _norms(way):
        compare_cases(result, cases, extent, checked, **expected)
    coverage.write(device, folder)
    return result


def _implementation(way: Way) -> tuple[Any, dict[str, Any]]:
    # These modules need numba-cuda, and must be imported after the session has begun.
    from numba_kernels.selfcheck.device import libraries

    if way.move in ("graph", "stream"):
        from numba_kernels.selfcheck.device import graphs
        from numba_kernels.selfcheck.ptx.checks import replaying

        run = replaying.by_graph if way.move == "graph" else replaying.on_stream
        return run, {"expected": graphs.last_record}
    _, move = libraries.MOVES[way.move]
    return by_kernels(libraries.optimizer_class(move, libraries.MOVES["numba"][1])), {}


def _norms(way: Way) -> AbstractContextManager[None]:
    from numba_kernels.selfcheck.device.runner import nothing_decided

    return nothing_decided() if way.computes_norms_exactly else nullcontext()
