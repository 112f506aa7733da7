"""Launches written into a folder, so that another interpreter of PTX can be compared with this one.

The folder has two folders:

- ``kernels/NAME.ptx``: the text of each kernel, as a launch hands it to the assembler.
- ``launches/PROCESS-NUMBER.json``: one launch, an object with

  - ``format``: 1.
  - ``case``: the id of the case; ``sgd-ref check --device ptx -k ID`` compares it with the reference.
  - ``kernel``: the NAME of the kernel; ``entry``: its symbol in the text.
  - ``blocks``, ``threads``: the number of blocks, and of threads in each block, both in one dimension.
  - ``arguments``: for each parameter, in order, its bits as an unsigned number. All parameters have 64 bits.
  - ``memory``: for each allocation of global memory an object with ``address`` and ``size`` in bytes; its
    content ``before`` the launch, in Base64; ``unwritten``, the ranges ``[first, end]`` of offsets of bytes
    that nobody has written before, and that may have any content (the byte at ``end`` does not belong to
    them); and ``after``, the content after the launch, in Base64, or null if the launch changed no byte. A
    byte that nobody has written, and that is the same after the launch, need not be compared.

Addresses are those of a 64-bit space of which the launch uses only these allocations. Numbers are little
endian. Tables in memory contain addresses, so each allocation must be at its address. Nothing is known about
registers and shared memory before they are written. The order of threads must not change any result.

Bytes after the launch are to be equal, except that a device may choose the bits of a NaN of float64. Here it
is 0xFFF8000000000000. Other NaN results are those of the device: 0x7FFFFFFF in float32, 0x7FFF in the half
types. A launch that ended in a fault is not written.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from numba_kernels.selfcheck.ptx.machine.code import Code
from numba_kernels.selfcheck.ptx.machine.memory import BASE, WRITTEN, Memory
from sgd_ref.arithmetic.formats import Array

FORMAT = 1


class Dump:
    """A folder that launches are written into.

    Parameters
    ----------
    folder : Path
        The folder, which is made if necessary.

    Attributes
    ----------
    case : str
        The id of the case that the next launches belong to.
    """

    def __init__(self, folder: Path) -> None:
        self._kernels, self._launches = folder / "kernels", folder / "launches"
        for path in (self._kernels, self._launches):
            path.mkdir(parents=True, exist_ok=True)
        Path(folder, "README.txt").write_text(str(__doc__), encoding="utf-8")
        self.case = ""
        self._number = 0

    def before(self, memory: Memory) -> list[dict[str, Any]]:
        """Return the content of all allocations, before a launch."""
        return [
            {
                "address": address,
                "size": size,
                "before": _written_out(memory.bytes[place]),
                "unwritten": _ranges(memory.state[place] != WRITTEN),
            }
            for address, size, place in _allocations(memory)
        ]

    def after(
        self,
        before: list[dict[str, Any]],
        name: str,
        code: Code,
        grid: tuple[int, int],
        arguments: bytes,
        memory: Memory,
    ) -> None:
        """Write a launch that has ended.

        Parameters
        ----------
        before : list of dict
            The result of `before`.
        name : str
            The name of the kernel.
        code : Code
            The executed code.
        grid : tuple of int
            The numbers of blocks and threads.
        arguments : bytes
            The arguments, each at the offset of its parameter.
        memory : Memory
            The memory after the launch.
        """
        for kept, (_, _, place) in zip(before, _allocations(memory), strict=True):
            content = _written_out(memory.bytes[place])
            kept["after"] = content if content != kept["before"] else None
        launch = {
            "format": FORMAT,
            "case": self.case,
            "kernel": name,
            "entry": code.kernel.entry,
            "blocks": grid[0],
            "threads": grid[1],
            "arguments": np.frombuffer(arguments, "<u8").tolist(),
            "memory": before,
        }
        text = self._kernels / f"{name}.ptx"
        if not text.exists():
            text.write_text(code.text, encoding="utf-8")
        path = self._launches / f"{os.getpid()}-{self._number:06}.json"
        path.write_text(json.dumps(launch), encoding="utf-8")
        self._number += 1


def _allocations(memory: Memory) -> list[tuple[int, int, slice]]:
    return [
        (address, size, slice(address - BASE, address - BASE + size))
        for address, size in memory.allocations()
    ]


def _written_out(content: Array) -> str:
    return base64.b64encode(content.tobytes()).decode()


def _ranges(is_set: Array) -> list[list[int]]:
    """Return the ranges of places at which a flag is set.

    >>> _ranges(np.array([True, True, False, True]))
    [[0, 2], [3, 4]]
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_set, [False])).astype(np.int8)))
    return edges.reshape(-1, 2).tolist()
