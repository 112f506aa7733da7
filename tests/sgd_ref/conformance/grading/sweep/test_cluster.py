"""A cluster of real processes: workers die, the scheduler dies, and software differs.

Nothing here waits for a time: the units themselves end processes.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.conformance.grading.sweep import software
from sgd_ref.conformance.grading.sweep.journal import Journal
from sgd_ref.conformance.grading.sweep.running import Sweep
from sgd_ref.conformance.grading.sweep.unit import Interrupted, Refused, Unit

dask = pytest.importorskip("dask", reason="the extra cluster is not installed")
cluster = pytest.importorskip(
    "sgd_ref.conformance.grading.sweep.cluster", reason="the extra cluster is not installed"
)
connected = cluster.connected

COUNT = 8

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by SIGKILL")


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the units, as workers import it."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parent)])
    monkeypatch.setenv("PYTHONPATH", ":".join(entry for entry in sys.path if entry))
    # A worker is blamed for the first death of a unit, and not only for the fourth.
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "1")
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        module = importlib.import_module("dying")
        yield module
    sys.modules.pop("dying", None)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal", {}) as opened:
        yield opened


Scheduler = tuple[str, int]


@pytest.fixture
def started(tmp_path: Path, dying: Any) -> Iterator[Callable[..., Scheduler]]:
    """Return the function that starts a scheduler and a worker, and returns the address and the process."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        processes.append(process)
        return process

    def both(**environment: str) -> Scheduler:
        scheduler = start(
            *("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"),
            *("--no-dashboard", "--dashboard-address", "127.0.0.1:0"),
        )
        assert scheduler.stderr is not None
        # It says where it listens.
        where = next(line.split()[-1] for line in scheduler.stderr if "Scheduler at" in line)
        start(
            *("distributed.cli.dask_worker", where, "--no-nanny", "--nthreads", "1"),
            *("--name", "the-worker", "--no-dashboard", "--local-directory", str(tmp_path)),
        )
        return where, scheduler.pid

    yield both
    for process in processes:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_dead_workers(dying: Any, journal: Journal, tmp_path: Path) -> None:
    units = [Unit(f"unit/{number}", partial(dying.plain, number)) for number in range(COUNT)]
    units[2] = Unit("unit/2", partial(dying.kills_once, 2, None, str(tmp_path / "flag")))
    units[4] = Unit("unit/4", dying.kills)
    units[5] = Unit("unit/5", dying.raises)
    advanced: list[int] = []
    with connected(None, 2) as engine:
        sweep = Sweep(journal, engine)
        sweep.run(units, advanced.append)
    assert (tmp_path / "flag").exists()
    assert advanced == list(range(COUNT + 1))
    assert {unit.id: result["number"] for unit, result in sweep.results(units)} == {
        f"unit/{number}": number for number in range(COUNT) if number not in (4, 5)
    }
    assert [failed.unit for failed in sweep.failed] == ["unit/4", "unit/5"]
    assert sweep.failed[0].reason.startswith("each worker that did it died")
    assert sweep.failed[1].reason == "ValueError: no momentum"


def test_a_dead_scheduler(
    started: Callable[..., Scheduler], dying: Any, journal: Journal, tmp_path: Path
) -> None:
    where, process = started()
    units = [Unit(f"unit/{number}", partial(dying.plain, number)) for number in range(COUNT)]
    units[2] = Unit("unit/2", partial(dying.kills_once, 2, process, str(tmp_path / "flag")))
    sweep = Sweep(journal)

    def one_at_a_time() -> None:
        with connected(where) as sweep.engine:
            for unit in units:
                sweep.run([unit])

    with pytest.raises(Interrupted, match="the scheduler of Dask has gone"):
        one_at_a_time()
    assert 0 < len(journal) < COUNT
    where, _ = started()
    with connected(where) as sweep.engine:
        sweep.run(units)
    assert [result["number"] for _, result in sweep.results(units)] == list(range(COUNT))


def test_other_software(
    started: Callable[..., Scheduler],
    dying: Any,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    address, _ = started()
    where = str(tmp_path / "scheduler.json")
    Path(where).write_text(json.dumps({"address": address}))
    another = pytest.raises(Refused, match=r"worker the-worker at .*: another program: version is 2 instead")
    with another, connected(where) as engine:
        Sweep(journal, engine).run([Unit("unit", dying.refuses)])
    found = {**software.software(), "numpy": "1.0"}
    monkeypatch.setattr(cluster.software, "software", lambda packages: found)
    # There may be no worker yet when the cluster is connected; then the unit itself is refused.
    message = r"worker the-worker at .* has other software: numpy is .* instead of 1\.0"
    with pytest.raises(Refused, match=message), connected(where) as engine:
        Sweep(journal, engine).run([Unit("unit", partial(dying.plain, 1))])
    monkeypatch.setattr(cluster.Cluster, "check_workers", lambda self: None)
    with pytest.raises(Refused, match=message), connected(where) as engine:
        Sweep(journal, engine).run([Unit("unit", partial(dying.plain, 1))])
    assert len(journal) == 0


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:1", "no/such/file", "http://127.0.0.1:1"])
def test_no_scheduler(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "START_LIMIT", 0.01)
    with pytest.raises(Interrupted, match=f"no scheduler of Dask answers at {where}: "), connected(where):
        pass
