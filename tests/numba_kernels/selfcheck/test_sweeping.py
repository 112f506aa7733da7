"""The checks of the kernels in units: together they are the checks, each case once."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from numba_kernels import machine
from numba_kernels.selfcheck import norms, product, runner, sizes, sweeping, threads_check
from numba_kernels.selfcheck.extent import FULL, QUICK, Extent
from numba_kernels.selfcheck.result import Result
from sgd_ref.command import main as cli
from sgd_ref.conformance.grading.sweep.journal import Journal
from sgd_ref.conformance.grading.sweep.running import Sweep

ExtentOf = Callable[..., Extent]


def counts(results: list[Result]) -> dict[str, tuple[int, int, int, int]]:
    return {
        result.name: (result.cases, result.compared, result.differing, result.skipped) for result in results
    }


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few checks be all."""
    checks = {check.NAME: check.check for check in (sizes, threads_check, norms)}
    monkeypatch.setattr(runner, "CHECKS", checks)
    monkeypatch.setattr(sweeping, "CHECKS", checks)
    monkeypatch.setattr(sweeping, "SHARES", dict.fromkeys(checks, 3))


@pytest.mark.usefixtures("few")
def test_the_units_are_the_checks(one_kernel: ExtentOf, tmp_path: Path) -> None:
    extent = one_kernel("^sizes/.*(small|offset-3)|^threads/|^norms/float32/size|^product/axes/momentum$")
    expected = counts(runner.run(extent).results)
    with Journal(tmp_path / "journal", sweeping.asked(extent)) as journal:
        outcome = sweeping.run(extent, Sweep(journal))
        found = counts(outcome.results)
        assert len(journal) >= 9
    assert found == expected
    assert not outcome.not_run
    assert all(cases for cases, *_ in found.values())
    # Nothing is done again.
    with Journal(tmp_path / "journal", sweeping.asked(extent)) as journal:
        again = sweeping.run(extent, Sweep(journal, lambda units: pytest.fail(str(units))))
    assert again.results == outcome.results


@pytest.mark.parametrize("identifier", ["sizes/float32/a", "b", ""])
def test_each_case_is_in_one_share(identifier: str) -> None:
    shares = [replace(Extent(), share=(position, 7)) for position in range(7)]
    assert sum(share.wants(identifier) for share in shares) == 1
    assert not any(replace(share, pattern=re.compile("no")).wants(identifier) for share in shares)


def test_units_have_distinct_ids_and_cover_the_full_product() -> None:
    extent = Extent(FULL, pattern=re.compile("^product/axes/float64/nesterov/decay/clipnorm"))
    units = sweeping.units_to_check(extent)
    assert len({unit.id for unit in units}) == len(units)
    combinations = [unit for unit in units if unit.id.startswith(product.NAME)]
    assert len(combinations) == -(-3 * 3 * 4 * 8 * 3 * 3 * 2 // sweeping.COMBINATIONS)
    assert not sweeping.units_to_compile(extent)
    assert len(sweeping.units_to_compile(Extent(QUICK))) == sweeping.KERNELS


def test_a_difference_names_the_processor(tmp_path: Path) -> None:
    def differing() -> Result:
        result = Result("sizes", cases=1)
        result.differs("sizes/a\n  call 0")
        return result

    result = sweeping.from_json(sweeping._worked(differing))
    assert result.differences[0].startswith(f"sizes/a\n  call 0\n  on {machine.description()['processor']} (")
    assert sweeping._worked(partial(Result, "sizes", cases=1))["differences"] == []


@pytest.mark.sweep
@pytest.mark.skipif(sys.platform == "win32", reason="as the other tests of a cluster")
def test_on_a_cluster(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    chosen = ["check", "--quick", "-k", "^product/axes/(float16|float16/momentum)$|^golden/first/plain$"]
    assert cli.main(chosen) == 0
    alone = capsys.readouterr().out.splitlines()[-1]
    assert cli.main([*chosen, "--cluster", "--workers", "1", "--resume", str(tmp_path / "kept")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == alone
    assert alone.startswith("PASSED")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cluster", "--prove"], "must go with --device cpu, and without --prove"),
        (["--resume", "a", "--device", "ptx"], "must go with --device cpu"),
        (["--cluster", "--processes", "2"], "--processes must go without --cluster"),
        (["--workers", "2"], "--workers must go with --cluster"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["check", *arguments])
    assert message in capsys.readouterr().err
