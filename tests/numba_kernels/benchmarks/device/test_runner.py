"""``sgd-ref bench --device cuda``: says that there is no device, or writes page and samples as it goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pytest

from numba_kernels import benchmarks
from numba_kernels.benchmarks.device import machine, runner, suite
from numba_kernels.benchmarks.suite import Race, Suite
from numba_kernels.benchmarks.workload import Workload
from numba_kernels.selfcheck.device import availability
from sgd_ref.command import main as cli
from sgd_ref.command.options import AS_EXPECTED, COULD_NOT_RUN, WRONG_USAGE

TINY = Suite(
    [
        Race("steps", Workload("3 x 100", "everything"), ("kernels", "torch fused", "roof torch")),
        Race("calls", Workload("3 x 100", "everything"), ("kernels", "torch fused")),
    ],
    rounds=2,
    seconds=0.0,
    first_steps=0,
)


class FakeWorkers:
    """Has measured everything already."""

    asked: list[tuple[str, str]]
    folder: Path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def ask(self, peer: str, workload: Workload, seconds: float, timing: str) -> dict[str, Any]:
        if timing == "calls" and "calls" not in {asked for _, asked in self.asked}:
            # What was found first is there already, should the machine go away now.
            assert "## 3 x 100, everything, float32" in (self.folder / runner.PAGE).read_text()
        self.asked.append((peer, timing))
        return {
            "samples": [{"kernels": 0.01, "torch fused": 0.02, "roof torch": 0.009}[peer]],
            "growth": None,
        }


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[FakeWorkers]:
    FakeWorkers.asked, FakeWorkers.folder = [], tmp_path / "found"
    monkeypatch.setattr(runner, "DeviceWorkers", FakeWorkers)
    for name in ("quick", "full"):
        monkeypatch.setattr(suite, name, lambda: TINY)
    monkeypatch.setattr(runner, "why_not", lambda: None)
    monkeypatch.setattr(machine, "description", lambda: {"device": "abacus"})
    return FakeWorkers


def test_the_page_is_printed_and_written(
    fake: type[FakeWorkers], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["bench", "--device", "cuda", "--output"]
    assert cli.main([*arguments, str(fake.folder)]) == AS_EXPECTED
    text = (fake.folder / "benchmarks_cuda.md").read_text()
    assert capsys.readouterr().out == text + "\n"
    assert "| device | abacus |" in text
    assert "| **kernels** | 10.0 ms | 0 | 0.90 | 2.00 |" in text
    assert "## Launch cost" in text
    document = json.loads((fake.folder / "benchmarks_cuda.json").read_text())
    assert document["races"][0]["peers"]["kernels"]["seconds"] == [[0.01], [0.01]]
    steps = [(peer, "steps") for peer in ("kernels", "torch fused", "roof torch")]
    assert fake.asked == steps * 2 + [(peer, "calls") for peer in ("kernels", "torch fused")] * 2
    asked = len(fake.asked)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        cli.main([*arguments, str(tmp_path / "file" / "such")])
    assert stopped.value.code == WRONG_USAGE
    assert len(fake.asked) == asked


def test_the_page_of_the_repository_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["bench", "--device", "cuda", "--page", "--quick"])
    assert stopped.value.code == WRONG_USAGE
    assert Path(benchmarks.__file__).with_name("results") == runner.PAGES


@pytest.mark.skipif(
    availability.why_no_device() is None and not availability.is_simulated(), reason="a device is here"
)
@pytest.mark.parametrize("simulator", ["0", "1"])
def test_without_a_device_nothing_is_timed(simulator: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sgd_ref.command.main", "bench", "--device", "cuda", "--quick"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": simulator},
    )
    assert done.returncode == COULD_NOT_RUN, done.stderr
    assert done.stderr.startswith("sgd-ref: nothing was timed: ")
    assert not done.stdout


def test_without_numba_cuda_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "why_no_device", lambda: "it needs numba-cuda; install it")
    assert runner.why_not() == "it needs numba-cuda; install it"


@pytest.mark.skipif(
    availability.why_no_device() is not None, reason="numba-cuda is missing, or has no device"
)
def test_the_machine_is_described(tmp_path: Path) -> None:
    found = machine.description()
    assert {"device", "driver", "processor", "date", "numba", "numba-cuda", "cuda-bindings"} <= set(found)
    (tmp_path / "version").write_text("NVRM version: 580.65.06  Wed\nGCC version: 12\n")
    assert machine.driver(tmp_path / "version") == "NVRM version: 580.65.06  Wed"
