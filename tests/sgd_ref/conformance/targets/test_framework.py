"""The process of a framework: what it is given, and that nothing is left of it."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from sgd_ref.conformance.catalogue.case import Case, Unsupported
from sgd_ref.conformance.targets.framework import CACHE, Framework

TOLD = """
import os, sys
from sgd_ref.conformance.catalogue.case import Unsupported
from sgd_ref.conformance.protocol.worker import Handshake, serve

def refuse(case):
    raise Unsupported(f"{case.id}")

told = {key: value for key, value in os.environ.items() if key == "FROM_OUTSIDE" or key.startswith("JAX_")}
serve(lambda: (Handshake("told", "1", versions={"arguments": " ".join(sys.argv), **told}), refuse))
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a module that only this process has on its path, and that tells what it was given."""
    (tmp_path / "told.py").write_text(TOLD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FROM_OUTSIDE", "kept")
    monkeypatch.setenv("JAX_ENABLE_X64", "replaced")


def test_a_module_runs_with_its_arguments_and_environment() -> None:
    with Framework("told", ["fast", "eager"], {"JAX_ENABLE_X64": "0"}, 60.0) as run:
        told = run.handshake.versions
        with pytest.raises(Unsupported, match="one"):
            run(Case("one", {}, (), (), ()))
    assert told["arguments"].endswith("told.py fast eager")
    assert (told["JAX_ENABLE_X64"], told["FROM_OUTSIDE"]) == ("0", "kept")
    assert "JAX_COMPILATION_CACHE_DIR" not in told


def test_what_is_compiled_is_kept_as_long_as_the_object() -> None:
    with Framework("told", [], {}, 60.0, caches=True) as run:
        told = run.handshake.versions
    assert told.items() >= CACHE.items()
    folder = Path(told["JAX_COMPILATION_CACHE_DIR"])
    assert folder.is_dir()
    del run
    gc.collect()
    assert not folder.exists()


def test_the_time_limit_is_checked() -> None:
    with pytest.raises(ValueError, match="time_limit"):
        Framework("told", [], {}, 0.0)
