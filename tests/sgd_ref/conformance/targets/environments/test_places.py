"""Where environments are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgd_ref.conformance.targets.environments import places


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (places.VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")


def test_the_variable_comes_before_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.folder() == Path("/home/me/.cache/sgd-ref/environments")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative, and so without meaning")
    assert places.folder() == Path("/home/me/.cache/sgd-ref/environments")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert places.folder() == Path("/cache/sgd-ref/environments")
    monkeypatch.setenv(places.VARIABLE, "/mine")
    assert places.folder() == Path("/mine")


def test_a_relative_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(places.VARIABLE, "mine")
    with pytest.raises(ValueError, match="SGD_REF_ENVIRONMENTS must be an absolute path, got 'mine'"):
        places.folder()
