"""Publishing: data and page are written, and the page that is kept is that of the data that are kept."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.catalogue.axes import PLAINEST
from sgd_ref.conformance.catalogue.case import Case, Implementation, Trajectory
from sgd_ref.conformance.catalogue.tiers import make_case
from sgd_ref.conformance.deviations import compose
from sgd_ref.conformance.grading.check import check
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.verdict import Verdict
from sgd_ref.conformance.reports.publishing import kept_page, publish
from sgd_ref.conformance.targets.findings import storage
from sgd_ref.conformance.targets.target import Target
from sgd_ref.conformance.trajectories import reference

NAME, DECAY = "torch loop", "decay-enters-velocity"
CASES = [make_case({**PLAINEST, "update": "momentum", "weight_decay": "decay"})]


def wrong(case: Case) -> Trajectory:
    return reference.run(case, *compose([DECAY]))


def start() -> AbstractContextManager[Implementation]:
    return nullcontext(wrong)


def explained(verdict: Verdict) -> tuple[str, ...]:
    return (DECAY,)


TARGET = Target(NAME, start, explained, frozenset([DECAY]), runs_to_shrink=5)


def findings(run: Implementation = wrong) -> Findings:
    report = check(run, CASES, NAME)
    names = {case_id: (DECAY,) for case_id, found in report.verdicts.items() if found.grade == "diverges"}
    return Findings(report, {"version": "2.0"}, names, frozenset([DECAY]))


def test_data_and_page_are_written_and_no_code(tmp_path: Path) -> None:
    publish([findings()], [TARGET], tmp_path)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["README.md", "torch-loop/findings.json", "torch-loop/page.json"]
    assert list(storage.read(tmp_path / "torch-loop" / "findings.json", NAME)) == [DECAY]
    assert json.loads((tmp_path / "torch-loop" / "page.json").read_bytes())["contradictions"] == {DECAY: 1}
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"| `{DECAY}` | **1** |" in page
    assert "    sgd-ref reproduce torch CONTRADICTION --variant loop\n" in page


def test_the_cost_of_a_run_is_kept_where_it_is_wanted(tmp_path: Path) -> None:
    publish([findings()], [TARGET], tmp_path, with_cost=True)
    assert json.loads((tmp_path / "torch-loop" / "cost.json").read_bytes())["megabytes"] is None
    assert "## Cost\n" in (tmp_path / "README.md").read_text(encoding="utf-8")
    publish([findings()], [TARGET], tmp_path)
    assert "## Cost\n" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_what_is_found_no_more_is_not_kept(tmp_path: Path) -> None:
    publish([findings()], [TARGET], tmp_path)
    publish([findings(reference.run)], [TARGET], tmp_path)
    assert storage.read(tmp_path / "torch-loop" / "findings.json", NAME) == {}
    assert "sgd-ref reproduce" not in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_the_kept_page_is_that_of_the_kept_data() -> None:
    folder = data_folder.folder() / "targets"
    assert (folder / "README.md").read_bytes() == kept_page(folder).encode()


def test_a_folder_without_data_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one target"):
        kept_page(tmp_path)


def test_nothing_generated_is_code() -> None:
    targets = data_folder.folder() / "targets"
    # The scripts of bug reports are written by hand.
    assert not [path for path in targets.rglob("*.py") if path.parent != targets / "reports"]
