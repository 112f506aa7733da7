"""Explanations of the divergences of a target, from the deviations and failures that it is known for.

A deviation is named if it gives the very same bits, or if the answer lies within its derived bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from sgd_ref.conformance.catalogue.case import Case, Implementation
from sgd_ref.conformance.deviations import is_contradiction
from sgd_ref.conformance.diagnosis.attribution import explain, explain_within_bounds, is_within_bounds
from sgd_ref.conformance.grading.answering import basis_of
from sgd_ref.conformance.grading.verdict import Verdict
from sgd_ref.conformance.targets.known import KnownFailure, known_failure
from sgd_ref.conformance.targets.ledger import path_of, read
from sgd_ref.conformance.targets.target import Target

FLUSHED = "subnormals-flushed"
"""The deviation of XLA on a CPU, which concerns every framework that runs on XLA."""


def known_target(
    name: str,
    start: Callable[[], AbstractContextManager[Implementation]],
    candidates: Callable[[Case], tuple[str, ...]],
    deviations: Mapping[str, str],
    failures: Sequence[KnownFailure],
    rule: str = "keras",
) -> Target:
    """Return a target that explains its mismatches by the deviations and failures that it is known for.

    Parameters
    ----------
    name : str
        The name as it is shown.
    start : callable
        Returns a context manager that gives the implementation, or raises ``CannotRun``.
    candidates : callable
        From a case to the names of the deviations that may show in it.
    deviations : mapping of str to str
        All names that it is known for, each with its evidence.
    failures : sequence of KnownFailure
        The errors that it is known to raise.
    rule : str, default "keras"
        The documented rule that it is held to by default.
    """
    path = path_of(name)
    ledger = read(path) if path.exists() else {}

    def explain_verdict(verdict: Verdict) -> tuple[str, ...]:
        if verdict.trajectory is None:
            failure = known_failure(verdict.case, verdict.message, failures)
            return () if failure is None else (failure,)
        # An answer to an open question is no mistake.
        basis = basis_of(verdict)
        names = tuple(name for name in candidates(verdict.case) if not basis.has(name))
        explanation = explain(verdict.case, verdict.trajectory, names, basis)
        if explanation.complete:
            return explanation.names
        # The roundings beside a contradiction depend on the processor; the contradiction does not. The ledger
        # rests on evidence, and here the bounds do not refute it.
        recorded = ledger.get(verdict.case.id)
        if (
            recorded is not None
            and set(recorded.names) <= set(names)
            and is_within_bounds(verdict.case, verdict.trajectory, recorded.names, basis)
        ):
            return recorded.names
        return explain_within_bounds(verdict.case, verdict.trajectory, names, basis)

    contradictions = {name for name in (*deviations, FLUSHED) if is_contradiction(name)}
    contradictions |= {failure.name for failure in failures}
    evidence = {**deviations, **{failure.name: failure.evidence for failure in failures}}
    return Target(name, start, explain_verdict, frozenset(contradictions), evidence, rule=rule)
