"""The training that workers with an optimizer for PyTorch share, around PyTorch's own optimizer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training is that of PyTorch")

from sgd_ref.conformance.targets.environments import serving, training_torch  # noqa: E402 - they need PyTorch

TARGETS = Path(serving.__file__).parents[1]
BUFFER = "momentum_buffer"


def case(momentum: float = 0.5, decay: float | None = None, state: Any = None, dtype: str = "float32") -> Any:
    return SimpleNamespace(
        config={"momentum": momentum, "nesterov": False, "weight_decay": decay},
        variables=[np.array([1.0, 2.0], dtype), np.array(4.0, dtype)],
        excluded=[False, True],
        state=state,
    )


def training(given: Any) -> training_torch.Training:
    return training_torch.Training(
        given, lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=given.config["momentum"]), BUFFER
    )


def test_each_call_has_its_rate_and_each_gradient_its_parameter() -> None:
    given = case()
    one = training(given)
    one.step([np.array([1.0, -1.0], "float32"), None], 0.5)
    record = one.record()
    assert [array.tolist() for array in record["variables"]] == [[0.5, 2.5], 4.0]
    assert [array.tolist() for array in record["velocities"]] == [[1.0, -1.0], 0.0]
    one.step([np.array([0.0, 0.0], "float32"), np.array(2.0, "float64")], 0.25)
    assert [array.tolist() for array in one.record()["variables"]] == [[0.375, 2.625], 3.5]
    assert given.variables[0].tolist() == [1.0, 2.0]


def test_excluded_parameters_do_not_decay() -> None:
    one = training(case(0.0, 0.5))
    one.step([np.zeros(2, "float32"), np.zeros((), "float32")], 0.5)
    assert [array.tolist() for array in one.record()["variables"]] == [[0.75, 1.5], 4.0]
    assert one.record()["velocities"] == []


def test_it_goes_on_from_the_velocities_of_a_state() -> None:
    kept = [np.array([2.0, 4.0], "float32"), np.array(8.0, "float32")]
    one = training(case(state=SimpleNamespace(velocities=kept)))
    one.step([np.zeros(2, "float32"), np.zeros((), "float32")], 1.0)
    assert [array.tolist() for array in one.record()["velocities"]] == [[1.0, 2.0], 4.0]
    assert kept[0].tolist() == [2.0, 4.0]


def test_bfloat16_keeps_its_bits() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    given = case(dtype="float32")
    patterns = np.array([0x3F81, 0xFFC1], "uint16").view(ml_dtypes.bfloat16)
    given.variables[0] = patterns
    (first, _) = training(given).record()["variables"]
    assert first.view("uint16").tolist() == [0x3F81, 0xFFC1]


def test_a_schedule_that_is_a_formula_is_not_offered() -> None:
    with pytest.raises(NotImplementedError, match="a schedule that is a formula"):
        training(case()).step([None, None], None)


THEIRS = """
import torch

given = []


def SGDW(groups, **settings):
    given.append(settings)
    return torch.optim.SGD(groups, **settings)
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put stand-ins for two packages on the path; all of timm cannot be imported."""
    (tmp_path / "timm" / "optim").mkdir(parents=True)
    (tmp_path / "timm" / "__init__.py").write_text("import a_torchvision_that_does_not_fit")
    (tmp_path / "timm" / "optim" / "sgdw.py").write_text(THEIRS)
    (tmp_path / "pytorch_optimizer.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(TARGETS / "environments")
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("timm", "pytorch_optimizer"):
            del sys.modules[name]


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("target", "module"), [("timm", "timm.optim.sgdw"), ("pytorch_optimizer", "pytorch_optimizer")]
)
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_worker_makes_its_own_optimizer(target: str, module: str, momentum: float) -> None:
    asked = case(momentum)
    asked.config["nesterov"] = True
    serving.load(str(TARGETS / target / "worker.py")).Training(asked)
    given = sys.modules[module].given
    assert given == [{"lr": 1.0, "momentum": momentum, "nesterov": momentum != 0}]
