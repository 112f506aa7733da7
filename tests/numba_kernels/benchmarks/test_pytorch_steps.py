"""Steps in a PyTorch loop: all contestants do the same, gradients are fresh, and the page has the goals."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

import sgd_ref
from numba_kernels.benchmarks import pytorch_steps
from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.pytorch_steps import Turns, own, steps, theirs
from numba_kernels.benchmarks.workload import SETTINGS, Workload
from sgd_ref.command import main as cli
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, WRONG_USAGE
from sgd_ref.conformance.dialects.pytorch import PytorchSGD

RULES: dict[str, Any] = {"keras": sgd_ref.SGD, "pytorch": PytorchSGD}


def names(settings: str) -> list[tuple[str, str]]:
    return [(rule, name) for rule in RULES for name in (own(rule), *theirs(rule, settings))]


@pytest.mark.parametrize("settings", ["momentum", "everything"])
def test_all_contestants_make_the_step_of_their_rule(settings: str) -> None:
    workload = Workload("3 x 400", settings)
    gradients = workloads.gradients(workload)
    for rule, name in names(settings):
        expected = workloads.variables(workload)
        reference = RULES[rule](**SETTINGS[settings])
        reference.build(expected)
        parameters = [torch.nn.Parameter(torch.from_numpy(w)) for w in workloads.variables(workload)]
        step = steps(parameters, settings)[name]
        for _ in range(5):
            for w, g in zip(parameters, gradients, strict=True):
                # PyTorch clips gradients in place.
                w.grad = torch.from_numpy(g.copy())
            step()
            reference.apply(gradients)
        for w, wanted in zip(parameters, expected, strict=True):
            np.testing.assert_allclose(w.detach().numpy(), wanted, rtol=2e-6, atol=1e-9, err_msg=name)


def test_each_step_has_tensors_of_its_own_as_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Any]] = []

    def recording(parameters: list[Any], settings: str) -> Any:
        return {"one": lambda: seen.append([w.grad for w in parameters])}

    monkeypatch.setattr(pytorch_steps, "steps", recording)
    workload = Workload("2 x 5", "momentum")
    turns = pytorch_steps.measured(workload, 3)
    assert len(turns.seconds["one"]) == 3
    # Two steps before them are not timed.
    assert len({gradient.data_ptr() for of_step in seen for gradient in of_step}) == 10
    for of_step in seen:
        for gradient, wanted in zip(of_step, workloads.gradients(workload), strict=True):
            assert gradient.numpy().tobytes() == wanted.tobytes()


def test_goals_compare_with_what_serves_the_same_purpose() -> None:
    seconds = {own("keras"): [1.0] * 3, own("pytorch"): [2.0] * 3, "torch fused": [3.0] * 3}
    seconds |= {"torch foreach": [2.5] * 3, "torch fused, decay inside": [8.0] * 3}
    seconds |= {"torch foreach, decay inside": [9.0] * 3}
    found = [Turns(Workload("ResNet-50", settings), seconds) for settings in ("momentum", "everything")]
    found.append(Turns(Workload(pytorch_steps.SMALL, "momentum"), {n: [50e-6] for n in seconds}))
    values = [(goal.bound, goal.value, goal.at_most) for goal in pytorch_steps.goals(found)]
    assert values == [
        (1.0, 3.0, False),
        (1.0, 1.5, False),
        (1.6, 2.5, False),
        (1.6, 4.0, False),
        (60.0, 50.0, True),
        (60.0, 50.0, True),
    ]


def test_the_results_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(pytorch_steps, "MODELS", ("2 x 100",))
    monkeypatch.setattr(pytorch_steps, "ROUNDS", {"2 x 100": 8, pytorch_steps.SMALL: 8})
    assert cli.main(["bench", "--torch", "--quick"]) == AS_EXPECTED
    printed = capsys.readouterr().out
    assert "| 2 of 100, everything | torch foreach, decay inside |" in printed
    assert '161 of 16, momentum, numba_kernels, rule="pytorch": microseconds of a step' in printed


@pytest.mark.parametrize("other", [["--device", "cuda"], ["-k", "x"], ["--page"]])
def test_the_option_stands_alone(other: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["bench", "--torch", *other])
    assert stopped.value.code == WRONG_USAGE


def test_without_pytorch_nothing_is_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "numba_kernels.benchmarks.pytorch_steps")
    assert cli.main(["bench", "--torch"]) == COULD_NOT_RUN
    assert "nothing was timed: torch is not installed" in capsys.readouterr().err
