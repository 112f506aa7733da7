"""What all tests share: the seed, printed, and the size of the long sweeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

SHARE = 20


@dataclass
class Sweep:
    """How much of a long sweep to run, and the random numbers to run it with."""

    complete: bool
    generator: np.random.Generator

    def count(self, number: int) -> int:
        """Return `number` under ``--sweep``, a seeded share of it otherwise."""
        return number if self.complete else max(number // SHARE, 1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sweep", action="store_true", help="run the long sweeps in full")
    parser.addoption("--sweep-seed", type=int, default=20261122, help="seed of the sweeps")


def pytest_report_header(config: pytest.Config) -> str:
    return f"sweep seed: {config.getoption('--sweep-seed')} (set with --sweep-seed)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse names that hold an address: parallel workers would each know another test."""
    for item in items:
        if " object at 0x" in item.nodeid:
            raise pytest.UsageError(f"ids of parameters must be the same in every process, got {item.nodeid}")


@pytest.fixture
def sweep(request: pytest.FixtureRequest) -> Sweep:
    """The size and the random numbers of a sweep, the same for a test whatever ran before it."""
    seed = request.config.getoption("--sweep-seed")
    return Sweep(request.config.getoption("--sweep"), np.random.default_rng(seed))
