"""The history of a target: releases that are not known yet are asked, and each answer is kept at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sgd_ref.conformance.targets.history.asking import Ask, ask
from sgd_ref.conformance.targets.history.outcome import Outcome
from sgd_ref.conformance.targets.history.programs import Program
from sgd_ref.conformance.targets.history.releases import Releases, check_release, parts
from sgd_ref.conformance.targets.history.storage import Asked


def extended(
    known: Sequence[Asked],
    wanted: Sequence[str],
    releases: Releases,
    scripts: Mapping[str, Program],
    runner: Callable[[str], Ask],
    keep: Callable[[list[Asked]], None],
    again: bool = False,
) -> list[Asked]:
    """Ask the wanted releases of which an answer lacks, and return all that is known.

    Parameters
    ----------
    known : sequence of Asked
        What was asked before.
    wanted : sequence of str
        Releases; of two numbers for the newest of it.
    releases : Releases
        Those of the framework.
    scripts : mapping of str to Program
        What each is asked.
    runner : callable
        From a release to the function that runs scripts with it.
    keep : callable
        Is given all that is known, whenever a release has answered.
    again : bool
        Whether what is known is asked again.

    Raises
    ------
    ValueError
        If a wanted release is no version.
    """
    by_release = {one.release: one for one in known}
    for release in wanted:
        check_release(release)
    for release in wanted:
        before = _known(release, by_release)
        if before is not None and not again:
            missing = {name: one for name, one in scripts.items() if name not in before.outcomes}
            if before.obstacle or not missing:
                continue
            now = ask(before.release, releases, missing, runner(before.release))
            now = Asked(now.release, now.versions, {**before.outcomes, **now.outcomes}, now.obstacle)
        else:
            now = ask(release, releases, scripts, runner(release))
        by_release[now.release] = now
        keep(list(by_release.values()))
    return sorted(by_release.values(), key=lambda one: parts(one.release))


def _known(release: str, by_release: Mapping[str, Asked]) -> Asked | None:
    """Return what is known of a release, or of the newest one that two numbers stand for."""
    if release in by_release:
        return by_release[release]
    numbers = parts(release)
    if len(numbers) > 2:
        return None
    fitting = [one for one in by_release.values() if parts(one.release)[: len(numbers)] == numbers]
    return max(fitting, key=lambda one: parts(one.release), default=None)


def by_contradiction(asked: Sequence[Asked]) -> dict[str, list[tuple[str, Outcome]]]:
    """Return what became of each contradiction, release by release.

    >>> by_contradiction([Asked("1.0", {}, {"a": Outcome("there")}), Asked("1.1", obstacle="gone")])
    {'a': [('1.0', Outcome(name='there', detail=''))]}
    """
    names = sorted({name for one in asked for name in one.outcomes})
    return {
        name: [(one.release, one.outcomes[name]) for one in asked if name in one.outcomes] for name in names
    }
