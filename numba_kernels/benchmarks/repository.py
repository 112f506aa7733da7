"""The repository that the benchmark lies in, asked through git."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def git(root: Path, *arguments: str) -> bytes | None:
    """Return what git prints about a repository; None if it fails, or is not installed.

    >>> git(ROOT, "no such command") is None
    True
    """
    try:
        # Git is where its user has put it.
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)  # noqa: S607
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def commit_here(root: Path = ROOT) -> str:
    """Return the beginning of the hash of the commit that is checked out; empty if there is none."""
    return (git(root, "rev-parse", "--short", "HEAD") or b"").decode().strip()
