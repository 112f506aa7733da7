"""The process in which a worker runs: ``python serving.py WORKER`` in the environment of a framework.

It needs the standard library and NumPy, and ml_dtypes for bfloat16; no other part of this package is
installed in the environment. WORKER is a file that defines

- ``versions()``: the versions of the packages that it runs, by name; that of the framework itself under
  "version";
- ``Training(case)``: one optimizer for the variables of a case, with ``step(gradients, rate)`` for each
  call, and ``record()``, the state after it. A gradient is an array, `Rows`, or None. ``finalize()`` is for
  averages.

A worker raises NotImplementedError for a feature that its framework does not offer, and does not catch errors
of the framework. `case` has the keys of a case in the protocol as attributes, with arrays of NumPy;
`case.excluded` says for each variable whether it is excluded from weight decay.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import platform
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, BinaryIO

import numpy as np

Json = dict[str, Any]


class Rows:
    """Rows of a gradient along its first axis; the other rows are zero, and rows given twice are added."""

    def __init__(self, indices: list[int], values: Any, shape: tuple[int, ...]) -> None:
        self.indices, self.values, self.shape = indices, values, shape

    def dense(self) -> Any:
        """Return the whole gradient."""
        whole = np.zeros(self.shape, self.values.dtype)
        written: set[int] = set()
        for index, row in zip(self.indices, self.values, strict=True):
            whole[index] = whole[index] + row if index in written else row
            written.add(index)
        return whole


def dtype_of(name: str) -> Any:
    """Return the dtype of NumPy for a name of the protocol.

    >>> dtype_of("float16").itemsize
    2
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        return np.dtype(importlib.import_module("ml_dtypes").bfloat16)
    except ImportError as problem:
        raise NotImplementedError("bfloat16, for which ml_dtypes is not installed here") from problem


def array_from_json(document: Json) -> Any:
    """Return the array from its dtype, its shape and its bit patterns.

    >>> array_from_json({"dtype": "float32", "shape": [2], "bits": "3f800000 c0000000"})
    array([ 1., -2.], dtype=float32)
    """
    dtype = dtype_of(document["dtype"])
    patterns = np.array([int(word, 16) for word in document["bits"].split()], f"u{dtype.itemsize}")
    return patterns.view(dtype).reshape(document["shape"])


def array_to_json(array: Any) -> Json:
    """Return an array as a dtype, a shape and bit patterns.

    >>> array_to_json(np.array([[1.0, -2.0]], "float32"))
    {'dtype': 'float32', 'shape': [1, 2], 'bits': '3f800000 c0000000'}
    """
    array = np.asarray(array)
    size = array.itemsize
    words = np.array(array, order="C").reshape(-1).view(f"u{size}").tolist()
    bits = " ".join(f"{word:0{2 * size}x}" for word in words)
    return {"dtype": str(array.dtype), "shape": list(array.shape), "bits": bits}


def gradient_from_json(document: Json | None) -> Any:
    """Return a gradient: an array, rows, or None."""
    if document is None:
        return None
    if "indices" not in document:
        return array_from_json(document)
    return Rows(document["indices"], array_from_json(document["values"]), tuple(document["shape"]))


def case_from_json(document: Json) -> SimpleNamespace:
    """Return a case with arrays of NumPy."""
    case = SimpleNamespace(**document)
    case.variables = [array_from_json(array) for array in document["variables"]]
    case.gradients = [[gradient_from_json(one) for one in call] for call in document["gradients"]]
    patterns = document["excluded_from_weight_decay"]
    case.excluded = [any(pattern in name for pattern in patterns) for name in document["names"]]
    rates = document["learning_rate_calls"]
    case.learning_rate_calls = None if rates is None else array_from_json(rates).tolist()
    case.calls_before = 0 if document["state"] is None else document["state"]["calls"]
    if document["state"] is not None:
        lists = ("velocities", "averages", "accumulators")
        case.state = SimpleNamespace(**document["state"])
        for name in lists:
            setattr(case.state, name, [array_from_json(array) for array in document["state"][name] or []])
    return case


def rate_of(case: Any, call: int) -> float | None:
    """Return the rate of a call of a case; None if a schedule gives it by a formula.

    Every learning rate is a float32, also for variables of float64.
    """
    given = case.config["learning_rate"]
    if case.learning_rate_calls is not None:
        given = case.learning_rate_calls[call]
    elif isinstance(given, dict):
        if given["class_name"] != "PiecewiseConstantDecay":
            return None
        boundaries, values = given["config"]["boundaries"], given["config"]["values"]
        given = values[sum(case.calls_before + call > boundary for boundary in boundaries)]
    # A number beyond the range of float32 is infinite.
    with np.errstate(over="ignore"):
        return float(np.float32(given))


def record_to_json(record: Json) -> Json:
    """Return a record in the form of the protocol."""
    written: Json = {}
    for quantity, value in record.items():
        if isinstance(value, list):
            written[quantity] = [array_to_json(array) for array in value]
        else:
            written[quantity] = value if isinstance(value, int) else array_to_json(value)
    return written


def answer(worker: ModuleType, document: Json) -> Json:
    """Return the answer of a worker to a case."""
    records: list[Json] = []
    begun = False
    try:
        case = case_from_json(document)
        training = worker.Training(case)
        begun = True
        for call, gradients in enumerate(case.gradients):
            training.step(gradients, rate_of(case, call))
            records.append(record_to_json(training.record()))
        if case.finalize:
            training.finalize()
            records.append(record_to_json(training.record()))
    except NotImplementedError as reason:
        return {"id": document["id"], "unsupported": str(reason)}
    # Any error of the framework is its answer.
    except Exception as error:
        call_or_none = len(records) if begun else None
        told = {"type": type(error).__name__, "message": str(error), "call": call_or_none}
        return {"id": document["id"], "error": told}
    return {"id": document["id"], "trajectory": records}


def load(path: str) -> ModuleType:
    """Return the worker in a file as a module; the file need not be on Python's path."""
    spec = importlib.util.spec_from_file_location("worker", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write(answers: BinaryIO, message: Json) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()


def main(path: str) -> None:
    """Answer the cases on standard input until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    # Frameworks print to standard output, also from C, which would get into the answers.
    os.dup2(2, 1)
    worker = load(path)
    versions = worker.versions()
    handshake = {
        "protocol": 1,
        "name": "worker",
        "version": versions.pop("version"),
        "language": f"Python {platform.python_version()}",
        "versions": {**versions, "numpy": np.__version__},
    }
    _write(answers, handshake)
    for line in sys.stdin.buffer:
        _write(answers, answer(worker, json.loads(line)))
    answers.flush()
    # Frameworks take seconds to shut down, which is not needed here.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
