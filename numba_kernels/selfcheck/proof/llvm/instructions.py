"""A function of LLVM as blocks of instructions, and what the prover does not understand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple


class NotUnderstood(Exception):
    """The prover does not know what the kernel does here, so that nothing is proven."""


class Type(NamedTuple):
    """A type: of one number, or of a vector of `lanes` numbers."""

    name: str
    lanes: int = 0


class Operand(NamedTuple):
    """An operand: a name (with its sign), or a literal.

    Attributes
    ----------
    type : Type
        Of the value.
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
        Of the result, or of what is stored.
    operands : list of Operand
        In their order; of a ``phi`` the values, of a ``br`` the condition.
    words : tuple of str
        A predicate, the name of a function, an ordering.
    labels : tuple of str
        Blocks; of a ``phi`` those that the values come from.
    source : Type or None
        The type that is converted from, or that an address is made of.
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
        Names, with their sign.
    blocks : dict of str to list of Instruction
        In the order of the text; the first is entered.
    """

    arguments: list[str]
    blocks: dict[str, list[Instruction]] = field(default_factory=dict)

    @property
    def entry(self) -> str:
        """The name of the first block."""
        return next(iter(self.blocks))
