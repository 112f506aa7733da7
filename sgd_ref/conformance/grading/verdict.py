"""The results of grading: the verdict on a case, and the report on an implementation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.catalogue.case import Case, Trajectory
from sgd_ref.conformance.catalogue.named.optimizations import PREFIX
from sgd_ref.conformance.catalogue.qualities import qualities
from sgd_ref.conformance.catalogue.suiting import Offered, lacking
from sgd_ref.conformance.catalogue.within import offered_by, values_of
from sgd_ref.conformance.diagnosis.matching import Diagnosis, diagnose
from sgd_ref.conformance.diagnosis.optimizations import optimizations
from sgd_ref.conformance.diagnosis.whole_run import diagnoses
from sgd_ref.conformance.dialects import KERAS, Dialect
from sgd_ref.conformance.grading.coverage import Coverage, coverage, discriminates
from sgd_ref.conformance.grading.velocities import DOCUMENTED, Velocities
from sgd_ref.conformance.trajectories.comparison import Difference

GRADES = ("exact", "rounding", "diverges", "unsupported", "error")


GRADED = ("exact", "rounding", "diverges")


@dataclass(frozen=True)
class Verdict:
    """The grade of one case.

    Attributes
    ----------
    case : Case
        The case that was run.
    grade : str
        "exact": the bits of the rule that the implementation is held to, by default those of the reference.
        "rounding": other bits, which some faithful evaluation of the documented rule gives. "diverges": bits
        that no faithful evaluation gives. If the case depends on open questions, the rule includes an answer
        to each of them. "unsupported": the implementation does not offer a feature. "error": the
        implementation raised, or returned something that is no trajectory of the case.
    questions : tuple of str
        The open questions that the case depends on.
    answers : dict of str to str
        For each of these questions, the answer by which the case was judged; empty for "unsupported" and
        "error".
    message : str
        The reason of "unsupported" and "error"; for "diverges", a note if a copy was forgotten.
    traceback : str
        For "error", the traceback of the implementation without the frames of the kit; empty if it did not
        raise, or raised in another process.
    difference : Difference or None
        For "rounding" and "diverges", the first element that differs from the reference.
    violation : Violation or None
        For "diverges", the first value that no faithful evaluation gives, and the interval of the possible
        values.
    allowances : tuple of str
        What the implementation was granted beyond an evaluation step by step: "hidden wider state" or
        "flush to zero".
    differing, compared : int
        Numbers of elements that differ and that were compared.
    units : float
        The largest distance in units in the last place.
    trajectory : sequence of dict or None
        The records that the implementation returned.
    dialect : Dialect
        The rule that the implementation was held to.
    """

    case: Case
    grade: str
    questions: tuple[str, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict, hash=False)
    message: str = ""
    traceback: str = ""
    difference: Difference | None = None
    violation: Violation | None = None
    allowances: tuple[str, ...] = ()
    differing: int = 0
    compared: int = 0
    units: float = 0.0
    trajectory: Trajectory | None = field(default=None, repr=False, compare=False)
    dialect: Dialect = KERAS

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """For "diverges", the deviations that explain it, and where it leaves the reference; otherwise None.

        Deviations that the implementation declares by its rule are not named again. The diagnosis is computed
        when it is first read, which takes a second or two. `Report.diagnoses` also takes the other cases of a
        run into account.
        """
        if self.grade != "diverges" or self.trajectory is None:
            return None
        return diagnose(self.case, self.trajectory, basis=self.dialect.basis())

    @property
    def contested(self) -> bool:
        """Whether the case depends on a question that the documentation leaves open."""
        return bool(self.questions)

    @property
    def shows_optimization(self) -> bool:
        """Whether the case only shows an optimisation, and never counts against an implementation."""
        return self.case.id.startswith(PREFIX)

    @property
    def passes(self) -> bool:
        """Whether the verdict does not count against the implementation.

        It passes if it is "exact" or "rounding" by the rule that the implementation declares, with the one
        answer that the implementation gives to each open question. It also passes if it is "unsupported", or
        if the case only shows an optimisation. `Report.ok` requires that all verdicts pass.
        """
        if self.shows_optimization and self.grade == "diverges":
            return True
        return self.grade in ("exact", "rounding", "unsupported")


@dataclass(frozen=True)
class Profile:
    """What an implementation declares of itself; an attribute that is None claims and requires nothing.

    Attributes
    ----------
    dtypes : frozenset of str or None
        Names of dtypes, each of which must be graded at least once, with numbers that no narrower dtype
        holds.
    features : dict of str to frozenset of str, or None
        The values of each feature axis, each of which must be graded at least once in a case where it
        matters: the feature changes the variables, with a setting that no narrower dtype holds. If no case of
        the run is of this kind, any case with the value counts.
    hidden_wider_state : bool or None
        Whether its state is wider than what it reports. True: its trajectories are judged free-running from
        the start. False: they are judged step by step, which is much tighter. None means unknown: they are
        judged step by step, unless every divergence is faithful when it is judged free-running.
    flush_to_zero : bool
        Whether it replaces subnormal numbers by zeros. Verdicts that depend on this are marked.
    offers : tuple of str or None
        Words for the offered features, as for ``sgd-ref conform --offers``. Every case that needs another
        feature is "unsupported" without being run; variables of shapes that are not offered are left out of a
        case. Each value that a word names must be graded at least once, if a case has it.
    velocities : Velocities
        The form in which it keeps velocities: it gets the velocities of a state in this form, and reports its
        own in this form.
    rule : {"keras", "pytorch", "sutskever", "optax"}
        The documented rule that it is held to; ``conformance/dialects/rules.py`` lists the parts of each
        rule.
    by_design : collection of str
        Names of known deviations that it has on purpose: they become parts of the rule.

    Raises
    ------
    TypeError, ValueError
        If there is no such word, rule or deviation.

    Examples
    --------
    >>> from sgd_ref import conformance
    >>> from sgd_ref.conformance.trajectories import reference
    >>> profile = Profile(offers=("float32", "momentum", "filled"))
    >>> report = conformance.check(reference.run, conformance.cases("smoke"), profile=profile)
    >>> report.ok, report.verdicts["axes/momentum/filled"].grade
    (True, 'exact')
    >>> report.verdicts["axes/nesterov"].message
    'its profile does not offer nesterov'
    >>> Profile(rule="pytorch").dialect.names[-1]
    'rate-outside-velocity'
    >>> Profile(rule="caffe")
    Traceback (most recent call last):
    ValueError: rule must be one of keras, pytorch, sutskever, optax, got 'caffe'
    """

    dtypes: frozenset[str] | None = None
    features: dict[str, frozenset[str]] | None = None
    hidden_wider_state: bool | None = None
    flush_to_zero: bool = False
    offers: tuple[str, ...] | None = None
    velocities: Velocities = DOCUMENTED
    rule: str = "keras"
    by_design: Collection[str] = frozenset()

    def __post_init__(self) -> None:
        """Check the words, the rule and the deviations."""
        self.offered()
        _ = self.dialect

    def offered(self) -> Offered:
        """Return the values that a case may need, by axis: without words for the offer, all values."""
        return {} if self.offers is None else offered_by(self.offers)

    @property
    def dialect(self) -> Dialect:
        """The rule that the implementation is held to."""
        return Dialect.of(self.rule, self.by_design)

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
        What the implementation declares.
    seconds : float
        Duration of the run.
    hidden_wider_state : bool or None
        How its state was read, as in `Profile`; None if the run does not show it.
    """

    name: str
    verdicts: dict[str, Verdict]
    profile: Profile = Profile()
    seconds: float = 0.0
    hidden_wider_state: bool | None = None

    @property
    def ok(self) -> bool:
        """Whether every verdict passes, something was graded, and every claim was graded at least once."""
        return (
            all(verdict.passes for verdict in self.verdicts.values())
            and not self.unproven_claims()
            and any(verdict.grade in ("exact", "rounding") for verdict in self.verdicts.values())
        )

    @property
    def settled(self) -> Profile:
        """The profile, with the width of the state that this run has shown; it grades single cases alike."""
        return replace(self.profile, hidden_wider_state=self.hidden_wider_state)

    def count(self, grade: str) -> int:
        """Return the number of cases of a grade."""
        return sum(verdict.grade == grade for verdict in self.verdicts.values())

    def unproven_claims(self) -> list[tuple[str, str]]:
        """Return the claims that no graded case shows, as pairs of axis and value.

        If the claim matters in some case of the run, only such cases can show it.
        """
        return list(self._unproven)

    @cached_property
    def _unproven(self) -> list[tuple[str, str]]:
        named = [claim for claim in values_of(self.profile.offers or ()) if self._having(*claim)]
        claims = dict.fromkeys([*self.profile.claims(), *named])
        return [claim for claim in claims if not self._is_proven(*claim)]

    def _having(self, axis: str, value: str) -> list[Verdict]:
        return [verdict for verdict, has in self._qualities if value in has.get(axis, ())]

    @cached_property
    def _qualities(self) -> list[tuple[Verdict, Mapping[str, Collection[str]]]]:
        return [(verdict, qualities(verdict.case)) for verdict in self._asked]

    @cached_property
    def _asked(self) -> list[Verdict]:
        """The verdicts on cases that the profile does not decline."""
        offered = self.profile.offered()
        return [v for v in self.verdicts.values() if not lacking(v.case, offered)]

    def _is_proven(self, axis: str, value: str) -> bool:
        having = self._having(axis, value)
        graded = [v.case for v in having if v.grade in GRADED]
        if any(discriminates(case, axis, value) for case in graded):
            return True
        others = [v.case for v in having if v.grade not in GRADED]
        return bool(graded) and not any(discriminates(case, axis, value) for case in others)

    @cached_property
    def coverage(self) -> Coverage:
        """The coverage of the run: which dtypes and features were graded, and which never were.

        Examples
        --------
        >>> from sgd_ref import conformance
        >>> from sgd_ref.conformance.trajectories import reference
        >>> def run(case):
        ...     if case.config["momentum"]:
        ...         raise conformance.Unsupported("momentum")
        ...     return reference.run(case)
        >>> conformance.check(run, conformance.cases("smoke")).coverage.never_graded["update"]
        ('momentum', 'nesterov')
        """
        verdicts = self.verdicts.values()
        return coverage((v.case for v in verdicts), (v.case for v in verdicts if v.grade in GRADED))

    @cached_property
    def diagnoses(self) -> dict[str, Diagnosis]:
        """For each case that diverges, the known deviations that explain it, as few as possible for the run.

        They are computed when they are first read, which takes about a second for each case.

        Examples
        --------
        >>> from sgd_ref import conformance
        >>> from sgd_ref.conformance.deviations import DEVIATIONS
        >>> from sgd_ref.conformance.trajectories import reference
        >>> def run(case):
        ...     return reference.run(case, DEVIATIONS["ascends"].optimizer)
        >>> report = conformance.check(run, conformance.cases("smoke")[:2])
        >>> [str(diagnosis) for diagnosis in report.diagnoses.values()]
        ['it equals ascends', 'it equals ascends']
        """
        return self.diagnoses_with(())

    def diagnoses_with(self, known: Collection[str]) -> dict[str, Diagnosis]:
        """Return `diagnoses` for an implementation that is known to have some deviations.

        Parameters
        ----------
        known : collection of str
            Names that are accepted even if other cases of the run do not show them.
        """
        answered = {
            v.case.id: (v.case, v.trajectory) for v in self.verdicts.values() if v.trajectory is not None
        }
        diverging = {i: one for i, one in answered.items() if self.verdicts[i].grade == "diverges"}
        right = {i: one for i, one in answered.items() if self.verdicts[i].grade in ("exact", "rounding")}
        basis = self.profile.dialect.basis()
        return diagnoses(diverging, right, bool(self.hidden_wider_state), basis, known)

    @property
    def answers(self) -> dict[str, str]:
        """The answers that the implementation gives to open questions, by the name of the question."""
        return {
            question: answer
            for verdict in self.verdicts.values()
            if verdict.grade in ("exact", "rounding")
            for question, answer in verdict.answers.items()
        }

    @property
    def optimizations(self) -> dict[str, str]:
        """Return for each optimisation that could be seen: "not done", "done", or another evaluation."""
        return optimizations(
            {
                case_id: (verdict.case, verdict.trajectory, verdict.dialect.basis())
                for case_id, verdict in self.verdicts.items()
                if verdict.shows_optimization and verdict.trajectory is not None
            }
        )

    @property
    def contested_share(self) -> float:
        """The share of cases that depend on an open question, from 0 to 1."""
        return sum(v.contested for v in self.verdicts.values()) / max(len(self.verdicts), 1)

    def __str__(self) -> str:
        graded = sum(self.count(grade) for grade in GRADED)
        counts = ", ".join(f"{self.count(grade)} {grade}" for grade in GRADES)
        never = self.coverage.in_words
        warning = f"; NEVER GRADED: {never}" if never else ""
        of_all = f"{graded} of {len(self.verdicts)} cases graded, held to {self.profile.dialect}"
        return f"{self.name}: {of_all}; {counts}{warning}"
