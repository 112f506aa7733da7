"""The script that shows a finding of a target."""

from __future__ import annotations

import textwrap
from dataclasses import replace

from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.diagnosis.shrinking import PREFIX
from sgd_ref.conformance.targets.findings.finding import Finding
from sgd_ref.conformance.targets.names import versions_text
from sgd_ref.conformance.targets.registry import how_to_run, options_of
from sgd_ref.conformance.targets.scripts.script import script_text

WIDTH = 100


def script_of(finding: Finding, target: str) -> str:
    """Return the script that runs the case of a finding and says whether the target still differs.

    Parameters
    ----------
    finding : Finding
        The finding to show.
    target : str
        The name of the target, such as "keras jax eager".

    Raises
    ------
    ValueError
        If the target lacks a feature that the case needs.
    """
    case = finding.case
    summary = DEVIATIONS[finding.name].summary if finding.name in DEVIATIONS else ""
    about = textwrap.fill(f"{finding.name}: {summary}" if summary else finding.name, WIDTH)
    origin = textwrap.fill(case.notes, WIDTH)
    described = replace(case, id=case.id.removeprefix(PREFIX), notes=f"{about}\n\n{origin}\n")
    versions = versions_text(target, finding.versions)
    return script_text(
        described,
        finding.expected,
        finding.observed,
        how_to_run(case, **options_of(target)),
        f"{target} ({versions})" if versions else target,
        finding.processor,
    )
