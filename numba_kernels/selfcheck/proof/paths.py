"""The state of a walk through a kernel, and the known effect of an iteration of a loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from numba_kernels.selfcheck.proof.expressions import Node
from numba_kernels.selfcheck.proof.integers import Affine, Facts
from numba_kernels.selfcheck.proof.llvm.opcodes import Value
from numba_kernels.selfcheck.proof.memory import Access, Memory, Situation


@dataclass
class Path:
    """The state of one path.

    Attributes
    ----------
    block, before : str
        The next block, and the block before it.
    values : dict of str to value
        The values of all names so far.
    facts : Facts
        The known facts about indices on this path.
    memory : Memory
        The reads and writes so far.
    known : dict of Node to Node
        Settings that equal a constant on this path, after a comparison with it.
    """

    block: str
    before: str
    values: dict[str, Value]
    facts: Facts
    memory: Memory
    known: dict[Node, Node]

    def copy(self, **changes: Any) -> Path:
        """Return an independent copy."""
        copied = replace(
            self,
            values=dict(self.values),
            facts=self.facts.copy(),
            memory=self.memory.copy(),
            known=dict(self.known),
        )
        return replace(copied, **changes)


class End(NamedTuple):
    """The end of a path in a loop: back at its start, or out of it by an exit with a condition."""

    path: Path
    is_back: bool
    condition: Node | None = None
    leaves_if: bool = True


@dataclass
class Iteration:
    """The effect of any single iteration of a loop over elements.

    Attributes
    ----------
    end : Path
        The path at the exit of the loop.
    accesses : list of Access
        The reads and writes.
    ends : list of End
        All of its ends.
    asked : list of tuple
        The questions about indices on the way, with the answers.
    made : dict of str to value
        The values of names that are defined in the loop.
    situation : Situation or None
        The only situation in which this effect holds, if a flag of it was read.
    known : dict of Node to Node or None
        The only known settings with which this effect holds, if one was used.
    is_fresh : bool
        Whether this effect has not been used yet.
    """

    end: Path
    accesses: list[Access]
    ends: list[End]
    asked: list[tuple[str, Affine, int | None]]
    made: dict[str, Value]
    situation: Situation | None
    known: dict[Node, Node] | None
    is_fresh: bool = True
