"""The report of a contradiction of a target: a bug's report, or the facts known so far."""

from __future__ import annotations

from collections.abc import Sequence

from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.targets import registry
from sgd_ref.conformance.targets.bugs import checking
from sgd_ref.conformance.targets.bugs.bug import Bug, bugs_of
from sgd_ref.conformance.targets.bugs.markdown import markdown
from sgd_ref.conformance.targets.findings.finding import Finding
from sgd_ref.conformance.targets.findings.storage import kept
from sgd_ref.conformance.targets.history import storage
from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.releases import Releases
from sgd_ref.conformance.targets.history.running import by_contradiction
from sgd_ref.conformance.targets.history.spans import in_words
from sgd_ref.conformance.targets.names import versions_text
from sgd_ref.conformance.targets.scripts.of_finding import script_of


def releases_of(target: str) -> Releases | None:
    """Return the releases of a target, or None if no releases can be asked.

    >>> releases_of("optax eager").package
    'optax'
    """
    values = registry.options_of(target)
    of = registry.FAMILIES[values.pop("target")].releases
    return None if of is None else of(**values)


def contradictions(target: str) -> list[str]:
    """Return the names of the contradictions for which a target can be reported.

    >>> contradictions("mlx")
    ['clip-adds-epsilon', 'infinite-norm-hides-gradients', 'norm-of-rounded-squares']
    """
    return sorted({*bugs_of(target), *kept(target)})


def report(target: str, contradiction: str) -> str:
    """Return the report of one of the `contradictions` of a target, in Markdown.

    Raises
    ------
    ValueError
        If a file is malformed.
    """
    known = bugs_of(target)
    if contradiction in known:
        return _of_bug(known[contradiction])
    finding = kept(target)[contradiction]
    return _of_finding(finding, target, _asked(target, contradiction))


def _of_bug(bug: Bug) -> str:
    releases = releases_of(bug.target)
    requirements = [] if releases is None else releases.requirements(bug.release).split()
    asked = _asked(bug.target, bug.contradiction)
    return markdown(bug, checking.kept().get(bug.name), asked, requirements)


def _asked(target: str, contradiction: str) -> Sequence[tuple[str, Outcome]]:
    return by_contradiction(storage.kept(target)).get(contradiction, ())


def _of_finding(finding: Finding, target: str, asked: Sequence[tuple[str, Outcome]]) -> str:
    deviation = DEVIATIONS.get(finding.name)
    parts = [
        f"# {target}: {finding.name}\n",
        "## Describe the bug\n",
        f"{deviation.summary if deviation else finding.name}\n",
        "## Code to reproduce\n",
        f"```python\n{script_of(finding, target)}```\n",
        "## Versions\n",
        f"{versions_text(target, finding.versions)}.\n",
        *([f"Of releases: {in_words(asked)}.\n"] if asked else []),
        "## Other threads\n",
        "Not searched.\n",
    ]
    return "\n".join(parts)
