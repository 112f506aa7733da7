"""The process of a family of peers: a request is one line of JSON, and so is the answer.

A workload is set up for each turn and freed after it. So the large arrays of several libraries need not be in
memory at once, and no library has the advantage of a better placement in memory in all turns.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

from numba_kernels.benchmarks import checking
from numba_kernels.benchmarks.peers import NotOffered, prepare
from numba_kernels.benchmarks.timing import peak_growth, time_steps
from numba_kernels.benchmarks.workload import Workload
from sgd_ref.conformance.protocol.json_lines import Json, from_line, to_line


def main() -> None:
    """Answer the requests on standard input until it ends."""
    threads = int(sys.argv[1])
    _confine(threads)
    # Frameworks print to standard output, also from C, and this text would be mixed with the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for request in sys.stdin.buffer:
        answers.write(to_line(_answer(from_line(request), threads)))
        answers.flush()


def _confine(threads: int) -> None:
    """Restrict the process to as many processors as threads, since JAX has no setting for threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def _answer(request: Json, threads: int) -> dict[str, Any]:
    peer, workload = request["peer"], Workload(**request["workload"])
    step = None
    try:
        # As with memory, once is enough.
        found = checking.fault(peer, workload, threads) if request["memory"] else None
        step = prepare(peer, workload, threads).step
        samples = time_steps(step, request["seconds"])
        growth = peak_growth(step) if request["memory"] else None
    except NotOffered as reason:
        return {"absent": str(reason)}
    # If a library fails, its line of the table says so, and the others are timed.
    except Exception as error:
        return {"absent": f"{type(error).__name__}: {error}"}
    finally:
        step = None
        gc.collect()
    return {"samples": samples, "growth": growth, "fault": found}


if __name__ == "__main__":
    main()
