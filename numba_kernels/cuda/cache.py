"""A cache of machine code for devices on disk: never stale, for read-only folders and concurrent processes.

A kernel is compiled from several modules. So the name of the cache's folder depends on the contents of all of
them, and on the compilers. A change of any of these leads to another folder. A file holds the machine code of
one kernel for one kind of device. Two processes that write a file at once replace it one after the other, and
both contents are right.
"""

from __future__ import annotations

import functools
import json
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from numba_kernels.shared.kept_code import base_folder, fingerprint_of, modules_of, sealed, unsealed

ROOT = Path(__file__).parents[2]

FOLDERS = ("numba_kernels/cuda", "numba_kernels/cuda/device", "numba_kernels/shared", "sgd_ref/arithmetic")
"""The folders with modules that kernels are compiled from, or that name their dtypes and formats."""


class MachineCode(NamedTuple):
    """The machine code of one kernel.

    Attributes
    ----------
    entry : str
        The symbol of the kernel in the code.
    code : bytes
        A cubin, the file format of the driver.
    """

    entry: str
    code: bytes


def sources() -> list[str]:
    """Return the paths, from the folder of the packages, of all modules that kernels may be compiled from.

    >>> "numba_kernels/cuda/device/norm.py" in sources() and "numba_kernels/shared/operations.py" in sources()
    True
    """
    return modules_of(ROOT, FOLDERS)


@functools.cache
def sources_fingerprint() -> str:
    """Return a short hash of all sources and of the version of Python."""
    return fingerprint_of(ROOT, sources(), (sys.version,))


# Computed during the import, while the sources are the imported ones: a process may outlive the installation,
# and must not store its kernels under the hash of the next installation.
sources_fingerprint()


def folder(compilers: Sequence[str]) -> Path:
    """Return the folder of the kernels that this process can use with its compilers.

    Parameters
    ----------
    compilers : sequence of str
        Names and versions of everything that turns sources into machine code, and their options.
    """
    return base_folder() / f"cuda-{fingerprint_of(ROOT, (), (sources_fingerprint(), *compilers))}"


def load(name: str, capability: str, compilers: Sequence[str]) -> MachineCode | None:
    """Return the machine code of a kernel; None if there is none, or if the file is damaged.

    Parameters
    ----------
    name : str
        The name of the kernel.
    capability : str
        The devices that the code is for, such as ``sm_90a``.
    compilers : sequence of str
        As for `folder`.
    """
    try:
        content = unsealed(_path(name, capability, compilers).read_bytes())
    # There is no file yet, or it cannot be read.
    except OSError:
        return None
    if content is None:
        return None
    head, _, code = content.partition(b"\n")
    described = json.loads(head)
    entry = described.pop("entry")
    # A file may have been copied under another name.
    if described != _described(name, capability):
        return None
    return MachineCode(entry, code)


def save(name: str, capability: str, compilers: Sequence[str], found: MachineCode) -> None:
    """Store the machine code of a kernel; other processes see the whole file or nothing.

    If it cannot be stored, nothing happens: the next process compiles the kernel again.
    """
    path = _path(name, capability, compilers)
    head = json.dumps({**_described(name, capability), "entry": found.entry}).encode()
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(sealed(head + b"\n" + found.code))
        part.replace(path)
    except OSError:
        _remove(part)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        return


def _described(name: str, capability: str) -> dict[str, str]:
    return {"kernel": name, "capability": capability}


def _path(name: str, capability: str, compilers: Sequence[str]) -> Path:
    return folder(compilers) / f"{name}.{capability}"
