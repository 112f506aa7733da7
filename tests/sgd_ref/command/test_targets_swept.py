"""``sgd-ref conform`` as a sweep: the result of one process, whatever dies and whoever resumes it."""

from __future__ import annotations

import json
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sgd_ref.command import main as cli
from sgd_ref.conformance import cases
from sgd_ref.conformance.grading.sweep import journal, unit
from sgd_ref.conformance.targets import sweeping

MINE = """
import os, signal
from pathlib import Path
from sgd_ref.conformance import Unsupported
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.trajectories import reference

def run(case):
    flag = Path("killed")
    if case.id == {victim!r} and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if case.config["nesterov"]:
        raise Unsupported("nesterov")
    if case.config["clipvalue"] is not None:
        return reference.run(case, DEVIATIONS["ascends"].optimizer)
    return FAITHFUL["descent-fused"].run(case)
"""

VICTIM = cases("first")[3].id


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an implementation that once kills its process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine_that_dies", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Workers find the packages where this process does.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(entry for entry in sys.path if entry))
    # Few cases make several units.
    monkeypatch.setattr(sweeping, "CASES", 3)
    monkeypatch.setattr(sweeping, "_fingerprint", cache(sweeping._fingerprint.__wrapped__))
    (tmp_path / "mine_that_dies.py").write_text(MINE.format(victim=VICTIM))
    return tmp_path


def conform(*arguments: str, tier: str = "first") -> int:
    return cli.main(["conform", "mine_that_dies:run", "--tier", tier, *arguments])


def verdicts(file: str) -> Any:
    """Return a report without the time that it took."""
    document = json.loads(Path(file).read_text())
    for run in document["runs"]:
        del run["seconds"]
    return document


