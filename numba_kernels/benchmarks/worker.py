"""The process of a family of peers: a request is one line of JSON, and so is the answer.

A workload is set up anew for each turn and given back after it, so that large ones of several libraries need
not be in memory at once, and no library always has the luckier pages.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

from numba_kernels.benchmarks.peers import NotOffered, prepare
from numba_kernels.benchmarks.timing import peak_growth, time_steps
from numba_kernels.benchmarks.workload import Workload
from sgd_ref.conformance.protocol.json_lines import Json, from_line, to_line


def main() -> None:
    """Answer to requests on standard input until it ends."""
    threads = int(sys.argv[1])
    _confine(threads)
    # Frameworks print to standard output, also from C, and would print into the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for request in sys.stdin.buffer:
        answers.write(to_line(_answer(from_line(request), threads)))
        answers.flush()


def _confine(threads: int) -> None:
    """Give the process as many processors as threads: JAX has no other setting."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def _answer(request: Json, threads: int) -> dict[str, Any]:
    step = None
    try:
        step = prepare(request["peer"], Workload(**request["workload"]), threads)
        samples = time_steps(step, request["seconds"])
        growth = peak_growth(step) if request["memory"] else None
    except NotOffered as reason:
        return {"absent": str(reason)}
    # A library that fails is one line of the table; the others are timed all the same.
    except Exception as error:
        return {"absent": f"{type(error).__name__}: {error}"}
    finally:
        step = None
        gc.collect()
    return {"samples": samples, "growth": growth}


if __name__ == "__main__":
    main()
