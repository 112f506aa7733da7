"""Check that golden data is whole, and that the reference still gives its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sgd_ref.conformance.catalogue.contested import contested
from sgd_ref.conformance.data_folder import INDEX_PATH
from sgd_ref.conformance.golden.content.abridging import abridged
from sgd_ref.conformance.golden.content.bounds import first_outside
from sgd_ref.conformance.golden.content.norms import NORM, replayed_norm
from sgd_ref.conformance.golden.content.rejections import problem
from sgd_ref.conformance.golden.content.schedules import rates
from sgd_ref.conformance.golden.content.stages import replayed
from sgd_ref.conformance.golden.format.document import HASH, content_hash, file_hash
from sgd_ref.conformance.golden.format.entries import entry_from_json, entry_to_json
from sgd_ref.conformance.golden.format.location import FIRST_PATH, data_files, id_of
from sgd_ref.conformance.golden.format.schemas import (
    INDEX,
    REJECTION,
    SCHEDULE,
    SCHEMA,
    STAGE,
    TRAJECTORY,
    schemas,
)
from sgd_ref.conformance.golden.tools.diffing import changes
from sgd_ref.conformance.golden.tools.writing import (
    index_of,
    is_abridged,
    kind_of,
    other_documents,
    text_of,
    trajectory_cases,
)
from sgd_ref.conformance.protocol.arrays import array_from_json, result_to_json
from sgd_ref.conformance.protocol.digest import digested
from sgd_ref.conformance.protocol.encoding import Json, case_to_json
from sgd_ref.conformance.trajectories import reference

Contents = Mapping[str, bytes]
"""Path and text of every file."""

NO_JSONSCHEMA = "the schemas, for which the package jsonschema is needed"


@dataclass
class Verification:
    """The result of a verification.

    Attributes
    ----------
    problems : list of str
        The problems that were found, one line for each; empty if the data is whole and right.
    not_run : list of str
        The checks that could not be made, one line for each.
    """

    problems: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)


def verify(folder: Path, replays: bool = True, progress: Callable[[str], None] | None = None) -> Verification:
    """Verify the golden data in a folder.

    The first check is quick: every file must have the hash in the index, and no file may be missing or extra.
    If it passes, each file must follow its schema and its own hashes, and no case may be stale. Unless
    `replays` is False, the reference must also reproduce every expected result.

    Parameters
    ----------
    folder : Path
        The folder of the index.
    replays : bool, default True
        Whether the reference runs.
    progress : callable, optional
        Called with the path of each file that was replayed.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    contents = {path: (folder / path).read_bytes() for path in data_files(folder)}
    found = Verification(hash_problems(contents))
    if found.problems:
        return found
    documents = {path: json.loads(text) for path, text in contents.items()}
    found.problems += content_problems(contents, documents)
    try:
        found.problems += schema_problems(documents)
    except ImportError:
        found.not_run.append(NO_JSONSCHEMA)
    if found.problems or not replays:
        return found
    found.problems += stale_problems(documents)
    for path, document in documents.items():
        if kind_of(path, document) not in (SCHEMA, INDEX):
            found.problems += [f"{path}: {line}" for line in replay_problems(path, document)]
            if progress is not None:
                progress(path)
    return found


def hash_problems(contents: Contents) -> list[str]:
    """Return which files are missing, extra, or not of the length and hash that the index says."""
    try:
        listed = {file["path"]: file for file in json.loads(contents[INDEX_PATH])["files"]}
        expected = {path: (file["bytes"], file["sha256"]) for path, file in listed.items()}
    except KeyError as error:
        return [f"{INDEX_PATH}: there is no {error}"]
    except (ValueError, TypeError) as error:
        return [f"{INDEX_PATH}: it is no index: {error}"]
    problems = [f"{path}: missing" for path in expected if path not in contents]
    for path, text in contents.items():
        if path == INDEX_PATH:
            continue
        if path not in expected:
            problems.append(f"{path}: extra, the index does not list it")
        elif (len(text), file_hash(text)) != expected[path]:
            problems.append(f"{path}: changed, its hash is not that of the index")
    return problems


