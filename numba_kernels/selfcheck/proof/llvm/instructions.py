"""A function of LLVM as blocks of instructions, and the error for code that is not understood."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class NotUnderstood(Exception):
    """Raised if the prover does not understand a part of the kernel, so that nothing is proven."""


class Type(NamedTuple):
    """The type of one number, or of a vector of `lanes` numbers."""

    name: str
    lanes: int = 0


class Operand(NamedTuple):
    """An operand: a name (with its sign), or a literal.

    Attributes
    ----------
    type : Type
        The type of the value.
    form : str
        "name", "global", "bits", "poison", "lanes" or "splat".
    value : object
        The name; the bits of a number; the operands of a vector; or the operand in all its lanes.
    """

    type: Type
    form: str
    value: Any = None


@dataclass
class Instruction:
    """One instruction.

    Attributes
    ----------
    result : str or None
        The name of the value.
    op : str
        The opcode.
    type : Type
        The type of the result, or of the stored value.
    operands : list of Operand
        The operands in order; for a ``phi`` the values, for a ``br`` the condition.
    words : tuple of str
        A predicate, the name of a function, an ordering.
    labels : tuple of str
        Blocks; for a ``phi`` the blocks that the values come from.
    source : Type or None
        The type before a conversion, or the element type of an address computation.
    text : str
        The line.
    """

    result: str | None
    op: str
    type: Type
    operands: list[Operand]
    words: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    source: Type | None = None
    text: str = ""


@dataclass
class Function:
    """One function.

    Attributes
    ----------
    arguments : list of str
        The names of the arguments, with the sign ``%``.
    blocks : dict of str to list of Instruction
        The blocks in the order of the text; execution begins at the first.
    """

    arguments: list[str]
    blocks: dict[str, list[Instruction]] = field(default_factory=dict)

    @property
    def entry(self) -> str:
        """The name of the first block."""
        return next(iter(self.blocks))
