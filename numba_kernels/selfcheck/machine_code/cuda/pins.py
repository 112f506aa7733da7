"""Pinned counts, which no requirement fixes but which must not change: kept in a file and compared exactly.

A division and a norm contain fused operations, so no requirement can show an additional, unwanted one. Loads
and stores are in several unrolled loops, so no requirement can show a single loop that reads elements one by
one.
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
"""For each capability and each kernel, the nonzero counts."""


def pinned(code: Code) -> dict[str, int]:
    """Return the counts of a kernel that belong in the file."""
    return {measure: code.measures[measure] for measure in PINNED if code.measures[measure]}


def installed() -> dict[str, str]:
    """Return the versions of the compilers, on which the counts depend."""
    return {wheel: version(wheel) for wheel in COMPILERS}


def read(file: Path) -> tuple[dict[str, str], Pins]:
    """Return the versions of the compilers of the counts, and the counts; both are empty without a file."""
    if not file.exists():
        return {}, {}
    content = json.loads(file.read_text(encoding="utf-8"))
    return content["versions"], content["counts"]


def write(file: Path, codes: Iterable[Code], complete: Iterable[str]) -> None:
    """Write the counts of kernels into the file, with the installed versions.

    Parameters
    ----------
    file : Path
        The file, which need not exist.
    codes : iterable of Code
        The machine code of kernels, whose counts replace those in the file.
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
    """Yield the differences between the counts of a kernel and the file."""
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
    """Return the packages whose versions have changed since the counts were taken.

    >>> changed_versions({"numba": "0.1"})[0].startswith("numba: the counts were taken with 0.1")
    True
    """
    return [
        f"{wheel}: the counts were taken with {before}, installed is {version(wheel)}"
        for wheel, before in versions.items()
        if before != version(wheel)
    ]
