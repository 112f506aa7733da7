"""``check``: run an implementation over cases and grade each one."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance.answers import Answer, combinations, composed
from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.bounds.running_error.judging import fit
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Implementation, Unsupported
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.layouts import with_layouts
from sgd_ref.conformance.catalogue.protection import protected
from sgd_ref.conformance.catalogue.qualities import BESIDE_AXES, qualities
from sgd_ref.conformance.catalogue.suiting import lacking, suited
from sgd_ref.conformance.catalogue.tiers import cases as catalogue
from sgd_ref.conformance.grading.answering import Alternatives, answers_of, basis_of, consistent, names_of
from sgd_ref.conformance.grading.copies import forgotten_copy
from sgd_ref.conformance.grading.tracebacks import own_traceback
from sgd_ref.conformance.grading.velocities import with_velocities
from sgd_ref.conformance.grading.verdict import Profile, Report, Verdict
from sgd_ref.conformance.protocol.failures import ImplementationError
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import Difference, check_form, compare
from sgd_ref.gradients import SparseRows
from sgd_ref.validation import reject_type

HIDDEN, FLUSHED = "hidden wider state", "subnormals-flushed"
"""The allowance for a state that is wider than the reported one, and the deviation that flushes to zero."""

UNDECIDED = (
    "it is faithful only if the state is wider than what is reported, which these cases alone cannot tell: "
    "run all cases, or declare hidden_wider_state"
)


def check(
    run: Implementation,
    cases: Iterable[Case] | None = None,
    name: str = "mine",
    profile: Profile | None = None,
    progress: Callable[[Verdict], None] | None = None,
) -> Report:
    """Run an implementation over cases and grade its answers.

    Parameters
    ----------
    run : callable
        A function from a case to a trajectory. It may raise ``Unsupported``.
    cases : iterable of Case, optional
        The standard tier by default.
    name : str, default "mine"
        Name of the implementation in the report.
    profile : Profile, optional
        What the implementation declares of itself, and the rule that it is held to; by default its attribute
        ``profile``, if it has one.
    progress : callable, optional
        Called with the verdict on each case by itself. In the report, all cases of an open question are
        judged by one answer, and in all cases the state counts as wider than reported, or in none. If the
        cases cannot show which of the two is right, the message of a verdict that depends on it says so.

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
    graded: dict[str, Alternatives] = {}
    profile = profile_of(run, profile)
    for case in chosen(catalogue() if cases is None else cases, profile):
        if case.id in graded:
            raise ValueError(f"cases must have distinct ids, got {case.id!r} twice")
        graded[case.id] = grade_by_answers(run, case, profile)
        if progress is not None:
            progress(graded[case.id].best())
    if not graded:
        raise ValueError("cases must hold at least one case, got none")
    return report_of(graded, name, profile, time.perf_counter() - started)


def report_of(
    graded: Mapping[str, Alternatives], name: str, profile: Profile, seconds: float = 0.0
) -> Report:
    """Return the report on a run whose cases were graded one by one.

    Parameters
    ----------
    graded : mapping of str to Alternatives
        By the id of each case, what `grade_by_answers` returned.
    name : str
        Name of the implementation.
    profile : Profile
        The profile that the cases were graded by.
    seconds : float
        The duration of the run.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> case, profile = conformance.cases("smoke")[0], Profile()
    >>> report_of({case.id: grade_by_answers(reference.run, case, profile)}, "mine", profile).ok
    True
    """
    verdicts = consistent(graded)
    hidden = profile.hidden_wider_state
    if hidden is None:
        changed = free_running(graded, profile)
        if changed and not is_whole(graded):
            changed = {case_id: replace(verdict, message=UNDECIDED) for case_id, verdict in changed.items()}
        elif changed or any(verdict.grade == "diverges" for verdict in verdicts.values()):
            hidden = bool(changed)
        verdicts |= changed
    return Report(name, verdicts, profile, seconds, hidden)


