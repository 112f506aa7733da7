"""The history of a target: releases without an answer are asked, and each answer is kept at once."""

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
    """Run the wanted releases that have no answer yet, and return all answers.

    Parameters
    ----------
    known : sequence of Asked
        The answers from earlier runs.
    wanted : sequence of str
        The releases to run. A release of two numbers stands for its newest patch release.
    releases : Releases
        The releases of the framework.
    scripts : mapping of str to Program
        The scripts that each release runs.
    runner : callable
        A function from a release to the function that runs scripts with it.
    keep : callable
        The function that is called with all answers whenever a release has answered.
    again : bool
        Whether to run also the releases that have answered before.

    Raises
    ------
    ValueError
        If a wanted release is not a version.
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
    """Return the answer of a release; for two numbers, that of the newest known patch release."""
    if release in by_release:
        return by_release[release]
    numbers = parts(release)
    if len(numbers) > 2:
        return None
    fitting = [one for one in by_release.values() if parts(one.release)[: len(numbers)] == numbers]
    return max(fitting, key=lambda one: parts(one.release), default=None)


def by_contradiction(asked: Sequence[Asked]) -> dict[str, list[tuple[str, Outcome]]]:
    """Return the outcomes of each contradiction, release by release.

    >>> by_contradiction([Asked("1.0", {}, {"a": Outcome("there")}), Asked("1.1", obstacle="gone")])
    {'a': [('1.0', Outcome(name='there', detail=''))]}
    """
    names = sorted({name for one in asked for name in one.outcomes})
    return {
        name: [(one.release, one.outcomes[name]) for one in asked if name in one.outcomes] for name in names
    }
