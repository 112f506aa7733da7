"""``check``: run an implementation over cases and grade each one."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.bounds.walk import Violation
from sgd_ref.conformance.catalogue.case import Case, Implementation, Trajectory, Unsupported
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.layouts import with_layouts
from sgd_ref.conformance.catalogue.tiers import cases as catalogue
from sgd_ref.conformance.grading.verdict import Profile, Report, Verdict
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import Difference, check_form, compare
from sgd_ref.gradients import SparseRows


def check(
    run: Implementation,
    cases: Iterable[Case] | None = None,
    name: str = "mine",
    profile: Profile | None = None,
    progress: Callable[[Verdict], None] | None = None,
) -> Report:
    """Run an implementation over cases and grade what it answers.

    Parameters
    ----------
    run : callable
        One function from a case to a trajectory. It may raise ``Unsupported``.
    cases : iterable of Case, optional
        The standard tier by default.
    name : str, default "mine"
        Name of the implementation in the report.
    profile : Profile, optional
        What the implementation claims to support.
    progress : callable, optional
        Called with each verdict.

    Returns
    -------
    Report

    Raises
    ------
    TypeError
        If `run` is not callable.
    ValueError
        If there are no cases, or two have the same id.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> report = conformance.check(reference.run, conformance.cases("smoke"), name="the reference")
    >>> report.ok
    True
    """
    if not callable(run):
        raise TypeError(f"run must be a function from a case to a trajectory, got {run!r}")
    started = time.perf_counter()
    verdicts: dict[str, Verdict] = {}
    profile = profile or Profile()
    for verdict in grade_all(run, catalogue() if cases is None else cases, profile):
        if verdict.case.id in verdicts:
            raise ValueError(f"cases must have distinct ids, got {verdict.case.id!r} twice")
        verdicts[verdict.case.id] = verdict
        if progress is not None:
            progress(verdict)
    if not verdicts:
        raise ValueError("cases must hold at least one case, got none")
    if profile.hidden_wider_state is None:
        verdicts |= free_running(verdicts, profile)
    return Report(name, verdicts, profile, time.perf_counter() - started)


def grade_all(run: Implementation, cases: Iterable[Case], profile: Profile) -> Iterator[Verdict]:
    """Yield the verdict on each case."""
    for case in cases:
        yield grade(run, case, profile)


def free_running(verdicts: Mapping[str, Verdict], profile: Profile) -> dict[str, Verdict]:
    """Return the verdicts that change if the state is wider than what is reported.

    None unless all uncontested ones that diverge step by step are faithful in that reading: the state of an
    implementation does not get wider from case to case.
    """
    changed = {}
    for case_id, verdict in verdicts.items():
        if verdict.grade != "diverges" or verdict.trajectory is None:
            continue
        expected = reference.run(verdict.case)
        judged = _judged(verdict, expected, verdict.trajectory, profile, is_state_hidden=True)
        if judged.grade == "rounding":
            changed[case_id] = judged
        elif not verdict.contested:
            return {}
    return changed


def grade(
    run: Implementation, case: Case, profile: Profile | None = None, expected: Trajectory | None = None
) -> Verdict:
    """Run one case and grade the answer; `expected` is the trajectory of the reference, if it is known."""
    profile = profile or Profile()
    expected = reference.run(case) if expected is None else expected
    given = private_copy(case)
    questions = contested(case)
    try:
        trajectory = run(given)
    except Unsupported as reason:
        return Verdict(case, "unsupported", questions, str(reason))
    # Whatever an implementation raises is its answer to this case; the run goes on.
    except (Exception, SystemExit) as error:
        return Verdict(case, "error", questions, _described(error))
    if not _same_gradients(case, given):
        return Verdict(case, "error", questions, "it changed the gradients that it was given")
    try:
        check_form(case, expected, trajectory)
        comparison = compare(case, expected, trajectory)
    # What it returned may be anything, even objects that raise when they are looked at.
    except Exception as error:
        return Verdict(case, "error", questions, f"it returned no trajectory: {_described(error)}")
    verdict = Verdict(
        case,
        "exact",
        questions,
        difference=comparison.first,
        differing=comparison.differing,
        compared=comparison.compared,
        units=comparison.units,
        trajectory=trajectory,
    )
    if comparison.equal:
        return verdict
    return _judged(verdict, expected, trajectory, profile, bool(profile.hidden_wider_state))


def _judged(
    verdict: Verdict, expected: Trajectory, observed: Trajectory, profile: Profile, is_state_hidden: bool
) -> Verdict:
    """Return the verdict as "rounding" or as "diverges"."""
    if verdict.case.made is not None:
        # Nothing is rounded in it, so that only the bits of the reference are possible.
        return replace(verdict, grade="diverges", violation=_other_bits(verdict.difference))
    found = judge(verdict.case, expected, observed, is_state_hidden)
    allowances = ["hidden wider state"] if is_state_hidden else []
    if profile.flush_to_zero and not found.is_faithful:
        found = judge(verdict.case, expected, observed, is_state_hidden, flushes=True)
        allowances.append("flush to zero")
    return replace(
        verdict,
        grade="rounding" if found.is_faithful else "diverges",
        violation=found.violation,
        allowances=tuple(allowances) if found.is_faithful else (),
    )


def _other_bits(difference: Difference | None) -> Violation | None:
    if difference is None:
        return None
    expected, observed = difference.values
    return Violation(
        difference.call,
        difference.quantity,
        difference.variable,
        difference.element,
        observed,
        expected,
        expected,
    )


def private_copy(case: Case) -> Case:
    """Return a copy of a case whose arrays belong to nobody else, with the layouts that it states.

    They are writable, but for gradients that are broadcast.
    """
    return with_layouts(copy.deepcopy(case))


def _described(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    # Its own description of itself may be what is broken.
    except Exception:
        return f"{type(error).__name__}, which cannot say why"


def _same_gradients(case: Case, given: Case) -> bool:
    return all(
        _bytes(old) == _bytes(new)
        for before, after in zip(case.gradients, given.gradients, strict=True)
        for old, new in zip(before, after, strict=True)
    )


def _bytes(gradient: Array | SparseRows | None) -> bytes:
    if gradient is None:
        return b""
    if isinstance(gradient, SparseRows):
        return gradient.indices.tobytes() + gradient.values.tobytes()
    return gradient.tobytes()