def is_whole(graded: Collection[str]) -> bool:
    """Whether some cases include every standard case that needs only features of these cases.

    Such a run shows whether the state of an implementation is wider than what it reports.

    Parameters
    ----------
    graded : collection of str
        Ids of cases.

    Examples
    --------
    >>> is_whole(["axes/plain"]), is_whole([case.id for case in catalogue()])
    (False, True)
    """
    needed: dict[str, set[str]] = {}
    for case in catalogue():
        if case.id in graded:
            for axis, values in qualities(case).items():
                needed.setdefault(axis, set()).update(values)
    return all(case.id in graded for case in catalogue() if not lacking(case, needed))


def profile_of(run: Implementation, given: Profile | None = None) -> Profile:
    """Return the given profile, or else the attribute ``profile`` of an implementation.

    >>> def run(case): ...
    >>> run.profile = Profile(flush_to_zero=True)
    >>> profile_of(run).flush_to_zero
    True
    """
    found = getattr(run, "profile", None) if given is None else given
    if found is not None and not isinstance(found, Profile):
        reject_type("profile", found, "a conformance.Profile")
    return found or Profile()


def chosen(cases: Iterable[Case], profile: Profile) -> Iterator[Case]:
    """Yield the cases in the form that is sent: without variables of shapes that are not offered.

    Their gradients are read-only, since some known mistakes would overwrite them during the diagnosis.
    """
    offered = profile.offered()
    for case in cases:
        yield protected(suited(case, offered) or case)


def free_running(graded: Mapping[str, Alternatives], profile: Profile) -> dict[str, Verdict]:
    """Return the verdicts that change if the state is wider than the reported one.

    There are none unless a wider state explains every uncontested case that diverges step by step: a state is
    wider in all cases or in none.
    """
    step_by_step = consistent(graded)
    diverging = [case_id for case_id, verdict in step_by_step.items() if verdict.grade == "diverges"]
    if not diverging:
        return {}

    def in_that_reading(verdict: Verdict) -> Verdict:
        return _judged(verdict, profile, is_state_hidden=True)

    hidden: dict[str, Alternatives] = {}
    for case_id in diverging:
        if not graded[case_id].is_contested:
            hidden[case_id] = graded[case_id].judged_by(in_that_reading)
            if hidden[case_id].best().grade == "diverges":
                return {}
    for case_id, alternatives in graded.items():
        if alternatives.is_contested:
            hidden[case_id] = alternatives.judged_by(in_that_reading)
    chosen = consistent(hidden)
    return {case_id: verdict for case_id, verdict in chosen.items() if verdict != step_by_step[case_id]}


def grade(run: Implementation, case: Case, profile: Profile | None = None) -> Verdict:
    """Run one case and grade its result; a contested case is graded under the answer that suits it best."""
    profile = profile_of(run, profile)
    (asked,) = chosen([case], profile)
    return grade_by_answers(run, asked, profile).best()


def grade_by_answers(run: Implementation, case: Case, profile: Profile) -> Alternatives:
    """Run one case, and prepare to grade the result under each choice of answers to its questions."""
    step_by_step = judge_for(profile)
    missing = lacking(case, profile.offered())
    if missing:
        # Variables of shapes that are not offered would have been left out.
        decisive = [word for word in missing if word not in BESIDE_AXES["shapes"]] or missing
        reason = f"its profile does not offer {', '.join(decisive)}"
        return Alternatives([Verdict(case, "unsupported", contested(case), message=reason)], step_by_step)
    compared = _compared_by_answers(with_velocities(run, profile.velocities), case, profile)
    parting = [_parting(case, verdict) for verdict in compared] if len(compared) > 1 else [0]
    return Alternatives(compared, step_by_step, parting)


def judge_for(profile: Profile) -> Callable[[Verdict], Verdict]:
    """Return the judge of verdicts on other bits, which reads the state as a profile declares it."""

    def judged(verdict: Verdict) -> Verdict:
        return _judged(verdict, profile, bool(profile.hidden_wider_state))

    return judged


def _parting(case: Case, verdict: Verdict) -> int:
    """Return the first call in which the answers of a verdict may differ from those of the reference."""
    answers = answers_of(verdict)
    if answers.walk.has_bounds_of_its_own:
        return 0
    answering = verdict.dialect.basis(answers.optimizer, answers.wrapper)
    difference = compare(case, verdict.dialect.basis().run(case), answering.run(case)).first
    return len(case.gradients) + 1 if difference is None else difference.call


