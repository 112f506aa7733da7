"""What changed between two versions of the golden data, in words, by case and field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sgd_ref.conformance.data_folder import INDEX_PATH
from sgd_ref.conformance.golden.format.document import HASH
from sgd_ref.conformance.golden.format.entries import DECIMAL, decimals
from sgd_ref.conformance.golden.format.location import (
    SCHEMA_FOLDER,
    Place,
    data_files,
    id_of,
    places,
)
from sgd_ref.conformance.protocol.arrays import array_from_json
from sgd_ref.conformance.protocol.encoding import Json
from sgd_ref.conformance.trajectories.comparison import LISTS, describe_units, units_apart

ARRAY = {"dtype", "shape", "bits"}

BITS = re.compile(r"[0-9a-f]{4,16}( [0-9a-f]{4,16})*")

LONGEST_VALUE = 60

CALLS = ("expected", "bounds", "gradients")
"""Lists with one part for each call."""


def differences(old: Path, new: Path) -> Iterator[str]:
    """Yield what changed from one folder of golden data to another, one line each.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If a file is no golden data.
    """
    before, after = (json.loads((folder / INDEX_PATH).read_bytes()) for folder in (old, new))
    for key in ("format", "data_version", "definition_version"):
        if before[key] != after[key]:
            yield f"{key}: {_shown(before[key])} became {_shown(after[key])}"
    yield from _schemas(old, new)
    former = {id_of(place.entry): place for place in places(old)}
    present = {id_of(place.entry): place for place in places(new)}
    for identifier, place in former.items():
        if identifier not in present:
            yield f"{identifier}: removed ({place.path})"
        else:
            for line in _entry_changes(place, present[identifier]):
                yield f"{identifier}: {line}"
    for identifier, place in present.items():
        if identifier not in former:
            yield f"{identifier}: added ({place.path})"


def changes(old: Json, new: Json) -> Iterator[str]:
    """Yield what changed in one entry, by field.

    >>> list(changes({"id": "a", "steps": [1, 2]}, {"id": "a", "steps": [1, 3]}))
    ['steps [1]: 2 became 3']
    """
    names = new["case"].get("names", ()) if "case" in new else ()
    for path, words in _parts((), _without_hash(old), _without_hash(new)):
        yield f"{_place(path, names)}: {words}"


def _schemas(old: Path, new: Path) -> Iterator[str]:
    paths = {path for folder in (old, new) for path in data_files(folder) if path.startswith(SCHEMA_FOLDER)}
    for path in sorted(paths):
        texts = [place.read_bytes() if (place := folder / path).is_file() else None for folder in (old, new)]
        if texts[0] != texts[1]:
            yield f"{path}: {'added' if texts[0] is None else 'removed' if texts[1] is None else 'changed'}"


def _entry_changes(old: Place, new: Place) -> Iterator[str]:
    if old.path != new.path:
        yield f"moved from {old.path} to {new.path}"
    yield from changes(old.entry, new.entry)


def _without_hash(entry: Json) -> Json:
    return {key: value for key, value in entry.items() if key != HASH}


def _parts(path: tuple[str | int, ...], old: Any, new: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        if set(old) >= ARRAY and set(new) >= ARRAY:
            yield path, _array_words(old, new)
            return
        for key in dict.fromkeys([*old, *new]):
            yield from _parts((*path, key), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _parts((*path, index), before, after)
    elif isinstance(old, str) and isinstance(new, str) and BITS.fullmatch(old) and BITS.fullmatch(new):
        yield path, _bits_words(old.split(), new.split())
    else:
        yield path, f"{_shown(old)} became {_shown(new)}"


def _array_words(old: Json, new: Json) -> str:
    for key in ("dtype", "shape"):
        if old[key] != new[key]:
            return f"{key} {old[key]} became {new[key]}"
    if old["bits"] == new["bits"]:
        return f"{DECIMAL} {_shown(old.get(DECIMAL))} became {_shown(new.get(DECIMAL))}"
    words = _bits_words(old["bits"].split(), new["bits"].split())
    before, after = (array_from_json({key: array[key] for key in ARRAY}).reshape(-1) for array in (old, new))
    place = next(
        index
        for index, (x, y) in enumerate(zip(old["bits"].split(), new["bits"].split(), strict=True))
        if x != y
    )
    former, present = before[place : place + 1], after[place : place + 1]
    with np.errstate(invalid="ignore"):
        is_nan = bool(np.isnan(former[0]) and np.isnan(present[0]))
        apart = "both NaN" if is_nan else describe_units(float(units_apart(former, present)[0]))
    return f"{words}; {decimals(former)} became {decimals(present)}, {apart}"


def _bits_words(old: Sequence[str], new: Sequence[str]) -> str:
    if len(old) != len(new):
        return f"{len(old)} elements became {len(new)}"
    differing = [index for index, (x, y) in enumerate(zip(old, new, strict=True)) if x != y]
    first = differing[0]
    what = f"{len(differing)} of {len(old)} elements differ, the first is [{first}]"
    return f"{what}: {old[first]} became {new[first]}"


def _place(path: tuple[str | int, ...], names: Sequence[str]) -> str:
    words: list[str] = []
    previous: str | int = ""
    before_previous: str | int = ""
    for part in path:
        if isinstance(part, str):
            words.append(part)
        elif previous in CALLS:
            words.append(f"call {part}")
        elif (previous in LISTS or before_previous == "gradients") and part < len(names):
            words.append(f"of {names[part]}")
        else:
            words.append(f"[{part}]")
        before_previous, previous = previous, part
    return " ".join(words)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 3] + "..."
