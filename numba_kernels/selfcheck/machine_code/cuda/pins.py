"""Counts that no requirement fixes but that have to stay as they are: kept in a file, compared exactly.

A division and a norm consist of fused operations, so that no rule shows one more that was let through. Loads
and stores are in several loops, each unrolled, so that no rule shows one loop that reads elements one by one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from numba_kernels.selfcheck.machine_code.cuda.building import Code
from numba_kernels.selfcheck.machine_code.cuda.wheels import COMPILERS, version

FILE = Path(__file__).with_name("pins.json")

PINNED = ("LDG.128", "STG.128", "FFMA", "DFMA", "float64", "FTZ", "MUFU", "CALL")

UPDATE = "if that is meant: python -m numba_kernels.selfcheck.machine_code.cuda --update"

Pins = dict[str, dict[str, dict[str, int]]]
"""Of each capability, of each kernel, the counts that are not zero."""


def pinned(code: Code) -> dict[str, int]:
    """Return those counts of a kernel that the file keeps."""
    return {measure: code.measures[measure] for measure in PINNED if code.measures[measure]}


def installed() -> dict[str, str]:
    """Return the versions of the compilers, which decide about the counts."""
    return {wheel: version(wheel) for wheel in COMPILERS}


def read(file: Path) -> tuple[dict[str, str], Pins]:
    """Return the versions that the counts were taken with, and the counts; nothing where there is no file."""
    if not file.exists():
        return {}, {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return content["versions"], content["counts"]


def write(file: Path, codes: Iterable[Code], complete: Iterable[str]) -> None:
    """Write the counts of kernels into the file, with the versions that are installed.

    Parameters
    ----------
    file : Path
        Need not be there.
    codes : iterable of Code
        Their counts replace those in the file.
    complete : iterable of str
        The capabilities with all of their kernels among `codes`. Other kernels of these capabilities in
        the file are removed.
    """
    _, counts = read(file)
    for capability in complete:
        counts[capability] = {}
    for code in codes:
        counts.setdefault(code.capability, {})[code.kernel] = pinned(code)
    lines = [
        f"  {json.dumps(capability)}: {{\n{_one_a_line(counts[capability])}\n  }}"
        for capability in sorted(counts)
    ]
    text = f'{{\n"versions": {json.dumps(installed())},\n"counts": {{\n' + ",\n".join(lines) + "\n}\n}\n"
    file.write_text(text, encoding="utf-8")


def _one_a_line(kernels: Mapping[str, Mapping[str, int]]) -> str:
    return ",\n".join(f"    {json.dumps(name)}: {json.dumps(kernels[name])}" for name in sorted(kernels))


def differences(code: Code, pins: Pins) -> Iterator[str]:
    """Yield where the counts of a kernel are not those of the file."""
    kept = pins.get(code.capability, {}).get(code.kernel)
    if kept is None:
        yield f"has no counts in {FILE.name}; {UPDATE}"
        return
    found = pinned(code)
    for measure in dict.fromkeys((*kept, *found)):
        before, after = kept.get(measure, 0), found.get(measure, 0)
        if before != after:
            yield f"{measure} was {before}, is {after} ({after - before:+d}); {UPDATE}"


def stale(names: Iterable[str], capability: str, pins: Pins) -> list[str]:
    """Return the kernels in the file that are not among all kernels."""
    return sorted(set(pins.get(capability, {})) - set(names))


def changed_versions(versions: Mapping[str, str]) -> list[str]:
    """Return the packages that had another version when the counts were taken.

    >>> changed_versions({"numba": "0.1"})[0].startswith("numba: the counts were taken with 0.1")
    True
    """
    return [
        f"{wheel}: the counts were taken with {before}, installed is {version(wheel)}"
        for wheel, before in versions.items()
        if before != version(wheel)
    ]
