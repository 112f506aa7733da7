"""Steps that are captured in a CUDA graph and replayed, and steps on a stream of the caller, with PyTorch."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from numba_kernels import cuda
from numba_kernels.cuda.arrays.allocation import from_host, to_host
from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.selfcheck.comparison import compare_cases, timed
from numba_kernels.selfcheck.device.libraries import by_torch, why_not
from numba_kernels.selfcheck.device.on_device import Move
from numba_kernels.selfcheck.extent import Extent
from numba_kernels.selfcheck.making import dense_case, random_numbers
from numba_kernels.selfcheck.result import Result
from sgd_ref import schedules
from sgd_ref.base import learning_rate
from sgd_ref.conformance.catalogue.case import Case, Record
from sgd_ref.conformance.trajectories import reference

NAME = "streams and graphs"
START = "graphs"

SHAPES = (3, 5), (300,), (7,), (4097,)

SCHEDULE = schedules.CosineDecay(0.1, 7)

SETTINGS: dict[str, dict[str, Any]] = {
    "constant": {},
    "schedule": {"learning_rate": SCHEDULE},
    "clipnorm": {"learning_rate": SCHEDULE, "clipnorm": 0.5},
    "global-clipnorm": {"learning_rate": SCHEDULE, "global_clipnorm": 0.5},
}


def check(extent: Extent) -> Result:
    """Check replayed graphs and streams of PyTorch with all kernels of the extent."""
    result = Result(NAME)
    with timed(result):
        for name, run in {"stream": on_stream, "graph": by_graph}.items():
            cases = list(_cases(extent, name))
            if not cases:
                continue
            reason = "the simulator has no graphs" if IS_SIMULATED else why_not("torch")
            if reason is not None:
                result.skips(reason, len(cases))
                continue
            compare_cases(result, cases, extent, run, last_record)
    return result


def on_stream(case: Case) -> list[Record]:
    """Run a case on a stream that is not the default stream."""
    torch = importlib.import_module("torch")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        model = Model(case, by_torch)
        for gradients in case.gradients:
            model.step(gradients)
        stream.synchronize()
        return [model.record()]


def by_graph(case: Case) -> list[Record]:
    """Make the first call of a case outside of a graph, and all other calls by replaying a captured graph."""
    torch = importlib.import_module("torch")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        model = Model(case, by_torch)
        model.step(case.gradients[0])
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            model.apply()
        model.optimizer.prepare_replays(len(case.gradients) - 1)
        for gradients in case.gradients[1:]:
            model.set_gradients(gradients)
            graph.replay()
        stream.synchronize()
        return [model.record()]


class Model:
    """The variables and gradients of a case as arrays on the device that never move.

    Parameters
    ----------
    case : Case
        The case.
    move : callable
        Copies an array of the host to an array of a library with a current stream.
    """

    def __init__(self, case: Case, move: Move) -> None:
        self.variables = [move(variable) for variable in case.variables]
        self._gradients = [move(np.asarray(gradient)) for gradient in case.gradients[0]]
        self.optimizer = cuda.SGD.from_config(case.config)
        self.optimizer.exclude_from_weight_decay(var_names=list(case.excluded_from_weight_decay))
        self.optimizer.build(self.variables, list(case.names))

    def set_gradients(self, gradients: Any) -> None:
        """Write the gradients of the next call into the memory of the first gradients."""
        for tensor, gradient in zip(self._gradients, gradients, strict=True):
            from_host(tensor, gradient)

    def apply(self) -> None:
        """Make a call."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.optimizer.apply(self._gradients)

    def step(self, gradients: Any) -> None:
        """Make a call with other gradients."""
        self.set_gradients(gradients)
        self.apply()

    def record(self) -> Record:
        """Return the state as a record of a trajectory."""
        optimizer = self.optimizer
        return {
            "variables": [to_host(variable) for variable in self.variables],
            "velocities": [to_host(array) for array in optimizer.velocities],
            "averages": [to_host(array) for array in optimizer.averages],
            "accumulators": [to_host(array) for array in optimizer.accumulators],
            "iterations": optimizer.iterations,
            "calls": optimizer.calls,
            "learning_rate": np.float32(optimizer.learning_rate),
        }


def last_record(case: Case) -> list[Record]:
    """Return the record of the reference after the last call, with the learning rate of the next call."""
    last = dict(reference.run(case)[len(case.gradients) - 1])
    optimizer = cuda.SGD.from_config(case.config)
    last["learning_rate"] = learning_rate.read(optimizer.rate_source, last["calls"])
    return [last]


def _cases(extent: Extent, name: str) -> Iterator[Case]:
    for dtype, variant in extent.kernels():
        for setting, others in SETTINGS.items():
            identifier = f"{START}/{dtype.name}/{variant.name}/{name}-{setting}"
            if extent.wants(identifier):
                generator = random_numbers(extent, identifier)
                yield dense_case(identifier, variant, SHAPES, dtype, generator, **others)