def content_problems(contents: Contents, documents: Mapping[str, Json]) -> Iterator[str]:
    """Yield the problems within files that have the right hashes."""
    others = {path: text for path, text in contents.items() if path != INDEX_PATH}
    if contents[INDEX_PATH] != text_of(INDEX_PATH, index_of(others, documents)):
        yield f"{INDEX_PATH}: it is not the index of these files by this version of sgd-ref"
    seen: dict[str, str] = {}
    for path, document in documents.items():
        if contents[path] != text_of(path, document):
            yield f"{path}: its layout is not that of sgd-ref golden write"
        for entry in document.get("entries", ()):
            identifier = id_of(entry)
            if identifier in seen:
                yield f"{path}: {identifier} is also in {seen[identifier]}"
            seen[identifier] = path
            if entry.get(HASH) != content_hash(entry):
                yield f"{path}: {identifier} has not the hash that it says"


def schema_problems(documents: Mapping[str, Json]) -> Iterator[str]:
    """Yield what violates the schema of its kind.

    Raises
    ------
    ImportError
        If the package jsonschema is not installed.
    """
    from jsonschema import Draft202012Validator

    validators = {kind: Draft202012Validator(schema) for kind, schema in schemas().items()}
    for path, document in documents.items():
        kind = kind_of(path, document)
        if kind == SCHEMA:
            continue
        if kind not in validators:
            yield f"{path}: there is no schema for the kind {kind!r}"
            continue
        for error in validators[kind].iter_errors(document):
            yield f"{path}: {error.json_path}: {error.message[:200]}"


def stale_problems(documents: Mapping[str, Json]) -> Iterator[str]:
    """Yield which files are not those that this version of sgd-ref writes, before any case is run."""
    cases = trajectory_cases()
    for path, chosen in cases.items():
        if path not in documents:
            yield f"{path}: missing, this version of sgd-ref writes it"
            continue
        stored = [entry["case"] for entry in documents[path]["entries"]]
        if [case["id"] for case in stored] != [case.id for case in chosen]:
            yield f"{path}: stale, this version of sgd-ref has other cases"
            continue
        for old, case in zip(stored, chosen, strict=True):
            new = case_to_json(case)
            if not is_abridged(path):
                # Of small cases, what they expose is found from their bounds.
                new["exposes"] = old["exposes"]
            for line in changes({"case": old}, {"case": new}):
                yield f"{path}: stale, {case.id} {line}"
    others = dict(other_documents())
    for path, document in others.items():
        if documents.get(path) != document:
            yield f"{path}: stale, this version of sgd-ref writes another one"
    for path in documents:
        if path not in cases and path not in others and path != INDEX_PATH:
            yield f"{path}: stale, this version of sgd-ref does not write it"


def replay_problems(path: str, document: Json) -> Iterator[str]:
    """Yield which entries of a file the reference does not reproduce."""
    kind = kind_of(path, document)
    for entry in document["entries"]:
        try:
            lines = list(_replayed(kind, entry, path))
        except Exception as error:
            lines = [f"it cannot be replayed: {type(error).__name__}: {error}"]
        for line in lines:
            yield f"{id_of(entry)} {line}"


def _replayed(kind: str, stored: Json, path: str) -> Iterator[str]:
    if kind == TRAJECTORY:
        entry = entry_from_json(stored)
        answer = reference.run(entry.case)
        expected = answer if entry.case.made is None else digested(answer)
        if is_abridged(path):
            expected, _ = abridged(expected, None)
        again = replace(entry, expected=expected, contested=contested(entry.case))
        yield from changes(stored, entry_to_json(again, path == FIRST_PATH))
        place = first_outside(entry.expected, entry.bounds, again.expected)
        if place is not None:
            yield f"the reference is outside of the stored bounds at {place}"
    elif kind == REJECTION:
        line = problem(stored)
        if line is not None:
            yield line
    elif kind in (STAGE, SCHEDULE):
        yield from changes(stored, {**stored, "expected": result_to_json(_array(kind, stored))})


def _array(kind: str, stored: Json) -> Any:
    array_from_json(stored["expected"])
    if kind == SCHEDULE:
        return rates(stored["schedule"], stored["steps"])
    return replayed_norm(stored) if stored["stage"] == NORM else replayed(stored)
