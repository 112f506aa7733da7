"""The kill matrix: which case rejects which deviation, and that no case rejects a faithful variant.

It is computed over the standard tier and kept as data, in ``golden/audit``.
``python -m sgd_ref.conformance.audit.kill_matrix --update`` writes the data and its page.
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
from sgd_ref.conformance.golden.content.kill_matrix import DATA, Outcome, to_text
from sgd_ref.conformance.grading.check import free_running, grade
from sgd_ref.conformance.grading.verdict import Profile
from sgd_ref.conformance.trajectories import reference

PROCESSES = 2


def outcome(
    name: str, run: Implementation, chosen: Sequence[Case], profile: Profile | None = None
) -> Outcome:
    """Return what the judge makes of an implementation."""
    profile = profile or Profile()
    verdicts = {case.id: grade(run, case, profile) for case in chosen}
    noticing = dict.fromkeys(TOLERANCES, 0)
    for verdict in verdicts.values():
        if verdict.trajectory is not None and verdict.grade != "exact":
            expected = _expected(verdict.case.id)
            for tolerance in TOLERANCES:
                noticing[tolerance] += not accepts(tolerance, expected, verdict.trajectory)
    exposing = tuple(key for key, verdict in verdicts.items() if verdict.grade in ("diverges", "error"))
    rounding = tuple(key for key, verdict in verdicts.items() if verdict.grade == "rounding")
    if profile.hidden_wider_state is None:
        verdicts |= free_running(verdicts, profile)
    is_rejected = not all(verdict.as_defined for verdict in verdicts.values())
    return Outcome(name, is_rejected, exposing, rounding, noticing)


def of_deviation(name: str) -> Outcome:
    """Return the outcome of one deviation over the standard tier."""
    deviation = DEVIATIONS[name]

    def run(case: Case) -> Trajectory:
        return reference.run(case, deviation.optimizer, deviation.wrapper)

    return outcome(name, run, cases())


def of_faithful(name: str) -> Outcome:
    """Return the outcome of one faithful variant over the standard tier, as it declares itself."""
    variant = FAITHFUL[name]
    profile = Profile(hidden_wider_state=variant.hidden_wider_state, flush_to_zero=variant.flushes_subnormals)
    return outcome(name, variant.run, cases(), profile)


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
    options = parser.parse_args(arguments)

    def note(found: Outcome) -> None:
        print(
            found.name, "rejected" if found.is_rejected else "accepted", len(found.exposing), file=sys.stderr
        )

    deviations = outcomes(wrong_names(), of_deviation, note)
    faithful = outcomes(FAITHFUL, of_faithful, note)
    text = to_text([case.id for case in cases()], deviations, faithful)
    if options.update:
        DATA.write_text(text, encoding="utf-8")
        kill_matrix_page.PAGE.write_text(kill_matrix_page.page(), encoding="utf-8")
        return 0
    return 0 if DATA.read_text(encoding="utf-8") == text else 1


if __name__ == "__main__":
    sys.exit(main())
