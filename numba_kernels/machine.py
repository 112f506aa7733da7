"""The machine and the versions of packages that a measurement is valid for."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

PACKAGES = ("numpy", "numba", "llvmlite", "torch", "jax", "optax", "keras", "tensorflow", "ml_dtypes")


def description() -> dict[str, str]:
    """Return the facts about the machine that a reader needs, by name."""
    return {
        "processor": _processor(),
        "processors that may be used": str(_usable_processors()),
        "memory": _memory(),
        "system": platform.platform(),
        "date": datetime.now(UTC).date().isoformat(),
        "Python": platform.python_version(),
        **versions(PACKAGES),
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of the installed packages among some names."""
    return {package: version for package in packages if (version := _version(package))}


def _usable_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> str:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal"):
            return f"{int(line.split()[1]) / 2**20:.0f} GiB"
    return "unknown"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
