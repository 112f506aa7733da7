"""The page of the kill matrix: what is rejected where, and what tests with tolerances would have said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.audit.tolerances import TOLERANCES
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.golden.content.kill_matrix import Outcome, exposed_by_case, read

PAGE = data_folder.folder() / "audit" / "kill_matrix.md"


def page() -> str:
    """Return the page for the data as they are."""
    content = read()
    standard = cases("standard")
    smoke = {case.id for case in cases("smoke")}
    open_ground = {case.id for case in standard if contested(case)}
    return "\n".join(
        [
            *_introduction(content, standard),
            *_deviations(content["deviations"], smoke),
            *_faithful(content["faithful"]),
            *_cases(standard, open_ground),
        ]
    )


def _introduction(content: Mapping[str, Mapping[str, Outcome]], standard: Sequence[Case]) -> list[str]:
    wrong, faithful = content["deviations"], content["faithful"]
    on_open_ground = [name for name, entry in wrong.items() if not entry.exposing]
    rest = [len(entry.exposing) for entry in wrong.values() if entry.exposing]
    lines = [
        "# The kill matrix",
        "",
        f"{len(wrong)} deviations and {len(faithful)} faithful variants, each run over the {len(standard)} "
        "cases of the standard tier and judged by the derived bounds. Written by "
        "`python -m sgd_ref.conformance.audit.kill_matrix --update`; the tests compare it with what is "
        "computed. The matrix itself, case by case, is `kill_matrix.json` in the folder above.",
        "",
        f"- Rejected: {sum(entry.is_rejected for entry in wrong.values())} of {len(wrong)} deviations, in at "
        f"least {min(rest)} cases each. The others are answers to open questions: "
        f"{', '.join(on_open_ground)}.",
        f"- Rejected: {sum(entry.is_rejected for entry in faithful.values())} of {len(faithful)} faithful "
        "variants.",
    ]
    lines += [
        f"- `{judge}` on the same cases rejects {sum(e.noticing[judge] > 0 for e in wrong.values())} of "
        f"{len(wrong)} deviations, and {sum(e.noticing[judge] > 0 for e in faithful.values())} of "
        f"{len(faithful)} faithful variants."
        for judge in TOLERANCES
    ]
    return [*lines, ""]


def _deviations(entries: Mapping[str, Outcome], smoke: set[str]) -> list[str]:
    lines = [
        "## Deviations",
        "",
        "The number of cases that reject each deviation: of all cases, of those in which nothing is rounded, "
        "and of the smoke tier. Then the number of cases in which a test with a tolerance rejects it.",
        "",
        f"| deviation | cases | exact | smoke | {' | '.join(TOLERANCES)} | reported |",
        f"|---|---|---|---|{'---|' * len(TOLERANCES)}---|",
    ]
    for name, entry in entries.items():
        kills = entry.exposing
        address = DEVIATIONS[name].address
        lines.append(
            f"| {name} | {len(kills)} | {sum(kill.startswith('exact/') for kill in kills)} | "
            f"{sum(kill in smoke for kill in kills)} | "
            f"{' | '.join(str(entry.noticing[judge]) for judge in TOLERANCES)} | "
            f"{f'<{address}>' if address else ''} |"
        )
    return [*lines, ""]


def _faithful(entries: Mapping[str, Outcome]) -> list[str]:
    lines = [
        "## Faithful variants",
        "",
        "The number of cases that reject each variant, of cases in which its bits differ from those of the "
        "reference, and of cases in which a test with a tolerance wrongly rejects it.",
        "",
        f"| variant | rejected | other bits | {' | '.join(TOLERANCES)} |",
        f"|---|---|---|{'---|' * len(TOLERANCES)}",
    ]
    for name, entry in entries.items():
        noticing = " | ".join(str(entry.noticing[judge]) for judge in TOLERANCES)
        lines.append(f"| {name} | {len(entry.exposing)} | {len(entry.rounding)} | {noticing} |")
    return [*lines, ""]


def _cases(standard: Sequence[Case], open_ground: set[str]) -> list[str]:
    exposed = exposed_by_case()
    lines = ["## Cases", "", "How many deviations each case exposes.", "", "| case | exposes |", "|---|---|"]
    for case in standard:
        mark = " (contested)" if case.id in open_ground else ""
        lines.append(f"| {case.id}{mark} | {len(exposed[case.id])} |")
    return [*lines, ""]
