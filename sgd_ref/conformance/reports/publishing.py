"""Publishing runs: the page of all targets, with a reproducer for each divergence that has a name."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.reports.target_data import read, to_data, to_text
from sgd_ref.conformance.reports.targets_page import page_of_data
from sgd_ref.conformance.targets.names import file_name
from sgd_ref.conformance.targets.registry import FAMILIES, names, options_of
from sgd_ref.conformance.targets.scripts.of_findings import reproducers
from sgd_ref.conformance.targets.target import Target

PAGES = Path(__file__).with_name("pages")

FEW_RUNS = 25
"""Runs to shrink a case for a target that compiles anew for each, in seconds."""

MOST_RUNS = 150

COMPILED = "torch compiled"


def publish(findings: Sequence[Findings], targets: Sequence[Target], pages: Path = PAGES) -> None:
    """Write what was found of some targets, and the page of all that were ever published.

    Parameters
    ----------
    findings : sequence of Findings
        Of runs over the standard tier.
    targets : sequence of Target
        Those of the runs, and perhaps others.
    pages : Path, optional
        The folder of the page.
    """
    by_name = {target.name: target for target in targets}
    for found in findings:
        name = found.report.name
        most_runs = FEW_RUNS if name == COMPILED else MOST_RUNS
        scripts = reproducers(found, by_name[name], options_of(name), most_runs)
        folder = pages / "reproducers" / file_name(name)
        shutil.rmtree(folder, ignore_errors=True)
        for key, text in scripts.items():
            path = pages / "reproducers" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        (pages / "targets").mkdir(parents=True, exist_ok=True)
        data = to_data(found, {Path(key).stem for key in scripts})
        (pages / "targets" / f"{file_name(name)}.json").write_text(to_text(data), encoding="utf-8")
    paths = [pages / "targets" / f"{file_name(name)}.json" for name in names()]
    kept = [path for path in paths if path.exists()]
    not_run = [why for family in FAMILIES.values() for why in family.absent.values()]
    (pages / "targets.md").write_text(page_of_data([read(path) for path in kept], not_run), encoding="utf-8")