def _compared_by_answers(run: Implementation, case: Case, profile: Profile) -> list[Verdict]:
    """Run one case and compare the resulting bits; a verdict on other bits is marked "diverges"."""
    given = private_copy(case)
    questions = contested(case)
    try:
        trajectory = run(given)
    except Unsupported as reason:
        return [Verdict(case, "unsupported", questions, message=str(reason))]
    # Whatever an implementation raises is its answer to this case; the run goes on.
    except (Exception, SystemExit) as error:
        return [Verdict(case, "error", questions, message=_described(error), traceback=own_traceback(error))]
    if not _same_gradients(case, given):
        return [Verdict(case, "error", questions, message="it changed the gradients that it was given")]
    try:
        return [_compared(case, trajectory, answers, profile) for answers in combinations(questions)]
    # The returned value may be anything, even an object that raises when its attributes are read.
    except Exception as error:
        message = f"it returned no trajectory: {_described(error)}"
        return [Verdict(case, "error", questions, message=message)]


def _compared(case: Case, trajectory: Any, answers: Sequence[Answer], profile: Profile) -> Verdict:
    """Compare the result with the rule that gives some answers."""
    answering = composed(answers)
    expected = profile.dialect.basis(answering.optimizer, answering.wrapper).run(case)
    check_form(case, expected, trajectory)
    comparison = compare(case, expected, trajectory)
    return Verdict(
        case,
        "exact" if comparison.equal else "diverges",
        contested(case),
        names_of(answers),
        difference=comparison.first,
        differing=comparison.differing,
        compared=comparison.compared,
        units=comparison.units,
        trajectory=trajectory,
        dialect=profile.dialect,
    )


def _judged(verdict: Verdict, profile: Profile, is_state_hidden: bool) -> Verdict:
    """Return the verdict on other bits, as "rounding" or as "diverges"."""
    if verdict.case.made is not None:
        # Nothing is rounded in this case, so that only the bits of the reference are possible.
        return replace(verdict, grade="diverges", violation=_other_bits(verdict.difference))
    violation_of = _violation_of_dialect if verdict.dialect.differs_in(verdict.case) else _violation
    violation = violation_of(verdict, is_state_hidden, False)
    allowances = [HIDDEN] if is_state_hidden else []
    if profile.flush_to_zero and violation is not None:
        violation = violation_of(verdict, is_state_hidden, True)
        allowances.append("flush to zero")
    if violation is None:
        return replace(verdict, grade="rounding", violation=None, message="", allowances=tuple(allowances))
    assert verdict.trajectory is not None
    copied = forgotten_copy(verdict.case, basis_of(verdict).run(verdict.case), verdict.trajectory)
    return replace(verdict, grade="diverges", violation=violation, message=copied, allowances=())


def _violation(verdict: Verdict, is_state_hidden: bool, flushes: bool) -> Violation | None:
    """Return the first value that is not possible by the rule of Keras."""
    optimizer, wrapper, walk = answers_of(verdict)
    expected, observed = reference.run(verdict.case, optimizer, wrapper), verdict.trajectory
    assert observed is not None
    return judge(verdict.case, expected, observed, is_state_hidden, flushes, walk).violation


def _violation_of_dialect(verdict: Verdict, is_state_hidden: bool, flushes: bool) -> Violation | None:
    """Return the first value that is not possible by the rule of the dialect."""
    case, observed = verdict.case, verdict.trajectory
    assert observed is not None
    more = (FLUSHED,) if flushes else ()
    return fit(case, more, observed, is_state_hidden, basis_of(verdict)).violation


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
    """Return a copy of a case with arrays of its own, in the layouts that the case states.

    The arrays are writable, except for broadcast gradients.
    """
    return with_layouts(copy.deepcopy(case))


def _described(error: BaseException) -> str:
    try:
        # A program in another process has itself given the kind of error.
        return str(error) if isinstance(error, ImplementationError) else f"{type(error).__name__}: {error}"
    # The ``__str__`` of the error may itself raise.
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
