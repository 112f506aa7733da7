"""``sgd-ref reproduce``: scripts and lists on standard output, and wrong usage."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from sgd_ref import SGD
from sgd_ref.command import main as cli
from sgd_ref.command import reproduce
from sgd_ref.command.options import COULD_NOT_RUN, WRONG_USAGE
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.dialects import KERAS, Dialect
from sgd_ref.conformance.golden.tools.recording import record, write_recorded
from sgd_ref.conformance.targets.findings import storage
from sgd_ref.conformance.targets.registry import arguments_of, names
from sgd_ref.conformance.targets.scripts.of_finding import script_of
from sgd_ref.conformance.trajectories import reference

PYTORCH = Dialect("pytorch")

OWN = """
import torch

class Forgets(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                kept = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                kept += p.grad
                p -= group["lr"] * kept
"""


@pytest.mark.parametrize("target", [target for target in names() if storage.kept(target)])
def test_the_arguments_of_each_target_print_its_scripts(
    target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    known = storage.kept(target)
    name = next(iter(known))
    assert cli.main(["reproduce", *arguments_of(target, name).split()]) == 0
    assert capsys.readouterr().out == script_of(known[name], target)


def test_without_a_contradiction_the_known_ones_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reproduce", "keras", "--backend", "torch"]) == 0
    assert capsys.readouterr().out.splitlines() == sorted(storage.kept("keras torch eager"))


def test_the_defaults_are_those_of_the_other_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reproduce", "torch"]) == 0
    assert capsys.readouterr().out.splitlines() == list(storage.kept("torch loop"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: TARGET"),
        (["mine:run"], "invalid choice: 'mine:run' (choose from "),
        (["torch", "--variant", "all"], "invalid choice: 'all'"),
        (["torch", "clip-adds-epsilon", "--optimizer", "a:B"], "--optimizer must go with a file FILE.json"),
        (["torch", "no/such.json"], "no/such.json: CASE must be a file that can be read"),
        (["torch", "--mode", "eager"], "--mode must be left out for torch, it belongs to keras, optax"),
        (["optax", "--mode", "compiled"], "--mode of optax must be one of eager, jitted"),
        (
            ["torch", "clip-adds-epsilo"],
            "the contradiction of torch loop must be one of "
            f"{', '.join(storage.kept('torch loop'))}, got 'clip-adds-epsilo'",
        ),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["reproduce", *arguments])
    assert stopped.value.code == WRONG_USAGE
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_what_is_not_there_to_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["reproduce", "keras", "--backend", "torch", "--mode", "compiled"]) == COULD_NOT_RUN
    assert "fit() does not compile on PyTorch" in capsys.readouterr().err


def test_malformed_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "findings.json"
    path.write_text("{}")
    monkeypatch.setattr(storage, "path_of", lambda target: path)
    assert cli.main(["reproduce", "torch"]) == COULD_NOT_RUN
    assert f"sgd-ref: {path} holds no findings: the keys of the file must be" in capsys.readouterr().err


def test_a_target_of_which_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(storage, "path_of", lambda target: tmp_path / "findings.json")
    assert cli.main(["reproduce", "torch"]) == 0
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit):
        cli.main(["reproduce", "torch", "clip-adds-epsilon"])
    assert "must be one of (none is known), got 'clip-adds-epsilon'" in capsys.readouterr().err


def watched_case() -> Case:
    generator = np.random.default_rng(0)
    arrays = [generator.standard_normal((4, 5)).astype("float32") for _ in range(4)]
    settings = SGD(learning_rate=0.125, momentum=0.5).get_config()
    return Case("watched/step-1", settings, ("a",), tuple(arrays[:1]), tuple((g,) for g in arrays[1:]))


def written(folder: Path, *mistakes: str, rule: Dialect = PYTORCH) -> Path:
    """Return a file as the report on a watched training writes it."""
    case, path = watched_case(), folder / "case.json"
    seen = [{"variables": answer["variables"]} for answer in rule.basis().run(case, mistakes)]
    write_recorded(case, seen, path, rule)
    return path


@pytest.fixture
def executed_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Scripts run in this process, where PyTorch is imported already."""
    ran: list[str] = []

    def runs(script: Any) -> tuple[bool, str]:
        ran.append(script.text)
        out = io.StringIO()
        before = list(sys.path)
        try:
            with (
                contextlib.redirect_stdout(out),
                contextlib.suppress(SystemExit),
                mock.patch.dict(os.environ),
            ):
                exec(script.text, {"__name__": "__main__"})
        except Exception as error:  # noqa: BLE001 - whatever the script raises
            return False, f"{type(error).__name__}: {error}"
        finally:
            sys.path[:] = before
        return script.place in out.getvalue(), ""

    monkeypatch.setattr(reproduce, "shown_by", runs)
    return ran


def test_a_watched_step_is_shown_by_an_optimizer_of_the_user(
    tmp_path: Path,
    executed_here: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("torch")
    path = written(tmp_path, "velocity-never-decays")
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN)
    try:
        assert cli.main(["reproduce", "torch", str(path), "--optimizer", "mine:Forgets"]) == 0
    finally:
        sys.modules.pop("mine", None)
    text = capsys.readouterr().out
    # The shortest one has shown it.
    assert [text] == executed_here
    assert "optimizer = Optimizer(parameters, lr=0.125, momentum=0.5)" in text
    assert "import sgd_ref" not in text
    assert "from sgd_ref" not in text


def test_what_the_framework_itself_does_right_is_said(
    tmp_path: Path, executed_here: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    path = written(tmp_path, "velocity-never-decays")
    assert cli.main(["reproduce", "torch", str(path)]) == COULD_NOT_RUN
    assert len(executed_here) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "torch loop itself does what the rule of pytorch says in these steps; --optimizer" in captured.err
    # The mistake of the file is what PyTorch does, for one that is held to another rule.
    path = written(tmp_path, "ascends", rule=KERAS)
    assert cli.main(["reproduce", "torch", str(path), "--optimizer", "no_such_module:SGD"]) == COULD_NOT_RUN
    message = "the script ends with an error here: ModuleNotFoundError: No module named 'no_such_module'"
    assert message in capsys.readouterr().err


def test_deviations_by_design_are_asked_for(
    tmp_path: Path, executed_here: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    path = written(tmp_path, "updated-twice", rule=Dialect("pytorch", frozenset(["ascends"])))
    assert cli.main(["reproduce", "torch", str(path)]) == COULD_NOT_RUN
    assert "lr=0.125, momentum=0.5, maximize=True, foreach=False" in executed_here[0]
    assert "itself does what the rule of pytorch with ascends says" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "[1", "must be a file of recorded trajectories"),
        (lambda text: text.replace('"trajectory"', '"norm"', 1), "its kind is 'norm', not 'trajectory'"),
        (lambda text: text.replace("0.125", "0.25", 1), "was changed, its hash is another one"),
        (lambda text: text.replace('"format": 4', '"format": 3', 1), "its format is 3, and this version"),
        (lambda text: "{}", "must be a file of recorded trajectories"),
    ],
    ids=["no JSON", "another kind", "changed by hand", "another version", "another file"],
)
def test_files_that_are_refused(
    change: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "ascends")
    path.write_text(change(path.read_text()))
    with pytest.raises(SystemExit) as stopped:
        cli.main(["reproduce", "torch", str(path)])
    assert stopped.value.code == WRONG_USAGE
    captured = capsys.readouterr()
    assert f"{path}: " in captured.err
    assert message in captured.err
    assert captured.out == ""


def test_cases_that_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, two = written(tmp_path), tmp_path / "two.json"
    cases = [watched_case(), replace(watched_case(), id="watched/step-2")]
    record(reference.run, two, cases)
    for path, message in ((right, "are those that the rule may give"), (two, "a file of one case")):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["reproduce", "torch", str(path)])
        assert stopped.value.code == WRONG_USAGE
        assert message in capsys.readouterr().err


@pytest.mark.sweep
def test_a_script_of_a_watched_step_needs_the_framework_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    path = written(tmp_path, "velocity-never-decays")
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN)
    Path("sgd_ref.py").write_text("raise ImportError('a script needs this')\n")
    assert cli.main(["reproduce", "torch", str(path), "--optimizer", "mine:Forgets"]) == 0
    Path("shown.py").write_text(capsys.readouterr().out)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "shown.py"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "the implementation still differs\n")
    assert ", as it was seen before" in done.stdout
    assert json.loads(path.read_text())["entries"][0]["rule"] == "pytorch"
