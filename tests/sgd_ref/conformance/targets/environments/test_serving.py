"""A worker in a process that knows nothing of this package answers as the protocol wants."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64
from sgd_ref.conformance import cases
from sgd_ref.conformance.catalogue.case import Case, Unsupported
from sgd_ref.conformance.protocol import encoding
from sgd_ref.conformance.protocol.failures import ImplementationError
from sgd_ref.conformance.protocol.worker import Worker
from sgd_ref.conformance.targets.environments import serving
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare
from sgd_ref.gradients import SparseRows

MOMENTUM = """
import numpy as np

print("this is noise")


class Training:
    def __init__(self, case):
        if case.config["nesterov"]:
            raise NotImplementedError("Nesterov momentum")
        self.momentum = case.config["momentum"]
        self.variables = [w.copy() for w in case.variables]
        self.velocities = [np.zeros_like(w) for w in self.variables]
        if case.state is not None and case.state.velocities:
            self.velocities = case.state.velocities

    def step(self, gradients, rate):
        if rate is None:
            raise NotImplementedError("a schedule")
        for k, g in enumerate(gradients):
            if g is None:
                continue
            g = g.dense() if hasattr(g, "dense") else g
            if (g == 1024).any():
                raise ValueError("too steep")
            w, dtype = self.variables[k], self.variables[k].dtype
            descent = g.astype(dtype) * dtype.type(np.float32(rate))
            if self.momentum == 0:
                self.variables[k] = w - descent
            else:
                self.velocities[k] = self.velocities[k] * dtype.type(self.momentum) - descent
                self.variables[k] = w + self.velocities[k]

    def record(self):
        velocities = self.velocities if self.momentum else []
        return {"variables": list(self.variables), "velocities": list(velocities)}

    def finalize(self):
        pass


def versions():
    return {"version": "1.5", "other": "2.5"}
