"""``sgd-ref history``: what is asked, kept and shown; no release is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.command import history as command
from sgd_ref.command import main as cli
from sgd_ref.command.options import COULD_NOT_RUN, WRONG_USAGE
from sgd_ref.conformance.targets.history import storage
from sgd_ref.conformance.targets.history.asking import Ask, CannotAsk
from sgd_ref.conformance.targets.history.releases import Releases
from tests.conftest import Sweep


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep histories elsewhere, and let release 0.9 be one that cannot be installed."""
    releases: list[str] = []

    def runner(of: Releases, target: str, values: dict[str, str]) -> Callable[[str], Ask]:
        def at(release: str) -> Ask:
            def run(scripts: Mapping[str, str]) -> dict[str, Any]:
                releases.append(release)
                if release == "0.9":
                    raise CannotAsk("no wheel")
                told = {name: {"ended": "equal", "said": "", "error": ""} for name in scripts}
                return {"versions": {of.package: f"{release}.1", "python": "3.11.7"}, "answers": told}

            return run

        return at

    monkeypatch.setattr(command, "runner", runner)
    monkeypatch.setattr(command, "write_page", lambda: releases.append("page"))
    monkeypatch.setattr(storage, "path_of", lambda target: tmp_path / target / "history.json")
    return releases


def test_releases_are_asked_once_and_shown(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history", "torch", "--versions", "2.13, 0.9"]) == 0
    assert list(dict.fromkeys(asked)) == ["2.13", "0.9", "page"]
    out = capsys.readouterr().out
    assert "torch loop: contradictions by release" in out
    assert "│ clip-adds-epsilon" in out
    assert "not in 2.13.1" in out
    assert "installed with 2.13.1: python 3.11.7" in out
    assert "could not be run: 0.9: no wheel" in out
    asked.clear()
    assert cli.main(["history", "torch", "--versions", "2.13,0.9"]) == 0
    assert asked == ["page"]
    assert cli.main(["history", "torch"]) == 0
    assert asked == ["page"]


def test_again_asks_what_is_kept(asked: list[str]) -> None:
    assert cli.main(["history", "optax", "--mode", "jitted", "--versions", "0.2"]) == 0
    asked.clear()
    assert cli.main(["history", "all", "--again"]) == 0
    assert asked == ["0.2.1", "page"]


def test_without_a_history(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history", "optax"]) == 0
    assert "no release of optax eager was run yet; give some with --versions" in capsys.readouterr().out
    assert cli.main(["history", "all"]) == 0
    assert asked == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["libtorch"],
            "the target must be one of keras, torch, optax, sklearn, jax, tinygrad, mlx, paddle, "
            "pytorch_optimizer, bitsandbytes, tf_keras, all",
        ),
        (["keras", "--versions", "newest"], "the release must be a version such as 3.4"),
        (["all", "--versions", "3.4"], "all must go without --versions"),
        (["torch", "--mode", "eager"], "--mode must be left out for torch"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["history", *arguments])
    assert stopped.value.code == WRONG_USAGE
    assert message in capsys.readouterr().err
    assert asked == []


def test_a_malformed_history(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = storage.path_of("torch loop")
    path.parent.mkdir()
    path.write_text("{}")
    assert cli.main(["history", "torch"]) == COULD_NOT_RUN
    assert "holds no history" in capsys.readouterr().err


def test_a_real_release_is_installed_and_asked(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not sweep.complete:
        pytest.skip("installs a release from the registry of packages; --sweep does")
    monkeypatch.setenv("SGD_REF_ENVIRONMENTS", str(tmp_path / "environments"))
    monkeypatch.setattr(storage, "path_of", lambda target: tmp_path / "history.json")
    monkeypatch.setattr(command, "write_page", lambda: None)
    assert cli.main(["history", "mlx", "--versions", "0.32.4"]) == 0
    (one,) = storage.read(tmp_path / "history.json", "mlx")
    assert one.obstacle == ""
    assert {outcome.name for outcome in one.outcomes.values()} == {"there"}
