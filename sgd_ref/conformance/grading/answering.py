"""Open questions: the verdict on a case under each answer, and the one answer of an implementation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product

from sgd_ref.conformance.answers import ANSWERS, Answer, Composed, composed
from sgd_ref.conformance.bounds.violation import Violation
from sgd_ref.conformance.deviations import Basis
from sgd_ref.conformance.grading.verdict import Verdict

RIGHT = ("exact", "rounding")


class Alternatives:
    """The verdicts on one case, one for each choice of answers to its open questions, found when needed.

    Parameters
    ----------
    compared : sequence of Verdict
        One for each choice of answers; the choice of the reference comes first. Verdicts on other bits are
        not judged yet, and are marked "diverges". There is only one verdict if no question is open, or if the
        answer of the implementation cannot be graded.
    judge : callable
        A function from such a verdict to the verdict of the judge.
    parting : sequence of int
        For each verdict, the first call in which its answers may differ from those of the reference.
    judged : collection of int
        Positions of the verdicts marked "diverges" that are judged already.
    """

    def __init__(
        self,
        compared: Sequence[Verdict],
        judge: Callable[[Verdict], Verdict],
        parting: Sequence[int] = (0,),
        judged: Collection[int] = (),
    ) -> None:
        self.parting = tuple(parting)
        self._verdicts = list(compared)
        self._is_judged = [
            verdict.grade != "diverges" or index in judged for index, verdict in enumerate(compared)
        ]
        self._judge = judge
        # A wrong answer takes long to reject. An answer with the same bits, or one that differs late, is most
        # likely right.
        self._order = sorted(range(len(compared)), key=lambda index: _lateness(compared[index]))

    @property
    def is_contested(self) -> bool:
        """Whether there is more than one verdict."""
        return len(self._verdicts) > 1

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts as far as they are found."""
        return tuple(self._verdicts)

    @property
    def judged(self) -> tuple[int, ...]:
        """The positions of the verdicts that need no judging any more."""
        return tuple(index for index, is_judged in enumerate(self._is_judged) if is_judged)

    def best(self) -> Verdict:
        """Return the verdict on a single case: a passing one, or else the one that diverges latest."""
        found = []
        for index in self._order:
            verdict = self._judged(index)
            if verdict.grade in RIGHT:
                return verdict
            found.append(verdict)
        return max(found, key=_calls)

    def under(self, choice: Mapping[str, str]) -> Verdict:
        """Return the verdict under some answers, by the names of their questions."""
        if not self.is_contested:
            return self._judged(0)
        return next(
            self._judged(index)
            for index, verdict in enumerate(self._verdicts)
            if verdict.answers.items() <= choice.items()
        )

    def judged_by(self, judge: Callable[[Verdict], Verdict]) -> Alternatives:
        """Return the same verdicts; another judge decides on those that are not found to be right."""
        return Alternatives(self._verdicts, judge, self.parting)

    def _judged(self, index: int) -> Verdict:
        verdict = self._verdicts[index]
        if not self._is_judged[index]:
            violation = self._violation_before_parting(index)
            found = self._judge(verdict) if violation is None else replace(verdict, violation=violation)
            self._verdicts[index], self._is_judged[index] = found, True
        return self._verdicts[index]

    def _violation_before_parting(self, index: int) -> Violation | None:
        """Return the violation of another answer, if it comes before the two answers can be told apart."""
        for other, verdict in enumerate(self._verdicts):
            violation = verdict.violation
            parting = min(self.parting[index], self.parting[other])
            if self._is_judged[other] and violation is not None and violation.call < parting:
                return violation
        return None


def answers_of(verdict: Verdict) -> Composed:
    """Return the variant of the reference, with its bounds, that a verdict is based on."""
    return composed(
        next(answer for answer in ANSWERS[question] if answer.name == name)
        for question, name in verdict.answers.items()
    )


def basis_of(verdict: Verdict) -> Basis:
    """Return the rule that a verdict is based on: the rule of the dialect, with its answers."""
    optimizer, wrapper, _ = answers_of(verdict)
    return verdict.dialect.basis(optimizer, wrapper)


def names_of(answers: Iterable[Answer]) -> dict[str, str]:
    """Return the names of answers by their questions."""
    return {answer.question: answer.name for answer in answers}


def consistent(graded: Mapping[str, Alternatives]) -> dict[str, Verdict]:
    """Return one verdict for each case, with the same answer in all cases of a question.

    The answer is the one under which most cases are right.

    Parameters
    ----------
    graded : mapping of str to Alternatives
        By the id of each case.
    """
    contested = {case_id: found for case_id, found in graded.items() if found.is_contested}
    best = [found.best() for found in contested.values()]
    given: dict[str, dict[str, None]] = {}
    # The choices of right cases; if no case is right, the choices under which cases diverge latest.
    for verdict in sorted(best, key=lambda verdict: verdict.grade not in RIGHT):
        for question, name in verdict.answers.items():
            if verdict.grade in RIGHT or question not in given:
                given.setdefault(question, {})[name] = None
    # Each case by itself may suit several answers; the right answer may be another one that suits all cases.
    possible = [
        tuple(names) if len(names) == 1 else tuple(answer.name for answer in ANSWERS[question])
        for question, names in given.items()
    ]
    choices = [dict(zip(given, names, strict=True)) for names in product(*possible)]
    chosen = choices[0]
    if len(choices) > 1:
        chosen = max(
            choices,
            key=lambda choice: sum(found.under(choice).grade in RIGHT for found in contested.values()),
        )
    return {case_id: found.under(chosen) for case_id, found in graded.items()}


def _lateness(verdict: Verdict) -> tuple[int, int]:
    """Return a sorting key: it is smaller if a result differs later, or in fewer elements."""
    if verdict.difference is None:
        return (-len(verdict.case.gradients) - 1, 0)
    return (-verdict.difference.call, verdict.differing)


def _calls(verdict: Verdict) -> int:
    return len(verdict.case.gradients) + 1 if verdict.violation is None else verdict.violation.call
