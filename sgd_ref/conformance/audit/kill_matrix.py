"""The kill matrix: which case rejects which deviation, and that no case rejects a faithful variant.

It is computed over the standard tier and kept as data, in ``golden/audit``.
``python -m sgd_ref.conformance.audit.kill_matrix --update`` writes the data and its page; with ``--unseen``
it computes only what is not in the data, such as a case that was added.
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
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS
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
    """Return what the judge makes of an implementation."""
    profile = profile or Profile()
    graded = {case.id: grade_by_answers(run, case, profile) for case in chosen}
    verdicts = consistent(graded)
    noticing = dict.fromkeys(TOLERANCES, 0)
    for verdict in verdicts.values():
        # What is exact by another answer to an open question has not the bits of the reference.
        if verdict.trajectory is not None and (verdict.grade != "exact" or verdict.contested):
            expected = _expected(verdict.case.id)
            for tolerance in TOLERANCES:
                noticing[tolerance] += not accepts(tolerance, expected, verdict.trajectory)
    exposing = tuple(key for key, verdict in verdicts.items() if verdict.grade in ("diverges", "error"))
    rounding = tuple(key for key, verdict in verdicts.items() if verdict.grade == "rounding")
    if profile.hidden_wider_state is None:
        verdicts |= free_running(graded, profile)
    is_rejected = not all(verdict.as_defined for verdict in verdicts.values())
    return Outcome(name, is_rejected, exposing, rounding, noticing)


def of_deviation(name: str, chosen: Sequence[Case] | None = None) -> Outcome:
    """Return the outcome of one deviation over some cases, those of the standard tier by default."""
    deviation = DEVIATIONS[name]

    def run(case: Case) -> Trajectory:
        return reference.run(case, deviation.optimizer, deviation.wrapper)

    return outcome(name, run, cases() if chosen is None else chosen)


def of_faithful(name: str, chosen: Sequence[Case] | None = None) -> Outcome:
    """Return the outcome of one faithful variant, as it declares itself; see ``of_deviation``."""
    variant = FAITHFUL[name]
    profile = Profile(hidden_wider_state=variant.hidden_wider_state, flush_to_zero=variant.flushes_subnormals)
    return outcome(name, variant.run, cases() if chosen is None else chosen, profile)


def unseen_cases() -> list[Case]:
    """Return the cases of the standard tier that are not in the data."""
    return [case for case in cases() if case.id not in exposed_by_case()]


def with_unseen(known: Outcome, find: Callable[[str, Sequence[Case]], Outcome]) -> Outcome:
    """Return an outcome of the data as it is with the cases that are not in them."""
    unseen = unseen_cases()
    found = find(known.name, unseen) if unseen else None
    ids = [case.id for case in cases()]

    def joined(of: Callable[[Outcome], Sequence[str]]) -> tuple[str, ...]:
        names = {*of(known), *(() if found is None else of(found))}
        return tuple(case_id for case_id in ids if case_id in names)

    return Outcome(
        known.name,
        known.is_rejected or (found is not None and found.is_rejected),
        joined(lambda one: one.exposing),
        joined(lambda one: one.rounding),
        {
            judge: count + (0 if found is None else found.noticing[judge])
            for judge, count in known.noticing.items()
        },
    )


def of_deviation_where_unseen(name: str) -> Outcome:
    """Return the outcome of one deviation, from the data where they have it."""
    known = read()["deviations"].get(name)
    return of_deviation(name) if known is None else with_unseen(known, of_deviation)


def of_faithful_where_unseen(name: str) -> Outcome:
    """Return the outcome of one faithful variant, from the data where they have it."""
    known = read()["faithful"].get(name)
    return of_faithful(name) if known is None else with_unseen(known, of_faithful)


def wrong_names() -> list[str]:
    """Return the names of the deviations that are no mere roundings."""
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
def _expected_of_all() -> dict[str, Trajectory]:
    return {}


def _expected(case_id: str) -> Trajectory:
    known = _expected_of_all()
    if case_id not in known:
        known[case_id] = reference.run(next(case for case in cases() if case.id == case_id))
    return known[case_id]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute the matrix and write it, or say whether the data are what is computed."""
    parser = argparse.ArgumentParser(prog="python -m sgd_ref.conformance.audit.kill_matrix")
    parser.add_argument("--update", action="store_true", help="write the data and their page")
    parser.add_argument(
        "--unseen", action="store_true", help="take from the data what is in them, and compute the rest"
    )
    options = parser.parse_args(arguments)

    def note(found: Outcome) -> None:
        print(
            found.name, "rejected" if found.is_rejected else "accepted", len(found.exposing), file=sys.stderr
        )

    of_wrong, of_right = (
        (of_deviation_where_unseen, of_faithful_where_unseen)
        if options.unseen
        else (of_deviation, of_faithful)
    )
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
