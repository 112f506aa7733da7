"""The coverage of the kernels' instructions, gathered from all processes."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numba_kernels.selfcheck.ptx import texts
from numba_kernels.selfcheck.ptx.driver.device import Device
from numba_kernels.selfcheck.ptx.parsing import parse
from numba_kernels.selfcheck.ptx.program import Instruction


class Covered(NamedTuple):
    """The coverage of one kernel.

    Attributes
    ----------
    kernel : str
        The name of the kernel.
    executed, instructions : int
        The number of instructions that some thread executed, and the number of all instructions.
    missed : list of Instruction
        The instructions that no thread executed.
    """

    kernel: str
    executed: int
    instructions: int
    missed: list[Instruction]

    @property
    def share(self) -> float:
        """The share of the instructions that was executed."""
        return self.executed / self.instructions


def write(device: Device, folder: Path) -> None:
    """Write the basic blocks that this process has executed so far."""
    executed = {
        device.names[entry]: np.flatnonzero(code.executed).tolist()
        for entry, code in device.codes.items()
        if entry in device.names
    }
    Path(folder, f"{os.getpid()}.json").write_text(json.dumps(executed), encoding="utf-8")


def read(folder: Path) -> list[Covered]:
    """Return the coverage of all kernels that some process launched."""
    together: dict[str, set[int]] = defaultdict(set)
    for path in sorted(folder.glob("*.json")):
        for name, blocks in json.loads(path.read_text(encoding="utf-8")).items():
            together[name].update(blocks)
    found = []
    for name, executed in sorted(together.items()):
        text = texts.kept(name)
        if text is None:
            continue
        blocks = parse(text).blocks
        missed = [line for block in blocks if block.index not in executed for line in block.instructions]
        count = sum(len(block.instructions) for block in blocks)
        found.append(Covered(name, count - len(missed), count, missed))
    return found