@pytest.fixture
def expected(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The report of one process."""
    (folder / "killed").touch()
    assert conform("--json", "one.json") == 1
    (folder / "killed").unlink()
    capsys.readouterr()
    return verdicts("one.json")


@pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by SIGKILL")
def test_a_killed_worker(folder: Path, expected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    assert conform("--cluster", "--workers", "2", "--json", "two.json") == 1
    assert (folder / "killed").exists()
    assert verdicts("two.json") == expected
    # Nobody asked to keep the journal.
    assert not list((folder / "cache" / "sgd-ref" / "sweeps").iterdir())
    assert capsys.readouterr().err == ""


def test_an_interrupted_sweep_is_resumed(
    folder: Path, expected: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "killed").touch()
    done, count = unit.done, []

    def interrupted(one: unit.Unit, name: str) -> unit.Outcome:
        if len(count) == 2:
            raise KeyboardInterrupt
        count.append(one.id)
        return done(one, name)

    monkeypatch.setattr(unit, "done", interrupted)
    assert conform("--resume", "kept") == 130
    assert "2 units are finished and kept in kept: the same command goes on" in capsys.readouterr().err
    asked: list[str] = []
    monkeypatch.setattr(unit, "done", lambda one, name: (asked.append(one.id), done(one, name))[1])
    assert conform("--resume", "kept", "--json", "two.json") == 1
    assert "resumed: kept has 2 finished units" in capsys.readouterr().err
    assert verdicts("two.json") == expected
    assert not set(asked) & set(count)
    asked.clear()
    assert conform("--resume", "kept", "--json", "three.json") == 1
    assert not asked
    assert verdicts("three.json") == expected


def test_a_journal_of_other_code_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "killed").touch()
    assert conform("--resume", "kept") == 1
    (folder / "mine_that_dies.py").write_text(MINE.format(victim="none"))
    monkeypatch.delitem(sys.modules, "mine_that_dies")
    sweeping._fingerprint.cache_clear()
    for arguments, what in [
        (("--resume", "kept"), "mine_that_dies:run: code of mine_that_dies is "),
        (("--resume", "kept", "-k", "plain"), "-k is plain instead of "),
        (("--resume", "kept", "--rule", "pytorch"), "rule is pytorch instead of its own"),
        (("--resume", "mine_that_dies.py"), "no journal of a sweep"),
        (("--resume", "."), "--resume: "),
    ]:
        with pytest.raises(SystemExit, match="2"):
            conform(*arguments)
        assert what in capsys.readouterr().err


def test_a_unit_that_fails_is_named_and_files_are_not_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "killed").touch()
    done = unit.done

    def failing(one: unit.Unit, name: str) -> unit.Outcome:
        return unit.Failed(one.id, "each worker died") if one.id.endswith("00001") else done(one, name)

    monkeypatch.setattr(unit, "done", failing)
    assert conform("--resume", "kept", "-k", "plain|momentum|nesterov|averages", "--json", "two.json") == 3
    printed = capsys.readouterr()
    assert "NOT RUN: mine_that_dies:run/00001: each worker died" in printed.out
    assert not Path("two.json").exists()


def test_without_dask(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "killed").touch()
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "sgd_ref.conformance.grading.sweep.cluster", raising=False)
    assert conform("--cluster") == 3
    assert "a cluster needs Dask" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "--workers must go with --cluster"),
        (["--workers", "2", "--scheduler", "tcp://a:1"], "--workers must go with --cluster"),
        (["--cluster", "--scheduler", "tcp://a:1"], "not allowed with"),
        (["--cluster", "-k", "no such case"], "-k must match the id of a case of the first tier"),
        (["--cluster", "--update", "--ledger", "a"], "--update must go without --cluster"),
    ],
)
def test_wrong_usage(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "killed").touch()
    with pytest.raises(SystemExit, match="2"):
        conform(*arguments)
    assert message in capsys.readouterr().err


def test_positions_are_those_of_the_full_tier() -> None:
    asked = sweeping.Asked("a", ("a:b",), (), (1.0, 1.0), ".", "full", None, None)
    full = cases("full")
    assert sweeping.positions(asked, None) == range(len(full))
    pattern = re.compile("^axes/(nesterov/decay|mixed/momentum)/dynamic")
    found = sweeping.positions(asked, pattern)
    assert len(found) == len(set(found)) == 2 * 8 * 3 * 3 * 2
    assert all(pattern.search(full[position].id) for position in (*found[:3], *found[-3:]))


def test_the_journal_says_who_did_what(folder: Path) -> None:
    (folder / "killed").touch()
    assert conform("--resume", "kept") == 1
    lines = [json.loads(line) for line in Path("kept").read_text().splitlines()]
    assert lines[0][journal.KEY] == journal.FORM
    assert lines[0]["asked"]["tier"] == "first"
    assert {"definition", "numpy", "code of sgd_ref"} <= lines[0]["asked"].keys()
    assert [line["unit"] for line in lines[1:3]] == ["mine_that_dies:run/00000", "mine_that_dies:run/00001"]
    assert lines[1]["worker"]["name"] == "this process"


@pytest.mark.skipif(sys.platform == "win32", reason="processes are ended by SIGKILL")
def test_a_share_of_the_full_tier(
    folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not request.config.getoption("--sweep"):
        pytest.skip("a minute, only with --sweep")
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    monkeypatch.setattr(sweeping, "CASES", 20)
    pattern = "^axes/(momentum|nesterov)/decay/(clipnorm|global_clipnorm)/averages/accumulation-[23]/dynamic"
    victim = "axes/momentum/decay/global_clipnorm/averages/accumulation-3/dynamic/cosine/missing"
    (folder / "mine_that_dies.py").write_text(MINE.format(victim=victim))
    (folder / "killed").touch()
    assert conform("-k", pattern, "--json", "one.json", tier="full") == 0
    (folder / "killed").unlink()
    assert conform("-k", pattern, "--cluster", "--workers", "2", "--json", "two.json", tier="full") == 0
    assert (folder / "killed").exists()
    assert verdicts("two.json") == verdicts("one.json")
