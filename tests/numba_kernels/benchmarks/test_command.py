"""The command: it measures, prints a page and writes it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from numba_kernels import machine
from numba_kernels.benchmarks import first_steps, runner, suite
from numba_kernels.benchmarks.suite import Race, Suite
from numba_kernels.benchmarks.workload import Workload
from sgd_ref.command import main as cli
from sgd_ref.command.options import AS_EXPECTED, WRONG_USAGE

TINY = Suite([Race("steps", Workload("3 x 100", "everything"), ("numpy", "roof numpy"))], 2, 0.0, 0)


def test_the_page_is_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("quick", "full"):
        monkeypatch.setattr(suite, name, lambda: TINY)
    folder = tmp_path / "new" / "found"
    assert cli.main(["bench", "--quick", "--output", str(folder)]) == AS_EXPECTED
    text = (folder / "benchmarks.md").read_text()
    assert capsys.readouterr().out == text + "\n"
    assert re.search(r"\| 3 of 100 \| \S+ [mu]s, 1 thread \| \S+ [mu]s, \d threads? \|", text)
    document = json.loads((folder / "benchmarks.json").read_text())
    assert len(document["races"][0]["peers"]["numpy"]["seconds"]) == 2


def test_the_folder_is_tried_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "run", lambda *given: pytest.fail("it was timed"))
    (tmp_path / "file").touch()
    monkeypatch.setattr(runner, "PAGES", tmp_path / "file")
    for option in (["--output", str(tmp_path / "file")], ["--page"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["bench", *option])
        assert stopped.value.code == WRONG_USAGE
        message = f"{option[0]} must be a folder that can be written, got {tmp_path / 'file'}: "
        assert message in capsys.readouterr().err


def test_workloads_are_chosen_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = suite.full().only(re.compile("ResNet-50, everything"))
    assert [str(race.workload) for race in chosen.races] == [
        "ResNet-50, everything, float32",
        "ResNet-50, everything, bfloat16",
    ]
    assert chosen.first_steps == 0
    with pytest.raises(SystemExit) as stopped:
        cli.main(["bench", "-k", "AlexNet"])
    assert stopped.value.code == WRONG_USAGE
    assert "-k must match the name of a workload, got 'AlexNet'" in capsys.readouterr().err


@pytest.mark.parametrize("part", [["--quick"], ["-k", "ResNet"]])
def test_the_page_of_the_repository_has_everything(
    part: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["bench", "--page", *part])
    assert stopped.value.code == WRONG_USAGE
    assert "--page must go with the whole benchmark" in capsys.readouterr().err


def test_first_steps_have_an_empty_cache_once(monkeypatch: pytest.MonkeyPatch) -> None:
    program = """
import os, time
from pathlib import Path
kept = Path(os.environ["NUMBA_CACHE_DIR"], "kept")
if not kept.exists():
    time.sleep(1.0)
    kept.touch()
assert len(shapes) == 161
"""
    monkeypatch.setattr(first_steps, "PROGRAMS", {"kernels": program, "numpy": "raise KeyError('no luck')"})
    found: Any = first_steps.first_steps("kernels", 2)
    (cold,), warm = found["cold"], found["warm"]
    assert len(warm) == 2
    assert cold > 1.0 > max(warm)
    assert first_steps.first_steps("numpy", 2) == {"absent": "KeyError: 'no luck'"}


def test_the_machine_is_described() -> None:
    found = machine.description()
    assert {"processor", "processors that may be used", "memory", "date", "numba", "numpy"} <= set(found)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", found["date"])