"""

SPARSE = ("axes/momentum/sparse", "axes/float64/momentum/sparse")

ASKED = [
    case
    for case in (*cases("smoke"), *(case for case in cases() if case.id.startswith(SPARSE)))
    if not (case.config["weight_decay"] or case.config["use_ema"] or case.config["nesterov"])
    and not any(case.config[name] for name in ("clipnorm", "clipvalue", "global_clipnorm"))
    and not (case.config["loss_scale_factor"] or case.config["gradient_accumulation_steps"])
    and (case.learning_rate_calls is not None or not isinstance(case.config["learning_rate"], dict))
    and case.loss_scaling is None
    and case.config["weight_decay"] is None
]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    path = tmp_path_factory.mktemp("worker") / "worker.py"
    path.write_text(MOMENTUM)
    return Worker([sys.executable, "-E", "-s", serving.__file__, str(path)])


def case_of(gradient: object, **others: object) -> Case:
    plain = next(case for case in cases("smoke") if case.id == "axes/plain")
    w = np.array([1.0, 2.0], FLOAT32)
    return replace(
        plain,
        id="mine",
        names=("w",),
        variables=(w,),
        gradients=((gradient,),),
        layouts=None,
        **others,  # type: ignore[arg-type]
    )


def test_the_answers_are_those_of_the_reference(worker: Worker) -> None:
    assert len(ASKED) >= 8
    assert {w.dtype for case in ASKED for w in case.variables} == {FLOAT16, BFLOAT16, FLOAT32, FLOAT64}
    assert any(one is None for case in ASKED for call in case.gradients for one in call)
    assert any(isinstance(one, SparseRows) for case in ASKED for call in case.gradients for one in call)
    with worker as run:
        for case in ASKED:
            with np.errstate(all="ignore"):
                comparison = compare(case, reference.run(case), run(case))
            assert comparison.equal, (case.id, comparison.first)
            assert comparison.compared > 0
        assert (run.handshake.version, run.handshake.versions["other"]) == ("1.5", "2.5")


def test_what_a_worker_does_not_offer_is_unsupported(worker: Worker) -> None:
    nesterov = next(case for case in cases("smoke") if case.config["nesterov"])
    with worker as run, pytest.raises(Unsupported, match="Nesterov momentum"):
        run(nesterov)


def test_an_error_of_the_framework_is_told_with_its_call(worker: Worker) -> None:
    case = case_of(np.array([1.0, 1024.0], FLOAT32))
    later = replace(case, gradients=((np.array([1.0, 1.0], FLOAT32),), *case.gradients))
    with worker as run:
        for given, call in ((case, 0), (later, 1)):
            with pytest.raises(ImplementationError, match="too steep") as raised:
                run(given)
            assert (raised.value.kind, raised.value.call) == ("ValueError", call)


@pytest.mark.parametrize("dtype", [FLOAT16, BFLOAT16, FLOAT32, FLOAT64], ids=str)
def test_arrays_keep_their_bits(dtype: np.dtype[np.generic]) -> None:
    numbers = [0.0, -0.0, 1.5, np.inf, -np.inf, np.nan, float(np.finfo(np.float16).smallest_subnormal)]
    array = np.array(numbers, dtype).reshape(7, 1)
    document = encoding.array_to_json(array)
    again = serving.array_from_json(document)
    assert again.dtype == array.dtype
    assert serving.array_to_json(again) == document


def test_rows_given_twice_are_added_in_their_order() -> None:
    values = np.array([[1.0], [2.0**-24], [2.0**-24]], FLOAT32)
    rows = serving.Rows([1, 1, 1], values, (3, 1))
    assert rows.dense().tolist() == SparseRows([1, 1, 1], values, (3, 1)).to_dense().tolist()
    assert rows.dense()[1, 0] == 1.0


@pytest.mark.parametrize(("calls", "rates"), [(0, [4.0, 4.0, 2.0]), (2, [2.0, 1.0, 1.0])])
def test_the_rate_changes_after_a_boundary(calls: int, rates: list[float]) -> None:
    schedule = {
        "class_name": "PiecewiseConstantDecay",
        "config": {"boundaries": [1, 2], "values": [4.0, 2.0, 1.0], "name": "steps"},
    }
    given = encoding.case_to_json(case_of(np.ones(2, FLOAT32)))
    given["config"] = {**given["config"], "learning_rate": schedule}
    case = serving.case_from_json(given)
    case.calls_before = calls
    assert [serving.rate_of(case, call) for call in range(3)] == rates


@pytest.mark.parametrize("case", [*ASKED, *cases("first")], ids=lambda case: case.id)
def test_rates_are_those_of_the_case(case: Case) -> None:
    asked = serving.case_from_json(encoding.case_to_json(case))
    for call in range(len(case.gradients)):
        assert serving.rate_of(asked, call) in (case.rate(call), None)


def test_a_rate_is_rounded_to_float32() -> None:
    document = encoding.case_to_json(case_of(np.ones(2, FLOAT32)))
    document["config"] = {**document["config"], "learning_rate": 0.1}
    # The float32 nearest to 0.1 is 13421773 * 2**-27.
    assert serving.rate_of(serving.case_from_json(document), 0) == 13421773 * 2.0**-27 != 0.1


def test_a_schedule_that_is_a_formula_is_left_to_the_worker() -> None:
    given = encoding.case_to_json(case_of(np.ones(2, FLOAT32)))
    given["config"] = {
        **given["config"],
        "learning_rate": {"class_name": "CosineDecay", "config": {"decay_steps": 2}},
    }
    assert serving.rate_of(serving.case_from_json(given), 0) is None


def test_a_worker_needs_nothing_of_this_package() -> None:
    workers = [*Path(serving.__file__).parents[1].glob("*/worker.py"), Path(serving.__file__)]
    apart = [path for path in workers if path.parent.name not in ("keras", "optax", "torch")]
    assert len(apart) >= 2
    for path in apart:
        assert "sgd_ref" not in path.read_text(encoding="utf-8"), path
