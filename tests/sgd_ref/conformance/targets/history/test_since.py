"""Since when the contradictions of several targets are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.targets.history import storage
from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.since import since_when
from sgd_ref.conformance.targets.history.storage import Asked


@pytest.fixture
def two_histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "folder", lambda: tmp_path)
    storage.write("sklearn", [Asked("1.0", {}, {"a": Outcome("there")})])
    storage.write("mlx", [Asked("0.1", {}, {"a": Outcome("absent"), "b": Outcome("there")})])


@pytest.mark.usefixtures("two_histories")
def test_each_target_has_a_line() -> None:
    assert since_when(["sklearn", "mlx", "tfjs"]) == {
        "a": ["sklearn: since 1.0, the newest that was run", "mlx: not in 0.1"],
        "b": ["mlx: since 0.1, the newest that was run"],
    }


@pytest.mark.usefixtures("two_histories")
def test_a_single_target_is_not_named() -> None:
    assert since_when(["sklearn"]) == {"a": ["since 1.0, the newest that was run"]}
