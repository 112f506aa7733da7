"""What all tests share: the seed, printed, and the size of the long sweeps."""

from __future__ import annotations

import gc
import os
import random
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests import process_state

pytest_plugins = ["pytester"]

# The environment in which machine code is built has pytest alone.
with suppress(ModuleNotFoundError):
    import hypothesis

    # By default an example that takes 200 ms is a failure, and on a busy machine any example may.
    hypothesis.settings.register_profile("without deadline", deadline=None)
    hypothesis.settings.load_profile("without deadline")

STATE = pytest.StashKey[dict[str, Any]]()
"""What the process was like before the present file."""

SHARE = 20

LONGEST = (
    "targets/keras/test_agreement.py",
    "audit/test_kill_matrix.py",
    "golden/content/test_bounds.py",
    "bounds/test_random_evaluation.py",
)
"""Ends of the paths of the files whose tests take longest."""


@dataclass
class Sweep:
    """How much of a long sweep to run, and the random numbers to run it with."""

    complete: bool
    generator: np.random.Generator

    def count(self, number: int, share: int = SHARE) -> int:
        """Return `number` under ``--sweep``, one in `share` of it otherwise."""
        return number if self.complete else max(number // share, 1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sweep", action="store_true", help="run the long sweeps in full")
    parser.addoption(
        "--whole-state", action="store_true", help="find all that a file leaves changed, as --sweep does"
    )
    parser.addoption("--sweep-seed", type=int, default=20261122, help="seed of the sweeps")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are processors: a third of the time a process waits for others."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1


def pytest_report_header(config: pytest.Config) -> str:
    return f"sweep seed: {config.getoption('--sweep-seed')} (set with --sweep-seed)"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "share(number): run one in `number` parameters unless --sweep is given"
    )
    config.addinivalue_line("markers", "sweep: run under --sweep alone, or where nothing else is asked for")
    # The tests of a file share what its fixtures compute, some of it for minutes.
    if config.getoption("numprocesses", None) and config.option.dist == "load":
        config.option.dist = "loadfile"
        config.option.loadscopereorder = False


@pytest.hookimpl(trylast=True)  # after -k and its like, so that what was asked for is drawn from
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse names that differ between parallel processes, draw shares, and begin with the longest files.

    A long file that came last would keep one process busy, and the others waiting.
    """
    for item in items:
        if " object at 0x" in item.nodeid:
            raise pytest.UsageError(f"ids of parameters must be the same in every process, got {item.nodeid}")
    if not config.getoption("--sweep"):
        left_out = outside_of_shares(items, config.getoption("--sweep-seed"))
        config.hook.pytest_deselected(items=[item for item in items if item in left_out])
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def outside_of_shares(items: list[pytest.Item], seed: int) -> set[pytest.Item]:
    """Return what the markers leave out; of each test that is marked `share` at least one stays."""
    left_out = {item for item in items if item.get_closest_marker("sweep") is not None}
    if len(left_out) == len(items):
        return set()  # They were asked for by name.
    families: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("share") is not None and item not in left_out:
            families[item.nodeid.partition("[")[0]].append(item)
    for name, family in families.items():
        (number,) = family[0].get_closest_marker("share").args  # type: ignore[union-attr]
        kept = -(-len(family) // number)
        left_out.update(random.Random(f"{seed} {name}").sample(family, len(family) - kept))
    return left_out


def _is_whole(config: pytest.Config) -> bool:
    return bool(config.getoption("--whole-state") or config.getoption("--sweep"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave the modules and the tests themselves, half a million objects, out of every garbage collection."""
    gc.collect()
    gc.freeze()
    session.config.stash[STATE] = process_state.state(_is_whole(session.config))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After each file see that the process is as it was, and leave what the file keeps out of collections.

    Else whoever collects garbage walks through all data.
    """
    if nextitem is not None and nextitem.path == item.path:
        return
    gc.collect()
    gc.freeze()
    before, after = item.config.stash[STATE], process_state.state(_is_whole(item.config))
    item.config.stash[STATE] = after
    if changed := process_state.changes(before, after):
        pytest.fail(f"the tests of {item.path.name} have left changed: {'; '.join(changed)}", pytrace=False)


@pytest.fixture
def sweep(request: pytest.FixtureRequest) -> Sweep:
    """The size and the random numbers of a sweep, the same for a test whatever ran before it."""
    seed = request.config.getoption("--sweep-seed")
    return Sweep(request.config.getoption("--sweep"), np.random.default_rng(seed))
