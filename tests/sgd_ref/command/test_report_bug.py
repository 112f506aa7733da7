"""``sgd-ref report-bug``: reports on standard output, and scripts that are checked; nothing is installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.command import main as cli
from sgd_ref.command import report_bug as command
from sgd_ref.command.options import COULD_NOT_RUN, DIVERGES, WRONG_USAGE
from sgd_ref.conformance.targets.bugs import bug as bugs_module
from sgd_ref.conformance.targets.bugs import checking
from sgd_ref.conformance.targets.bugs.bug import bugs, folder
from sgd_ref.conformance.targets.bugs.page import page
from sgd_ref.conformance.targets.bugs.reporting import contradictions, report
from sgd_ref.conformance.targets.history.asking import Ask, CannotAsk
from sgd_ref.conformance.targets.history.releases import Releases


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Keep what is checked elsewhere, and let scripts end as the test says, by default with their bug."""
    ends: dict[str, str] = {}

    def runner(of: Releases, target: str, values: dict[str, str]) -> Callable[[str], Ask]:
        def run(scripts: Mapping[str, str]) -> dict[str, Any]:
            if ends.get("cannot") in ("all", target):
                raise CannotAsk("no wheel")
            told = {
                name: {"ended": ends.get(name, "differs"), "said": "expected: 1", "error": ""}
                for name in scripts
            }
            return {"versions": {of.package: "1.0"}, "answers": told}

        return lambda release: run

    place = tmp_path / "reports"
    shutil.copytree(folder(), place, ignore=shutil.ignore_patterns("*.json", "*.md"))
    for module in (bugs_module, checking, command):
        monkeypatch.setattr(module, "folder", lambda: place)
    monkeypatch.setattr(command, "runner", runner)
    return ends


def test_a_report_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report-bug", "torch", "vector-body-skipped", "--variant", "fused"]) == 0
    assert capsys.readouterr().out == report("torch fused", "vector-body-skipped")


def test_without_a_contradiction_those_of_the_target_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report-bug", "optax", "--mode", "jitted"]) == 0
    assert capsys.readouterr().out.splitlines() == contradictions("optax jitted")


def test_scripts_are_checked_and_the_page_is_written(
    ended: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report-bug", "mlx", "--check"]) == 0
    kept = checking.kept()
    assert set(kept) == {"mlx-clip-adds-epsilon", "mlx-infinite-norm-hides-gradients"}
    assert "mlx-clip-adds-epsilon: differs" in capsys.readouterr().out
    assert (command.folder() / "README.md").read_text(encoding="utf-8") == page(bugs(), kept)
    ended["mlx-clip-adds-epsilon"] = "equal"
    assert cli.main(["report-bug", "mlx", "clip-adds-epsilon", "--check"]) == DIVERGES
    assert not checking.kept()["mlx-clip-adds-epsilon"].shows_the_bug


def test_all_are_checked(ended: dict[str, str]) -> None:
    assert cli.main(["report-bug", "all", "--check"]) == 0
    assert set(checking.kept()) == {bug.name for bug in bugs()}
    ended["sklearn-zero-momentum-multiplied"] = "fails"
    assert cli.main(["report-bug", "all", "--check"]) == DIVERGES


def test_what_cannot_be_installed(ended: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    ended["cannot"] = "all"
    assert cli.main(["report-bug", "mlx", "--check"]) == COULD_NOT_RUN
    assert cli.main(["report-bug", "all", "--check"]) == COULD_NOT_RUN
    assert "sgd-ref: no wheel" in capsys.readouterr().err
    assert checking.kept() == {}


def test_one_that_cannot_be_installed_does_not_stop_the_others(
    ended: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    ended["cannot"] = "keras"
    assert cli.main(["report-bug", "all", "--check"]) == COULD_NOT_RUN
    assert set(checking.kept()) == {bug.name for bug in bugs() if not bug.target.startswith("keras ")}
    assert "sgd-ref: keras jax eager: no wheel" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine:run"], "invalid choice: 'mine:run' (choose from "),
        (["all"], "all must go with --check, and without CONTRADICTION"),
        (["all", "clip-adds-epsilon", "--check"], "all must go with --check, and without CONTRADICTION"),
        (["mlx", "ascends"], "the contradiction of mlx must be one of clip-adds-epsilon, "),
        (["onnx", "ascends"], "must be one of (none is known), got 'ascends'"),
        (["libtorch", "--check"], "libtorch has no script of its own for any contradiction"),
        (
            ["keras", "restart-missed", "--backend", "jax", "--mode", "compiled", "--check"],
            "keras jax compiled has no script of its own for restart-missed",
        ),
        (["torch", "--mode", "eager"], "--mode must be left out for torch"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, ended: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["report-bug", *arguments])
    assert stopped.value.code == WRONG_USAGE
    assert message in capsys.readouterr().err
    assert checking.kept() == {}


def test_what_is_not_there_to_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["report-bug", "keras", "--backend", "torch", "--mode", "compiled"]
    assert cli.main(given) == COULD_NOT_RUN
    assert "fit() does not compile on PyTorch" in capsys.readouterr().err
