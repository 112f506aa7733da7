"""The process of a family of peers on a device: a request is one line of JSON, and so is the answer.

A workload is set up for each turn, and its memory is freed after the turn, since no device has memory for the
arrays of all peers.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from numba_kernels.benchmarks.device.memory import give_back
from numba_kernels.benchmarks.device.peers import NotOffered, prepare
from numba_kernels.benchmarks.device.timing import time_calls, time_steps
from numba_kernels.benchmarks.workload import Workload
from sgd_ref.conformance.protocol.json_lines import Json, from_line, to_line

TIMINGS = {"steps": time_steps, "calls": time_calls}


def main() -> None:
    """Answer the requests on standard input until it ends."""
    # Frameworks print to standard output, also from C, and this text would be mixed with the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    for request in sys.stdin.buffer:
        answers.write(to_line(answer(from_line(request))))
        answers.flush()


def answer(request: Json) -> dict[str, Any]:
    """Time one turn of a peer, or return the reason why it cannot be timed."""
    prepared = None
    try:
        prepared = prepare(request["peer"], Workload(**request["workload"]))
        samples = TIMINGS[request["timing"]](prepared, request["seconds"])
    except NotOffered as reason:
        return {"absent": str(reason)}
    # If a library fails, its line of the table says so, and the others are timed.
    except Exception as error:
        return {"absent": f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"}
    finally:
        prepared = None
        give_back()
    return {"samples": samples, "growth": None}


if __name__ == "__main__":
    main()
