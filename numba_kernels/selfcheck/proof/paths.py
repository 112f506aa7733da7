"""How far a walk through a kernel has come, and what an iteration of a loop was found to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from numba_kernels.selfcheck.proof.expressions import Node
from numba_kernels.selfcheck.proof.integers import Affine, Facts
from numba_kernels.selfcheck.proof.llvm.opcodes import Value
from numba_kernels.selfcheck.proof.memory import Access, Memory, Situation


@dataclass
class Path:
    """How far one path has come.

    Attributes
    ----------
    block, before : str
        The block that comes next, and the one before it.
    values : dict of str to value
        Of all names that were given one.
    facts : Facts
        What is known about indices on this path.
    memory : Memory
        What was read and written.
    known : dict of Node to Node
        Settings that were compared with a constant, and are equal to it.
    """

    block: str
    before: str
    values: dict[str, Value]
    facts: Facts
    memory: Memory
    known: dict[Node, Node]

    def copy(self, **changes: Any) -> Path:
        """Return a copy that can be changed."""
        copied = replace(
            self,
            values=dict(self.values),
            facts=self.facts.copy(),
            memory=self.memory.copy(),
            known=dict(self.known),
        )
        return replace(copied, **changes)


class End(NamedTuple):
    """The end of a path in a loop: back at its start, or out of it by the exit whose condition is given."""

    path: Path
    is_back: bool
    condition: Node | None = None
    leaves_if: bool = True


@dataclass
class Iteration:
    """What any one iteration of a loop over elements does.

    Attributes
    ----------
    end : Path
        Where it leaves the loop.
    accesses : list of Access
        What it reads and writes.
    ends : list of End
        All of its ends.
    asked : list of tuple
        What was asked about indices on the way, with the answers.
    made : dict of str to value
        The values of names that are given in the loop.
    situation : Situation or None
        The only one in which it holds, if it read a flag of it.
    known : dict of Node to Node or None
        The settings with which alone it holds, if it used one.
    is_fresh : bool
        Whether it has not been used yet.
    """

    end: Path
    accesses: list[Access]
    ends: list[End]
    asked: list[tuple[str, Affine, int | None]]
    made: dict[str, Value]
    situation: Situation | None
    known: dict[Node, Node] | None
    is_fresh: bool = True
