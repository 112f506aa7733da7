"""Publishing of runs: the findings about each target as data, and the page of all targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sgd_ref.conformance import data_folder
from sgd_ref.conformance.grading.findings import Findings
from sgd_ref.conformance.reports import costs
from sgd_ref.conformance.reports.target_data import read, to_data, to_text
from sgd_ref.conformance.reports.targets_page import page_of_data
from sgd_ref.conformance.targets.findings import storage
from sgd_ref.conformance.targets.findings.search import search
from sgd_ref.conformance.targets.history import storage as history
from sgd_ref.conformance.targets.history.storage import Asked
from sgd_ref.conformance.targets.names import file_name
from sgd_ref.conformance.targets.registry import FAMILIES, names
from sgd_ref.conformance.targets.target import Target

DATA, PAGE = "page.json", "README.md"


def publish(
    findings: Sequence[Findings],
    targets: Sequence[Target],
    folder: Path | None = None,
    with_cost: bool = False,
) -> None:
    """Write the findings about some targets, and the page of all targets that were ever published.

    Parameters
    ----------
    findings : sequence of Findings
        The findings of runs over the standard tier.
    targets : sequence of Target
        The targets of the runs, and perhaps others.
    folder : Path, optional
        Where to write; by default the folder of the targets in the published data.
    with_cost : bool, default False
        Whether to keep also what the runs cost, which no other run repeats.
    """
    folder = data_folder.folder() / "targets" if folder is None else folder
    by_name = {target.name: target for target in targets}
    # Before anything is run again to shrink its cases.
    busy = costs.busy_until_now() if len(findings) == 1 else None
    for found in findings:
        name = found.report.name
        contents = {
            storage.FILE: storage.to_json(name, search(found, by_name[name])),
            DATA: to_text(to_data(found, by_name[name].causes)).encode(),
        }
        if with_cost:
            contents[costs.FILE] = costs.to_text(costs.of_run(name, found.report.seconds, busy)).encode()
        place = folder / file_name(name)
        place.mkdir(parents=True, exist_ok=True)
        for file, content in contents.items():
            (place / file).write_bytes(content)
    write_page(folder)


def write_page(folder: Path | None = None) -> None:
    """Write the page of all targets with results in a folder.

    Parameters
    ----------
    folder : Path, optional
        By default the folder of the targets in the published data.
    """
    folder = data_folder.folder() / "targets" if folder is None else folder
    (folder / PAGE).write_bytes(kept_page(folder).encode())


def kept_page(folder: Path) -> str:
    """Return the page of all targets with data in a folder.

    Raises
    ------
    ValueError
        If a file is malformed, or the folder has no target.
    """
    places = {name: folder / file_name(name) for name in names()}
    kept = {name: place for name, place in places.items() if (place / DATA).exists()}
    not_run = [why for family in FAMILIES.values() for why in family.absent.values()]
    return page_of_data(
        [read(place / DATA) for place in kept.values()],
        {name: storage.read(place / storage.FILE, name).keys() for name, place in kept.items()},
        not_run,
        histories(folder),
        {
            name: costs.read(place / costs.FILE)
            for name, place in kept.items()
            if (place / costs.FILE).exists()
        },
    )


def histories(folder: Path) -> dict[str, list[Asked]]:
    """Return the results of releases, by the name of each target with a history in a folder.

    Raises
    ------
    ValueError
        If a file is malformed.
    """
    places = {name: folder / file_name(name) / history.FILE for name in names()}
    return {name: history.read(path, name) for name, path in places.items() if path.exists()}
