"""``sgd-ref reproduce``: scripts and lists on standard output, and wrong usage."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.command import main as cli
from sgd_ref.command.options import COULD_NOT_RUN, WRONG_USAGE
from sgd_ref.conformance.targets.findings import storage
from sgd_ref.conformance.targets.registry import arguments_of, names
from sgd_ref.conformance.targets.scripts.of_finding import script_of


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
