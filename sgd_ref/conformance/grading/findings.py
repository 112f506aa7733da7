"""The findings of a run: the verdicts on one implementation, each mismatch with its known names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sgd_ref.conformance.diagnosis.matching import Diagnosis
from sgd_ref.conformance.grading.verdict import GRADED, Report, Verdict


@dataclass(frozen=True)
class Findings:
    """A report together with what is known about its mismatches.

    Attributes
    ----------
    report : Report
        The verdicts.
    versions : dict of str to str
        The versions of what was run, such as ``{"keras": "3.15.1"}``.
    names : dict of str to tuple of str
        For the id of a case that diverges or fails, the known deviations that give the very same result;
        missing or empty if none does.
    contradictions : frozenset of str
        The names that differ in meaning from the documentation; the others are rounding.
    partly : dict of str to Diagnosis
        For the id of a case without a name: the known deviations that explain a part of it.
    excuses : bool
        Whether a mismatch with a known name is expected, as for the frameworks that the kit knows.
    listed : frozenset of str
        Ids of the cases whose mismatch a ledger lists, which is then expected.
    """

    report: Report
    versions: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contradictions: frozenset[str] = frozenset()
    partly: Mapping[str, Diagnosis] = field(default_factory=dict)
    excuses: bool = True
    listed: frozenset[str] = frozenset()

    def mismatches(self) -> Iterator[Verdict]:
        """Yield the verdicts that diverge or fail."""
        for verdict in self.report.verdicts.values():
            if verdict.grade in ("diverges", "error"):
                yield verdict

    def unexplained(self) -> list[Verdict]:
        """Return the mismatches that count and for which no known deviation gives the same result."""
        return [v for v in self.mismatches() if not v.passes and not self.names.get(v.case.id)]

    def unexpected(self) -> list[Verdict]:
        """Return the mismatches that count, and that neither a name nor a ledger makes expected."""
        counting = self.unexplained() if self.excuses else [v for v in self.mismatches() if not v.passes]
        return [verdict for verdict in counting if verdict.case.id not in self.listed]

    def cases_of(self, name: str) -> list[str]:
        """Return the ids of the cases in which a known deviation was found."""
        return [case_id for case_id, names in self.names.items() if name in names]

    @property
    def found(self) -> list[str]:
        """All names that were found: first contradictions, then roundings, each sorted by frequency."""
        names = {name for names in self.names.values() for name in names}
        return sorted(
            names, key=lambda name: (name not in self.contradictions, -len(self.cases_of(name)), name)
        )

    @property
    def as_expected(self) -> bool:
        """Whether something was graded, every claim was graded, and each mismatch that counts is expected."""
        graded = sum(self.report.count(grade) for grade in GRADED)
        return graded > 0 and not self.report.unproven_claims() and not self.unexpected()
