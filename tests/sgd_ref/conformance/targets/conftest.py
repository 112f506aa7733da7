"""Implementations that several files of tests start."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from sgd_ref.conformance.targets.optax.launch import Optax, available


@pytest.fixture(scope="session")
def start_optax() -> Iterator[Callable[[str], Optax]]:
    """Start Optax in a mode, once for all tests."""
    runs: dict[str, Optax] = {}

    def started(mode: str) -> Optax:
        if not available():
            missing = "Optax is not installed"
            pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
        return runs.setdefault(mode, Optax(mode))

    yield started
    for run in runs.values():
        run.close()
