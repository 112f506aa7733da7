"""``sgd-ref conform`` as a sweep: all targets of one command are one sweep with one journal."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sgd_ref.command.printing import error_console
from sgd_ref.command.sweeping import swept
from sgd_ref.conformance.dialects import Dialect
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.grading.progress import progress_bar
from sgd_ref.conformance.grading.sweep.software import software
from sgd_ref.conformance.targets import registry, sweeping
from sgd_ref.conformance.targets.sweeping import Asked, Introduction
from sgd_ref.conformance.targets.target import CannotRun, Target


def by_sweep(
    options: argparse.Namespace,
    targets: Sequence[Target],
    offered: Mapping[str, Collection[str]] | None,
    held_to: Dialect | None,
) -> tuple[list[Findings], list[str]]:
    """Run the targets as a sweep.

    Parameters
    ----------
    options : Namespace
        The parsed arguments.
    targets : sequence of Target
        The targets that they choose.
    offered : mapping of str to collection of str, or None
        The values that cases may need.
    held_to : Dialect or None
        The rule that they choose.

    Returns
    -------
    list of Findings
        In the order of the targets.
    list of str
        The reasons why targets, or units of their work, have no result.

    Raises
    ------
    NotSwept
        If the sweep cannot begin or go on.
    WrongUsage
        If the journal is of something else.
    ValueError
        If no case has a matching id.
    """
    started: list[tuple[Asked, Introduction]] = []
    not_run: list[str] = []
    for target in targets:
        asked = _asked(options, target, offered, held_to)
        try:
            started.append((asked, sweeping.introduction(asked)))
        except CannotRun as problem:
            not_run.append(str(problem))
    if not started:
        return [], not_run
    wanted = sweeping.positions(started[0][0], options.pattern)
    units = [unit for asked, said in started for unit in sweeping.units(asked, wanted, said)]
    with swept(options, _in_words(options, started, held_to)) as sweep:
        with progress_bar(error_console()) as bar:
            task = bar.add_task("units of work", total=len(units))
            sweep.run(units, lambda done: bar.update(task, completed=done))
        found = [sweeping.findings(asked, wanted, said, sweep) for asked, said in started]
    not_run += [f"{failed.unit}: {failed.reason}" for failed in sweep.failed]
    return [findings for findings in found if findings is not None], not_run


def _asked(
    options: argparse.Namespace,
    target: Target,
    offered: Mapping[str, Collection[str]] | None,
    held_to: Dialect | None,
) -> Asked:
    given = {name: getattr(options, name) for name in registry.options()}
    words = [f"{name}={value}" for name, value in given.items() if value is not None]
    return Asked(
        target.name,
        () if options.target is None else (options.target, *words),
        tuple(options.program or ()),
        (options.time_limit or registry.TIME_LIMIT, options.start_limit or registry.START_LIMIT),
        str(Path.cwd()),
        options.tier,
        None if offered is None else tuple((axis, tuple(sorted(offered[axis]))) for axis in sorted(offered)),
        held_to,
    )


def _in_words(
    options: argparse.Namespace, started: Sequence[tuple[Asked, Introduction]], held_to: Dialect | None
) -> dict[str, str]:
    """Return all that decides the results, by name."""
    first, _ = started[0]
    return {
        "command": "conform",
        "implementation": ", ".join(asked.name for asked, _ in started),
        "tier": options.tier,
        "-k": "" if options.pattern is None else options.pattern.pattern,
        "--offers": "; ".join(f"{axis} {' '.join(values)}" for axis, values in first.offered or ()),
        "rule": "its own" if held_to is None else str(held_to),
        "limits": " ".join(map(str, first.limits)) if first.program else "",
        "cases in a unit": str(sweeping.CASES),
        **{f"{asked.name}: {name}": text for asked, said in started for name, text in said.software.items()},
        **software(),
    }
