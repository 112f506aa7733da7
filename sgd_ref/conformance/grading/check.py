"""``check``: run an implementation over cases and grade each one."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from sgd_ref.arithmetic.rounded import Array
from sgd_ref.conformance.bounds.judging import judge
from sgd_ref.conformance.bounds.walk import Violation
from sgd_ref.conformance.cases.case import Case, Implementation, Trajectory, Unsupported
from sgd_ref.conformance.cases.catalogue import cases as catalogue
from sgd_ref.conformance.cases.contested import contested
from sgd_ref.conformance.cases.named.optimizations import PREFIX
from sgd_ref.conformance.diagnosis.matching import Diagnosis, diagnose
from sgd_ref.conformance.diagnosis.optimizations import optimizations
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import Difference, check_form, compare
from sgd_ref.gradients import SparseRows

GRADES = ("exact", "rounding", "diverges", "unsupported", "error")

GRADED = ("exact", "rounding", "diverges")


@dataclass(frozen=True)
class Verdict:
    """The grade of one case.

    Attributes
    ----------
    case : Case
        What was run.
    grade : str
        "exact": the bits of the reference. "rounding": other bits, which some faithful evaluation of the
        documented rule gives. "diverges": bits that none gives. "unsupported": the implementation does
        not offer a feature. "error": it raised, or what it returned is no trajectory of the case.
    questions : tuple of str
        The open questions that the case depends on.
    message : str
        The reason of "unsupported" and "error".
    difference : Difference or None
        For "rounding" and "diverges", the first element that differs from the reference.
    violation : Violation or None
        For "diverges", the first value that no faithful evaluation gives, and between what it would lie.
    allowances : tuple of str
        What the implementation was granted beyond an evaluation step by step: "hidden wider state" or
        "flush to zero".
    differing, compared : int
        Numbers of elements that differ and that were compared.
    units : float
        The largest distance in units in the last place.
    trajectory : sequence of dict or None
        What the implementation returned.
    """

    case: Case
    grade: str
    questions: tuple[str, ...] = ()
    message: str = ""
    difference: Difference | None = None
    violation: Violation | None = None
    allowances: tuple[str, ...] = ()
    differing: int = 0
    compared: int = 0
    units: float = 0.0
    trajectory: Trajectory | None = field(default=None, repr=False, compare=False)

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """For "diverges": the known deviations that it equals, and where it parts; else None.

        Found when it is first asked for, which takes a second or two.
        """
        if self.grade != "diverges" or self.trajectory is None:
            return None
        return diagnose(self.case, self.trajectory)

    @property
    def contested(self) -> bool:
        """Whether the case depends on a question that the documentation leaves open."""
        return bool(self.questions)

    @property
    def shows_optimization(self) -> bool:
        """Whether the case is one that names an optimisation, and fails nobody."""
        return self.case.id.startswith(PREFIX)

    @property
    def as_defined(self) -> bool:
        """Whether the grade does not count against the implementation."""
        if self.shows_optimization and self.grade == "diverges":
            return True
        return self.contested or self.grade in ("exact", "rounding", "unsupported")


@dataclass(frozen=True)
class Profile:
    """What an implementation declares of itself; None claims nothing, so that nothing is demanded.

    Attributes
    ----------
    dtypes : frozenset of str or None
        Names of dtypes, each of which must be graded at least once.
    features : dict of str to frozenset of str, or None
        For feature axes the values, each of which must be graded at least once.
    hidden_wider_state : bool or None
        Whether its state is wider than what it reports, so that its trajectories are read free-running
        from the start. False: they are read step by step, which is much tighter. None, for those who do
        not know: step by step, unless all that diverges in that reading is faithful in the other.
    flush_to_zero : bool
        Whether it computes with subnormal numbers as zeros. Cases for which that was needed are marked.
    """

    dtypes: frozenset[str] | None = None
    features: dict[str, frozenset[str]] | None = None
    hidden_wider_state: bool | None = None
    flush_to_zero: bool = False

    def claims(self) -> list[tuple[str, str]]:
        """Return all claims as pairs of axis and value."""
        dtypes = [("dtype", dtype) for dtype in sorted(self.dtypes or ())]
        features = [
            (axis, value) for axis, values in (self.features or {}).items() for value in sorted(values)
        ]
        return dtypes + features


@dataclass(frozen=True)
class Report:
    """The verdicts on one implementation.

    Attributes
    ----------
    name : str
        Name of the implementation.
    verdicts : dict of str to Verdict
        By the id of the case, in the order of the run.
    profile : Profile
        What the implementation claims.
    seconds : float
        Duration of the run.
    """

    name: str
    verdicts: dict[str, Verdict]
    profile: Profile = Profile()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing uncontested diverges or fails and every claim was graded at least once."""
        return (
            all(verdict.as_defined for verdict in self.verdicts.values())
            and not self.unproven_claims()
            and any(verdict.grade in ("exact", "rounding") for verdict in self.verdicts.values())
        )

    def count(self, grade: str) -> int:
        """Return the number of cases of a grade."""
        return sum(verdict.grade == grade for verdict in self.verdicts.values())

    def unproven_claims(self) -> list[tuple[str, str]]:
        """Return the claims that no graded case shows, as pairs of axis and value."""
        graded = [v.case for v in self.verdicts.values() if v.grade in GRADED]
        shown = {item for case in graded for item in (case.features or {}).items()}
        shown |= {("dtype", variable.dtype.name) for case in graded for variable in case.variables}
        return [claim for claim in self.profile.claims() if claim not in shown]

    @property
    def optimizations(self) -> dict[str, str]:
        """Return for each optimisation that could be seen: "not done", "done", or another evaluation."""
        return optimizations(
            {
                case_id: (verdict.case, verdict.trajectory)
                for case_id, verdict in self.verdicts.items()
                if verdict.shows_optimization and verdict.trajectory is not None
            }
        )

    @property
    def contested_share(self) -> float:
        """The share of cases that depend on a question left open, from 0 to 1."""
        return sum(v.contested for v in self.verdicts.values()) / max(len(self.verdicts), 1)

    def __str__(self) -> str:
        graded = sum(self.count(grade) for grade in GRADED)
        counts = ", ".join(f"{self.count(grade)} {grade}" for grade in GRADES)
        return f"{self.name}: {graded} of {len(self.verdicts)} cases graded; {counts}"


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


def grade(run: Implementation, case: Case, profile: Profile | None = None) -> Verdict:
    """Run one case and grade the answer."""
    profile = profile or Profile()
    expected = reference.run(case)
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


def private_copy(case: Case) -> Case:
    """Return a copy of a case whose arrays are writable and belong to nobody else."""
    return copy.deepcopy(case)


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
