"""The work of ``sgd-ref conform``: find the implementations, run them side by side, explain mismatches."""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from rich.console import Console
from rich.progress import Progress

from sgd_ref.conformance.catalogue.axes import combination
from sgd_ref.conformance.catalogue.case import Case, Implementation
from sgd_ref.conformance.catalogue.combinations import full_ids
from sgd_ref.conformance.catalogue.tiers import cases, make_case
from sgd_ref.conformance.catalogue.within import cases_within
from sgd_ref.conformance.deviations import DEVIATIONS, is_contradiction
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.grading.check import check
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.progress import progress_bar
from sgd_ref.conformance.grading.verdict import Profile, Report, Verdict
from sgd_ref.conformance.protocol.worker import Handshake
from sgd_ref.conformance.targets.target import CannotRun, Target


def matching(
    tier: str, pattern: re.Pattern[str] | None, offered: Mapping[str, Collection[str]] | None = None
) -> Sequence[Case]:
    """Return the cases of a tier whose id contains a match of a pattern.

    Parameters
    ----------
    tier : str
        The name of the tier.
    pattern : regular expression or None
        None matches every id.
    offered : mapping of str to collection of str, optional
        The values that the cases may need; see `within.cases_within`, which adds more cases. Not for the full
        tier.

    Raises
    ------
    ValueError
        If there is no such case.
    """
    if offered is not None:
        within = cases_within(offered, tier)
        found = [case for case in within if pattern is None or pattern.search(case.id)]
        if pattern is not None and not found:
            raise ValueError(
                f"-k must match the id of a case that needs what is offered, got {pattern.pattern!r}"
            )
        return found
    if pattern is None:
        return cases(tier)
    if tier == "full":
        # Ids are cheap; a case is made only if its id matches.
        matching_ids = (position for position, text in enumerate(full_ids()) if pattern.search(text))
        found = [make_case(combination(position)) for position in matching_ids]
    else:
        found = [case for case in cases(tier) if pattern.search(case.id)]
    if not found:
        raise ValueError(f"-k must match the id of a case of the {tier} tier, got {pattern.pattern!r}")
    return found


class Stopped(Exception):
    """Raised between two cases of a target if another thread was interrupted."""


def run_all(
    chosen: Sequence[Target], cases: Sequence[Case], console: Console, held_to: Dialect | None = None
) -> tuple[list[Findings], list[str]]:
    """Run the targets, as many at a time as there are processors.

    Parameters
    ----------
    chosen : sequence of Target
        The targets.
    cases : sequence of Case
        The cases.
    console : Console
        Shows the progress.
    held_to : Dialect, optional
        The rule that all of them are held to; by default the rule that a program declares in its handshake,
        or else that of the target.

    Returns
    -------
    list of Findings
        In the order of the targets.
    list of str
        The reasons why other targets could not be run.
    """
    stopping = threading.Event()
    with warnings.catch_warnings(), progress_bar(console) as progress:
        # Threads share the warning filters, so that a warning silenced in one thread may appear in another.
        warnings.simplefilter("ignore")
        runs = [partial(_run, target, cases, progress, stopping, held_to) for target in chosen]
        if len(runs) == 1:
            # A single target runs in the main thread, where Ctrl-C ends even a function that never returns.
            return _collected(runs)
        with ThreadPoolExecutor(min(os.cpu_count() or 1, len(runs))) as pool:
            try:
                return _collected([pool.submit(run).result for run in runs])
            # If Ctrl-C ends the waiting, each run ends after its present case.
            finally:
                stopping.set()
                pool.shutdown(cancel_futures=True)


def _collected(outcomes: Sequence[Callable[[], Findings]]) -> tuple[list[Findings], list[str]]:
    findings: list[Findings] = []
    not_run: list[str] = []
    for outcome in outcomes:
        try:
            findings.append(outcome())
        except CannotRun as problem:
            not_run.append(str(problem))
    return findings, not_run


