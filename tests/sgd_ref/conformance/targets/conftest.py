"""Implementations that several files of tests start."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sgd_ref.conformance.targets.optax.launch import Optax, available

OLDER_THAN_FUSED = ("SSE4_2", "AVX")
"""Instruction sets that XLA can be held to, and that have no fused multiply-add."""


@pytest.fixture(scope="session")
def xla_fuses() -> bool:
    """Whether XLA has fused multiply-adds to compile for: of the processor, and of the set it is held to."""
    if platform.machine() in ("aarch64", "arm64"):
        return True
    about = Path("/proc/cpuinfo")
    held_to = re.search(r"--xla_cpu_max_isa=(\w+)", os.environ.get("XLA_FLAGS", ""))
    is_older = held_to is not None and held_to[1].upper() in OLDER_THAN_FUSED
    return about.exists() and "fma" in about.read_text(encoding="utf-8").split() and not is_older


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
