"""The kill matrix: which case rejects which deviation, and that no case rejects a faithful variant.

It is computed over the standard tier and kept as data, in ``golden/audit``.
``python -m sgd_ref.conformance.audit.kill_matrix --update`` writes the data and its page. With
``--only-missing`` it trusts the stored data and adds missing cases, deviations and faithful variants.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context

from sgd_ref.conformance.audit import kill_matrix_page
from sgd_ref.conformance.audit.tolerances import TOLERANCES, accepts
from sgd_ref.conformance.catalogue.case import Case, Implementation, Trajectory
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.deviations.mistakes import STRUCTURAL
from sgd_ref.conformance.diagnosis.candidates import may_act
from sgd_ref.conformance.faithful import FAITHFUL
from sgd_ref.conformance.golden.content.kill_matrix import (
    DATA,
    Outcome,
    exposed_by_case,
    forget,
    read,
    to_text,
)
from sgd_ref.conformance.grading.answering import consistent
from sgd_ref.conformance.grading.check import free_running, grade_by_answers
from sgd_ref.conformance.grading.verdict import Profile
from sgd_ref.conformance.trajectories import reference

PROCESSES = 2


def outcome(
    name: str, run: Implementation, chosen: Sequence[Case], profile: Profile | None = None
) -> Outcome:
    """Return the outcome of judging an implementation."""
    profile = profile or Profile()
    graded = {case.id: grade_by_answers(run, case, profile) for case in chosen}
    verdicts = consistent(graded)
    noticing = dict.fromkeys(TOLERANCES, 0)
    for verdict in verdicts.values():
        # A result that is exact under another answer to an open question does not have the bits of the
        # reference.
        if verdict.trajectory is not None and (verdict.grade != "exact" or verdict.contested):
            expected = _expected(verdict.case)
            for tolerance in TOLERANCES:
                noticing[tolerance] += not accepts(tolerance, expected, verdict.trajectory)
    exposing = tuple(key for key, verdict in verdicts.items() if verdict.grade in ("diverges", "error"))
    rounding = tuple(key for key, verdict in verdicts.items() if verdict.grade == "rounding")
    if profile.hidden_wider_state is None:
        verdicts |= free_running(graded, profile)
    is_rejected = not all(verdict.passes for verdict in verdicts.values())
    return Outcome(name, is_rejected, exposing, rounding, noticing)


def is_structural(name: str) -> bool:
    """Whether a deviation is about structure: big cases are run for these alone."""
    return name in STRUCTURAL


def cases_for(name: str) -> list[Case]:
    """Return the cases of the standard tier that a deviation or a faithful variant is run over.

    A deviation gives the bits of the reference in a case in which it cannot act. If the case is contested,
    these bits are an answer, which must be that of the other cases.
    """
    chosen = [case for case in cases() if case.made is None or is_structural(name)]
    if name not in DEVIATIONS:
        return chosen
    return [case for case in chosen if may_act(case, name) or contested(case)]


def of_deviation(name: str, chosen: Sequence[Case] | None = None) -> Outcome:
    """Return the outcome of one deviation over some cases, by default the standard tier."""
    deviation = DEVIATIONS[name]

    def run(case: Case) -> Trajectory:
        return reference.run(case, deviation.optimizer, deviation.wrapper)

    return outcome(name, run, cases_for(name) if chosen is None else chosen)


def of_faithful(name: str, chosen: Sequence[Case] | None = None) -> Outcome:
    """Return the outcome of one faithful variant, as it declares itself, over the same cases."""
    variant = FAITHFUL[name]
    profile = Profile(hidden_wider_state=variant.hidden_wider_state, flush_to_zero=variant.flushes_subnormals)
    return outcome(name, variant.run, cases_for(name) if chosen is None else chosen, profile)


def completed_deviation(name: str) -> Outcome:
    """Return the outcome of one deviation; only cases that the data lack are computed."""
    return _completed(name, "deviations", of_deviation)


def completed_faithful(name: str) -> Outcome:
    """Return the outcome of one faithful variant; only cases that the data lack are computed."""
    return _completed(name, "faithful", of_faithful)


def joined(known: Outcome, added: Outcome) -> Outcome | None:
    """Return the outcome over two sets of cases, from the outcome over each; None if these do not tell.

    An answer that diverges step by step may be faithful if the state is wider than the reported one. But the
    state is wider in all cases or in none. So where the cases of one set were excused in this way, the cases
    of the other set may end the excuse.

    >>> known = Outcome("ascends", True, ("a",), (), {"x": 1})
    >>> joined(known, Outcome("ascends", False, (), ("b",), {"x": 2}))
    Outcome(name='ascends', is_rejected=True, exposing=('a',), rounding=('b',), noticing={'x': 3})
    """
    is_rejected = known.is_rejected or added.is_rejected
    if not is_rejected and (known.exposing or added.exposing):
        return None
    noticing = {judge: count + added.noticing[judge] for judge, count in known.noticing.items()}
    exposing, rounding = known.exposing + added.exposing, known.rounding + added.rounding
    return Outcome(known.name, is_rejected, _in_order(exposing), _in_order(rounding), noticing)


def _in_order(case_ids: Iterable[str]) -> tuple[str, ...]:
    order = {case.id: position for position, case in enumerate(cases())}
    return tuple(sorted(case_ids, key=lambda case_id: order.get(case_id, len(order))))


def _completed(name: str, part: str, find: Callable[..., Outcome]) -> Outcome:
    known = read()[part].get(name)
    seen = exposed_by_case()
    if known is None:
        return find(name)
    return joined(known, find(name, [case for case in cases_for(name) if case.id not in seen])) or find(name)


def wrong_names() -> list[str]:
    """Return the names of the deviations that are not mere roundings."""
    return [name for name, deviation in DEVIATIONS.items() if deviation.kind == "contradiction"]


def outcomes(
    names: Iterable[str], find: Callable[[str], Outcome], note: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Return what a function finds for each name, computed in several processes."""
    found = []
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for result in pool.map(find, names):
            note(result)
            found.append(result)
    return found


@cache
def _expected(case: Case) -> Trajectory:
    return reference.run(case)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute the matrix and write it, or say whether it equals the data."""
    parser = argparse.ArgumentParser(prog="python -m sgd_ref.conformance.audit.kill_matrix")
    parser.add_argument("--update", action="store_true", help="write the data and their page")
    parser.add_argument(
        "--only-missing", action="store_true", help="compute what the data lack, and trust them"
    )
    options = parser.parse_args(arguments)

    def note(found: Outcome) -> None:
        print(
            found.name, "rejected" if found.is_rejected else "accepted", len(found.exposing), file=sys.stderr
        )

    of_wrong: Callable[[str], Outcome] = of_deviation
    of_right: Callable[[str], Outcome] = of_faithful
    if options.only_missing:
        of_wrong, of_right = completed_deviation, completed_faithful
    deviations = outcomes(wrong_names(), of_wrong, note)
    faithful = outcomes(FAITHFUL, of_right, note)
    text = to_text([case.id for case in cases()], deviations, faithful)
    if options.update:
        DATA.write_text(text, encoding="utf-8")
        forget()
        kill_matrix_page.PAGE.write_text(kill_matrix_page.page(), encoding="utf-8")
        return 0
    return 0 if DATA.read_text(encoding="utf-8") == text else 1


if __name__ == "__main__":
    sys.exit(main())
