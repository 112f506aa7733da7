"""A fork is quiet whatever this process has imported."""

from __future__ import annotations

import os
import sys
import warnings

import pytest

from sgd_ref.conformance.audit.mutants.forking import fork


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no forks")
def test_warnings_of_a_fork_are_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def warning_of_threads() -> int:
        warnings.warn("os.fork() was called, and JAX is multithreaded", RuntimeWarning, stacklevel=1)
        return 7

    monkeypatch.setattr(os, "fork", warning_of_threads)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fork() == 7
        with pytest.raises(RuntimeWarning):
            os.fork()
