"""The content of the page from kept results: ledgers, counts and findings. Nothing is run for it.

A ledger does not tell an exact answer from one within rounding, and keeps no answers: only the smallest case
of each contradiction has its answer. That answer is judged anew here, by the rule of the ledger, so that its
plot has bounds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.catalogue.within import cases_within, offered_by
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.grading.verdict import Profile
from sgd_ref.conformance.reports import target_data
from sgd_ref.conformance.reports.html.content import RIGHT, Content, Divergence, Key, Picture, Run
from sgd_ref.conformance.reports.html.live import pictures, reproducer
from sgd_ref.conformance.reports.html.plot import plot
from sgd_ref.conformance.reports.publishing import DATA
from sgd_ref.conformance.targets import ledger
from sgd_ref.conformance.targets.findings import storage
from sgd_ref.conformance.targets.findings.finding import Finding
from sgd_ref.conformance.targets.history.since import since_when
from sgd_ref.conformance.targets.names import file_name, versions_text
from sgd_ref.conformance.targets.registry import FAMILIES, arguments_of, names
from sgd_ref.conformance.trajectories.comparison import compare

LEDGER = "ledger.json"

SHRUNK = "shrunk/"
"""The beginning of the id of a smallest case, before the id of the case that it was made from."""

EXACT, ROUNDING = "exact", "rounding"


@dataclass(frozen=True)
class Kept:
    """The kept results of one target.

    Attributes
    ----------
    name, rule : str
        The target, and the rule that it was held to, in words.
    data : dict
        The counts, as `target_data.to_data` returns them.
    ledger : Ledger
        The cases that diverge, fail or are not offered.
    findings : mapping of str to Finding
        By name, the smallest case of each contradiction.
    evidence : mapping of str to str
        Where each name was seen.
    asked : mapping of str to Case
        The cases that were asked, by their ids.
    """

    name: str
    rule: str
    data: target_data.Data
    ledger: ledger.Ledger
    findings: Mapping[str, Finding]
    evidence: Mapping[str, str]
    asked: Mapping[str, Case]


def kept_targets(folder: Path | None = None) -> list[Kept]:
    """Return the kept results of each target, in the order of the registry.

    Parameters
    ----------
    folder : Path, optional
        Where each target has a folder; by default that of the published data.

    Raises
    ------
    ValueError
        If a file is malformed.
    """
    folder = data_folder.folder() / "targets" if folder is None else folder
    places = {name: folder / file_name(name) for name in names()}
    return [
        _read(name, place)
        for name, place in places.items()
        if (place / LEDGER).exists() and (place / DATA).exists()
    ]


def content_of_kept(kept: Sequence[Kept]) -> Content:
    """Return the content of the page of all targets with kept results."""
    divergences = [one for run, target in enumerate(kept) for one in _divergences(run, target)]
    evidence: dict[str, list[str]] = {}
    for target in kept:
        for name, text in target.evidence.items():
            if text not in evidence.setdefault(name, []):
                evidence[name].append(text)
    since = since_when([target.name for target in kept])
    return Content([_run(target) for target in kept], divergences, evidence, since, is_kept=True)


def _read(name: str, place: Path) -> Kept:
    word, *values = name.split(" ")
    offers = FAMILIES[word].member(*values).offers
    asked = cases() if offers is None else cases_within(offered_by(offers))
    path = place / storage.FILE
    return Kept(
        name,
        ledger.rule_of(place / LEDGER),
        target_data.read(place / DATA),
        ledger.read(place / LEDGER),
        storage.read(path, name) if path.exists() else {},
        ledger.evidence_of(place / LEDGER),
        {case.id: case for case in asked},
    )


def _run(target: Kept) -> Run:
    cases = {case_id: _grade(target, case_id) for case_id in target.asked}
    features: dict[Key, Counter[str]] = {}
    for case_id, found in cases.items():
        for key in target_data.places(target.asked[case_id]):
            features.setdefault(key, Counter())[found] += 1
    # Cases may have been added since the counts were taken, which then say nothing of the whole.
    split = {key: _split(target, key, counts) for key, counts in features.items()}
    # Each combination has one dtype, so that the values of this axis and the groups count every case once.
    once = [split[key] for key in features if key[0] in ("dtype", "cases")]
    is_split = not any(RIGHT in counts for counts in once)
    counts = Counter(cases.values()) if not is_split else sum(map(Counter, once), Counter())
    nameless = sum(one.grade == "diverges" and not one.names for one in target.ledger.values())
    return Run(
        target.name,
        versions_text(target.name, target.data["versions"]),
        f"{nameless} without a name" if nameless else "all explained",
        not nameless,
        counts,
        split,
        cases,
        tuple(_notes(target, is_split)),
    )


def _grade(target: Kept, case_id: str) -> str:
    listed = target.ledger.get(case_id)
    return RIGHT if listed is None else listed.grade


def _split(target: Kept, key: Key, counts: Mapping[str, int]) -> Mapping[str, int]:
    """Return the counts of a feature with the exact apart from the rounding, where they fit to the ledger."""
    axis, value = key
    kept = target.data["cases"] if axis == "cases" else target.data["features"].get(axis, {})
    given = Counter(kept.get(value, {}))
    whole = Counter({name: count for name, count in given.items() if name not in (EXACT, ROUNDING)})
    whole[RIGHT] = given[EXACT] + given[ROUNDING]
    return given if whole == Counter(counts) else counts


def _notes(target: Kept, is_split: bool) -> Iterator[str]:
    yield f"Held to the rule of {target.rule}"
    if not is_split:
        yield "How many cases are exact was counted over fewer cases than its ledger has, and is left out"
    done = [name for name, how in target.data["optimizations"].items() if how == "done"]
    if done:
        yield f"Faster evaluations that it makes: {', '.join(done)}"
    reasons = Counter(one.names for one in target.ledger.values() if one.grade == "unsupported")
    for reason, count in sorted(reasons.items()):
        yield f"Not offered in {count} case{'' if count == 1 else 's'}: {', '.join(reason)}"


def _divergences(run: int, target: Kept) -> Iterator[Divergence]:
    shown: dict[str, list[Picture]] = {}
    for name, finding in target.findings.items():
        shown.setdefault(finding.case.id.removeprefix(SHRUNK), []).append(_picture(target, name, finding))
    listed = {case_id: one for case_id, one in target.ledger.items() if one.grade in ("diverges", "error")}
    # What has a plot comes first.
    for case_id in (*shown, *(case_id for case_id in listed if case_id not in shown)):
        own = tuple(shown.get(case_id, ()))
        expected = listed.get(case_id)
        plotted = {picture.name for picture in own}
        known = tuple(picture.name for picture in own) if expected is None else expected.names
        yield Divergence(
            run,
            case_id,
            "" if expected is None else expected.grade,
            known,
            "",
            True,
            frozenset() if expected is None else frozenset(target_data.places(target.asked[case_id])),
            own,
            "It counts as right, by an answer to an open question." if expected is None else "",
            reproducer(target.name, case_id),
            tuple(name for name in known if name in target.findings and name not in plotted),
        )


def _picture(target: Kept, name: str, finding: Finding) -> Picture:
    dialect = Dialect.read(target.rule)
    profile = Profile(rule=dialect.rule, by_design=dialect.by_design)
    command = f"sgd-ref reproduce {arguments_of(target.name, name)}"
    found = pictures(grade(partial(_answer, finding), finding.case, profile), name, command)
    return found[0] if found else _difference(finding, command)


def _answer(finding: Finding, _: Case) -> Trajectory:
    return finding.observed


def _difference(finding: Finding, command: str) -> Picture:
    """Return the plot of a small case that is right by some answer to an open question, without bounds."""
    first = compare(finding.case, finding.expected, finding.observed).first
    assert first is not None
    place = Violation(
        first.call, first.quantity, first.variable, first.element, first.values[1], math.inf, -math.inf
    )
    drawn = plot(finding.case.names, finding.expected, finding.observed, place)
    what = f"{first}. By another answer to an open question this small case alone is right."
    return Picture(drawn, what, finding.name, command)
