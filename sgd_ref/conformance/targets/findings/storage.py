"""The file ``findings.json`` of a target: written in one form, read strictly.

A finding has a case and the expected trajectory, as the protocol of the kit encodes them. "seen" has each
array and each single number that differed, as a whole, with its place; "variable" is the position of the
variable, null for a single number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from sgd_ref.arithmetic.formats import Array
from sgd_ref.conformance import data_folder
from sgd_ref.conformance.catalogue.case import Record, Trajectory
from sgd_ref.conformance.protocol.arrays import array_from_json, array_to_json
from sgd_ref.conformance.protocol.encoding import (
    Json,
    case_from_json,
    case_to_json,
    from_line,
    trajectory_from_json,
    trajectory_to_json,
)
from sgd_ref.conformance.protocol.layout import laid_out
from sgd_ref.conformance.targets.findings.finding import Finding
from sgd_ref.conformance.targets.names import file_name
from sgd_ref.conformance.trajectories.comparison import COUNTERS, LISTS, equal_bits
from sgd_ref.validation import reject_type, reject_value, text

FILE = "findings.json"

FORMAT = 1

LEVELS = 4
"""The number of levels of the file whose parts have a line each."""

FILE_KEYS = ("format", "target", "findings")
FINDING_KEYS = ("name", "versions", "processor", "case", "expected", "seen")
SEEN_KEYS = ("call", "quantity", "variable", "value")


def path_of(target: str) -> Path:
    """Return the path of the findings of a target.

    >>> path_of("keras jax eager").parts[-3:]
    ('targets', 'keras-jax-eager', 'findings.json')
    """
    return data_folder.folder() / "targets" / file_name(target) / FILE


def kept(target: str) -> dict[str, Finding]:
    """Return the kept findings about a target, possibly none, by the name of the contradiction.

    Raises
    ------
    ValueError
        If the file is malformed.
    """
    path = path_of(target)
    return read(path, target) if path.exists() else {}


def to_json(target: str, findings: Sequence[Finding]) -> bytes:
    """Return the text of the file that holds some findings, the same on every machine."""
    ordered = sorted(findings, key=lambda finding: finding.name)
    return laid_out(
        {"format": FORMAT, "target": target, "findings": [_finding_to_json(one) for one in ordered]}, LEVELS
    )


def read(path: Path, target: str) -> dict[str, Finding]:
    """Return the findings of a file, by the name of the contradiction.

    Parameters
    ----------
    path : Path
        The file.
    target : str
        The name of the target that the file must be about.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not what `to_json` writes for the target; the message says where.
    """
    try:
        document = from_line(path.read_bytes())
        _check_keys("the file", document, FILE_KEYS)
        if document["format"] != FORMAT:
            reject_value("format", document["format"], str(FORMAT))
        if document["target"] != target:
            reject_value("target", document["target"], repr(target))
        findings: dict[str, Finding] = {}
        for position, entry in enumerate(_list("findings", document["findings"])):
            one = _finding_from_json(f"findings[{position}]", entry)
            if one.name in findings:
                reject_value(f"findings[{position}].name", one.name, "a name that no other finding has")
            findings[one.name] = one
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{path} holds no findings: {problem}") from problem
    return findings


def _finding_to_json(finding: Finding) -> Json:
    return {
        "name": finding.name,
        "versions": dict(finding.versions),
        "processor": finding.processor,
        "case": case_to_json(finding.case),
        "expected": trajectory_to_json(finding.expected),
        "seen": list(_seen_to_json(finding)),
    }


def _seen_to_json(finding: Finding) -> Iterator[Json]:
    for call, (wanted, given) in enumerate(zip(finding.expected, finding.observed, strict=True)):
        for quantity, value in given.items():
            place = {"call": call, "quantity": quantity}
            if quantity in COUNTERS:
                if value != wanted[quantity]:
                    yield {**place, "variable": None, "value": value}
            elif quantity in LISTS:
                for variable, (want, got) in enumerate(zip(wanted[quantity], value, strict=True)):
                    if not equal_bits(want, got).all():
                        yield {**place, "variable": variable, "value": array_to_json(got)}
            elif not equal_bits(np.asarray(wanted[quantity]), np.asarray(value)).all():
                yield {**place, "variable": None, "value": array_to_json(value)}


def _finding_from_json(name: str, document: Any) -> Finding:
    _check_keys(name, document, FINDING_KEYS)
    versions, processor = document["versions"], document["processor"]
    if not isinstance(versions, dict):
        reject_type(f"{name}.versions", versions, "an object with named versions")
    for package, version in versions.items():
        text(f"{name}.versions[{package!r}]", version)
    if processor is not None:
        text(f"{name}.processor", processor)
    try:
        case = case_from_json(document["case"])
        expected = trajectory_from_json(document["expected"])
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{name}: {problem}") from problem
    calls = len(case.gradients) + case.finalize
    if len(expected) != calls:
        reject_value(f"{name}.expected", f"{len(expected)} records", f"{calls} records")
    for call, record in enumerate(expected):
        _check_record(f"{name}.expected[{call}]", record, case.variables)
    observed = _observed(f"{name}.seen", expected, _list(f"{name}.seen", document["seen"]))
    return Finding(text(f"{name}.name", document["name"]), case, expected, observed, versions, processor)


def _check_record(name: str, record: Record, variables: Sequence[Array]) -> None:
    shapes = [array.shape for array in variables]
    for quantity in LISTS:
        given = [array.shape for array in record.get(quantity, variables)]
        if given != shapes:
            reject_value(f"the shapes of {name}.{quantity}", given, f"those of the variables, {shapes}")


def _observed(name: str, expected: Trajectory, seen: list[Any]) -> list[Record]:
    """Return the expected trajectory, with the observed values in the place of the documented ones."""
    if not seen:
        reject_value(name, seen, "at least one difference")
    observed = deepcopy(list(expected))
    places = set()
    for position, entry in enumerate(seen):
        one = f"{name}[{position}]"
        _check_keys(one, entry, SEEN_KEYS)
        call, quantity, variable = entry["call"], entry["quantity"], entry["variable"]
        record = observed[_position(f"{one}.call", call, len(observed))]
        if not isinstance(quantity, str) or quantity not in record:
            reject_value(f"{one}.quantity", quantity, f"one of {', '.join(record)}")
        if (call, quantity, variable) in places:
            reject_value(one, entry, "a place that no other difference has")
        places.add((call, quantity, variable))
        if quantity in LISTS:
            arrays = record[quantity]
            index = _position(f"{one}.variable", variable, len(arrays))
            arrays[index] = _other_array(f"{one}.value", arrays[index], entry["value"])
            continue
        if variable is not None:
            reject_value(f"{one}.variable", variable, "null")
        if quantity in COUNTERS:
            record[quantity] = _other_integer(f"{one}.value", record[quantity], entry["value"])
        else:
            record[quantity] = _other_array(f"{one}.value", record[quantity], entry["value"])[()]
    return observed


def _other_array(name: str, expected: Any, document: Any) -> Array:
    wanted, got = np.asarray(expected), array_from_json(document, name)
    if (got.dtype, got.shape) != (wanted.dtype, wanted.shape):
        reject_value(
            name, f"{got.dtype.name} of shape {got.shape}", f"{wanted.dtype.name} of shape {wanted.shape}"
        )
    if equal_bits(wanted, got).all():
        reject_value(name, document["bits"], "other bits than are expected")
    return got


def _other_integer(name: str, expected: int, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        reject_type(name, value, "an integer")
    if value == expected:
        reject_value(name, value, "another number than is expected")
    return value


def _position(name: str, value: Any, length: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        reject_type(name, value, "an integer")
    if not 0 <= value < length:
        reject_value(name, value, f"at least 0 and less than {length}")
    return value


def _check_keys(name: str, document: Any, keys: Sequence[str]) -> None:
    if not isinstance(document, dict):
        reject_type(name, document, "an object with named parts")
    if set(document) != set(keys):
        reject_value(f"the keys of {name}", sorted(document), str(sorted(keys)))


def _list(name: str, document: Any) -> list[Any]:
    if not isinstance(document, list):
        reject_type(name, document, "a list")
    return document
