"""The kill matrix: which case rejects which deviation, and that no case rejects a faithful variant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context

from sgd_ref.conformance.case import Case, Implementation
from sgd_ref.conformance.catalogue import cases as catalogue
from sgd_ref.conformance.checking import Profile, check

PROCESSES = 2


@dataclass(frozen=True)
class Outcome:
    """What the judge makes of one implementation.

    Attributes
    ----------
    name : str
        Of a deviation or of a faithful variant.
    ok : bool
        Whether the report is.
    rejecting : tuple of str
        Ids of the uncontested cases in which it diverges or fails.
    rounding : tuple of str
        Ids of the cases in which its bits differ, but faithfully.
    free_running : tuple of str
        Ids of those among them that only a state wider than what is reported explains.
    """

    name: str
    ok: bool
    rejecting: tuple[str, ...]
    rounding: tuple[str, ...]
    free_running: tuple[str, ...] = ()


def outcome(
    name: str, run: Implementation, cases: Sequence[Case], profile: Profile | None = None
) -> Outcome:
    """Return what the judge makes of an implementation."""
    report = check(run, cases, name, profile)
    rejecting = tuple(
        case_id for case_id, verdict in report.verdicts.items() if not verdict.as_defined
    )
    rounding = {key: verdict for key, verdict in report.verdicts.items() if verdict.grade == "rounding"}
    free = tuple(key for key, verdict in rounding.items() if "hidden wider state" in verdict.allowances)
    return Outcome(name, report.ok, rejecting, tuple(rounding), free)


def outcomes(
    names: Iterable[str], find: Callable[[str], Outcome], processes: int = PROCESSES
) -> list[Outcome]:
    """Return what a function finds for each name, computed in several processes."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(find, names))


def of_deviation(name: str) -> Outcome:
    """Return the outcome of one deviation over the standard tier."""
    from sgd_ref.conformance import reference
    from sgd_ref.conformance.deviations import DEVIATIONS

    deviation = DEVIATIONS[name]

    def run(case: Case) -> list[dict[str, object]]:
        return reference.run(case, deviation.optimizer, deviation.wrapper)

    return outcome(name, run, _standard())


def of_faithful(name: str) -> Outcome:
    """Return the outcome of one faithful variant over the standard tier, as it declares itself."""
    from sgd_ref.conformance.faithful import FAITHFUL

    variant = FAITHFUL[name]
    profile = Profile(
        hidden_wider_state=variant.hidden_wider_state, flush_to_zero=variant.flushes_subnormals
    )
    return outcome(name, variant.run, _standard(), profile)


@cache
def _standard() -> Sequence[Case]:
    return catalogue("standard")