def _run(
    target: Target,
    cases: Iterable[Case],
    progress: Progress,
    stopping: threading.Event,
    held_to: Dialect | None,
) -> Findings:
    started = time.perf_counter()
    total = len(cases) if isinstance(cases, Sequence) else None
    task = progress.add_task(target.name, total=total)
    explained: dict[str, Future[tuple[str, ...]]] = {}
    # Explaining one mismatch here goes on while the implementation answers the next case.
    with target.start() as run, ThreadPoolExecutor(1) as explaining:

        def explain(verdict: Verdict) -> None:
            if target.explain is not None and verdict.grade in explained_alone(target):
                explained[verdict.case.id] = explaining.submit(target.explain, verdict)

        def note(verdict: Verdict) -> None:
            if stopping.is_set():
                raise Stopped
            explain(verdict)
            progress.advance(task)

        try:
            profile = profile_of(target, run, held_to)
            report = check(run, cases, target.name, profile, note)
            # With one answer to all cases of an open question, other cases may diverge than with an answer
            # for each.
            for case_id, verdict in report.verdicts.items():
                if case_id not in explained:
                    explain(verdict)
            names = {
                case_id: future.result()
                for case_id, future in explained.items()
                if report.verdicts[case_id].grade in ("diverges", "error")
            }
        finally:
            # Explanations of an interrupted run are not needed.
            explaining.shutdown(cancel_futures=True)
        handshake: Handshake | None = getattr(run, "handshake", None)
    findings = findings_of(target, report, names, handshake)
    return replace(findings, report=replace(findings.report, seconds=time.perf_counter() - started))


def explained_alone(target: Target) -> tuple[str, ...]:
    """Return the grades of the verdicts that a target explains one by one."""
    return ("error",) if target.named_together else ("diverges", "error")


def findings_of(
    target: Target, report: Report, names: Mapping[str, tuple[str, ...]], handshake: Handshake | None
) -> Findings:
    """Return the findings about a target that has been run.

    Parameters
    ----------
    target : Target
        The target.
    report : Report
        All verdicts on it.
    names : mapping of str to tuple of str
        The names that ``explain`` of the target returned, by the id of the case.
    handshake : Handshake or None
        The handshake of the target, if it sent one.
    """
    versions = {} if handshake is None else {"version": handshake.version, **handshake.versions}
    if target.explain is None or target.named_together:
        report = replace(report, profile=claims_of_what_ran(report))
    if handshake is not None and target.introduces_itself:
        itself = {"name": handshake.name, "version": handshake.version, "language": handshake.language}
        versions = {key: text for key, text in {**itself, **versions, **itself}.items() if text}
    if target.named_together:
        failures = {case_id: of for case_id, of in names.items() if of}
        return named_together(report, versions, failures, target.evidence.keys() & DEVIATIONS.keys())
    if target.explain is not None:
        return Findings(report, versions, names, target.contradictions)
    return named_together(report, versions)


def named_together(
    report: Report,
    versions: Mapping[str, str] | None = None,
    failures: Mapping[str, tuple[str, ...]] | None = None,
    known: Collection[str] = (),
) -> Findings:
    """Return the findings about an implementation whose mismatches are named over the whole run.

    A name does not make a mismatch expected.

    Parameters
    ----------
    report : Report
        All verdicts on it, which are explained together.
    versions : mapping of str to str, optional
        The versions of what was run.
    failures : mapping of str to tuple of str, optional
        By the id of a case that failed, the name of the failure.
    known : collection of str, optional
        Deviations that the implementation is known for, by its source.
    """
    found = report.diagnoses_with(known)
    whole = {case_id: one.names[0] for case_id, one in found.items() if one.names and one.up_to is None}
    failed = {name for names in (failures or {}).values() for name in names}
    return Findings(
        report,
        versions or {},
        {**whole, **(failures or {})},
        frozenset(name for names in whole.values() for name in names if is_contradiction(name)) | failed,
        {
            case_id: one
            for case_id, one in found.items()
            if case_id not in whole and (one.names or one.has_other_velocities or one.setting)
        },
        excuses=False,
    )


def profile_of(target: Target, run: Implementation, held_to: Dialect | None = None) -> Profile:
    """Return the profile that an implementation is graded by.

    Parameters
    ----------
    target : Target
        The target that is run.
    run : callable
        The started implementation of the target.
    held_to : Dialect, optional
        The rule; by default the rule that the implementation declares, or else that of the target.

    Raises
    ------
    CannotRun
        If it declares a rule or a deviation that does not exist.
    """
    try:
        profile = Profile(rule=target.rule, by_design=target.by_design)
        declared: Profile = getattr(run, "profile", None) or profile
    except ValueError as problem:
        raise CannotRun(f"{target.name}: the handshake: {problem}") from problem
    if held_to is None:
        return declared
    return replace(declared, rule=held_to.rule, by_design=held_to.by_design)


def claims_of_what_ran(report: Report) -> Profile:
    """Return the profile of an implementation, without the claims for which no case was run."""
    asked, profile = report.coverage.asked, report.profile
    return replace(
        profile,
        dtypes=frozenset(dtype for dtype in profile.dtypes or () if dtype in asked["dtype"]),
        features={
            axis: frozenset(value for value in claimed if value in asked[axis])
            for axis, claimed in (profile.features or {}).items()
        },
    )
