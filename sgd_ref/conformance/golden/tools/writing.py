"""Making every golden file from the definition, and the index of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sgd_ref.conformance.catalogue import first, tiers
from sgd_ref.conformance.catalogue.axes import AXES
from sgd_ref.conformance.catalogue.case import Case
from sgd_ref.conformance.catalogue.combinations import smoke_ids
from sgd_ref.conformance.data_folder import INDEX_PATH
from sgd_ref.conformance.golden.content import resume, sentences, standard
from sgd_ref.conformance.golden.content.abridging import abridged
from sgd_ref.conformance.golden.content.deviations import deviation_entries, exposed
from sgd_ref.conformance.golden.content.rejections import rejection_entries
from sgd_ref.conformance.golden.content.schedules import schedule_entries
from sgd_ref.conformance.golden.content.stages import stage_entries
from sgd_ref.conformance.golden.format.document import (
    DATA_VERSION,
    FORMAT,
    GENERATOR,
    document,
    file_hash,
)
from sgd_ref.conformance.golden.format.entries import Entry, entry_to_json, made
from sgd_ref.conformance.golden.format.location import FIRST_PATH, SCHEMA_FOLDER, inside
from sgd_ref.conformance.golden.format.schemas import (
    DEVIATION,
    FIRST,
    FULL,
    INDEX,
    PARTS,
    REJECTION,
    SCHEDULE,
    SCHEMA,
    SMOKE,
    STAGE,
    STANDARD,
    TRAJECTORY,
    schema_files,
)
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.conformance.protocol.layout import laid_out
from sgd_ref.definition import DEFINITION_VERSION

SENTENCES_PATH = f"resume/{sentences.NAME}.json"

MEMBERS = {FIRST: (FIRST,), SMOKE: (SMOKE,), STANDARD: (SMOKE, STANDARD), PARTS: (PARTS,)}
"""For each tier, the tiers that its files name."""

LEVELS = {TRAJECTORY: 4, STAGE: 3, SCHEMA: 9}
"""For each kind of file, the outer levels of JSON whose parts have a line each; two for other kinds."""


def trajectory_cases() -> dict[str, list[Case]]:
    """Return the cases of each file of trajectories, which is little work."""
    plain = {FIRST_PATH: list(first.first_cases())}
    resumed = {f"resume/{group}.json": cases for group, cases in resume.grouped(plain[FIRST_PATH]).items()}
    resumed[SENTENCES_PATH] = list(sentences.sentence_cases())
    return {**plain, **resumed, **{standard.path_of(case): [case] for case in tiers.cases("standard")}}


def other_documents() -> Iterator[tuple[str, Json]]:
    """Yield path and document of each file that has no trajectories, which is little work."""
    for path, entries in stage_entries():
        yield path, document(STAGE, PARTS, entries)
    for path, entries in schedule_entries():
        yield path, document(SCHEDULE, PARTS, entries)
    yield "rejections.json", document(REJECTION, PARTS, rejection_entries())
    yield "deviations.json", document(DEVIATION, PARTS, deviation_entries())
    yield from schema_files()


def trajectory_document(path: str, cases: Iterable[Case]) -> Json:
    """Return a file of trajectories, which takes a fraction of a second a case."""
    entries = [entry_to_json(_entry(path, case), with_decimals=path == FIRST_PATH) for case in cases]
    return document(TRAJECTORY, _tier(path, entries), entries)


def is_abridged(path: str) -> bool:
    """Whether the trajectories of a file leave out records and state: those of the standard tier do."""
    return path.startswith("standard/")


def _tier(path: str, entries: Sequence[Json]) -> str:
    if path == FIRST_PATH:
        return FIRST
    if not is_abridged(path):
        return PARTS
    is_smoke = all(entry["case"]["id"] in smoke_ids() for entry in entries)
    return SMOKE if is_smoke else STANDARD


def _entry(path: str, case: Case) -> Entry:
    if is_abridged(path):
        entry = made(case, standard.source_of(case))
        expected, bounds = abridged(entry.expected, entry.bounds)
        return replace(entry, expected=expected, bounds=bounds)
    entry = made(case, (sentences if path == SENTENCES_PATH else first).__name__)
    # Small cases are not in the kill matrix: what their stored bounds reject is found here.
    return replace(entry, case=replace(case, exposes=exposed(entry)))


def text_of(path: str, content: Json) -> bytes:
    """Return the text of a file."""
    kind = kind_of(path, content)
    return laid_out(content, LEVELS.get(kind, 2))


def kind_of(path: str, content: Json) -> str:
    """Return the kind of a file."""
    if path.startswith(SCHEMA_FOLDER):
        return SCHEMA
    return INDEX if path == INDEX_PATH else str(content["kind"])


def index_of(contents: Mapping[str, bytes], documents: Mapping[str, Json]) -> Json:
    """Return the index of files, given their texts and what these hold."""
    listed = [
        {
            "path": path,
            "tier": documents[path].get("tier", PARTS),
            "kind": kind_of(path, documents[path]),
            "cases": len(documents[path].get("entries", ())),
            "bytes": len(content),
            "sha256": file_hash(content),
        }
        for path, content in sorted(contents.items())
    ]
    tiers = {
        tier: {
            "files": sum(file["tier"] in members for file in listed),
            "cases": sum(file["cases"] for file in listed if file["tier"] in members),
            "bytes": sum(file["bytes"] for file in listed if file["tier"] in members),
        }
        for tier, members in MEMBERS.items()
    }
    generated = {"files": 0, "cases": math.prod(len(values) for values in AXES.values()), "bytes": 0}
    return {
        "format": FORMAT,
        "data_version": DATA_VERSION,
        "definition_version": DEFINITION_VERSION,
        "generator": GENERATOR,
        "tiers": {**tiers, FULL: generated},
        "files": listed,
    }


def files(progress: Callable[[str], None] | None = None) -> dict[str, bytes]:
    """Return path and text of every golden file, which takes some minutes."""
    documents: dict[str, Json] = {}
    for path, cases in trajectory_cases().items():
        documents[path] = trajectory_document(path, cases)
        if progress is not None:
            progress(path)
    documents.update(other_documents())
    contents = {path: text_of(path, content) for path, content in documents.items()}
    index = index_of(contents, documents)
    return {**contents, INDEX_PATH: text_of(INDEX_PATH, index)}


def write(folder: Path, progress: Callable[[str], None] | None = None) -> None:
    """Write all golden files into a folder, and remove those that only its old index lists.

    The same bytes on every machine. No other file is touched.

    Parameters
    ----------
    folder : Path
        It need not exist.
    progress : callable, optional
        Called with the path of each file that was computed.

    Raises
    ------
    ValueError
        If the old index lists a file outside of the folder; before anything is computed.
    """
    old = {path: inside(folder, path) for path in _listed(folder)}
    contents = files(progress)
    for path, place in old.items():
        if path not in contents:
            place.unlink(missing_ok=True)
    for path, text in contents.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text)


def _listed(folder: Path) -> list[str]:
    """Return the paths in the index of a folder; none if it has no index."""
    if not (folder / INDEX_PATH).is_file():
        return []
    return [file["path"] for file in json.loads((folder / INDEX_PATH).read_bytes())["files"]]
