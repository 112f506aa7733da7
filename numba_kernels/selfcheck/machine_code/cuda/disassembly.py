"""The output of ``nvdisasm -c`` as instructions, and the counts of the kinds that matter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

INSTRUCTION_BYTES = 16

STARTS_WITH_ADDRESS = re.compile(r"\s*/\*([0-9a-f]{4,})\*/")

INSTRUCTION = re.compile(
    r"""
    \s*/\*(?P<address>[0-9a-f]{4,})\*/\s+
    (?:@(?P<predicate>!?U?P\w+)\s+)?
    (?P<opcode>[A-Z]\w*(?:\.\w+)*)
    (?:\s+(?P<operands>[^;]*?))?\s*;
    """,
    re.VERBOSE,
)

TARGET = re.compile(r"^\s*\.target\s+(\w+)", re.MULTILINE)


class Instruction(NamedTuple):
    """One instruction.

    Attributes
    ----------
    predicate : str
        The predicate under which it is executed, such as ``!P0``; empty if it is always executed.
    opcode : str
        The opcode with its modifiers, such as ``LDG.E.128``.
    operands : tuple of str
        The operands, the result first.
    """

    predicate: str
    opcode: str
    operands: tuple[str, ...]

    @property
    def operation(self) -> str:
        """The opcode without modifiers, and without the letter that marks uniform instructions."""
        operation = self.opcode.partition(".")[0]
        return operation[1:] if operation in UNIFORM else operation

    @property
    def modifiers(self) -> frozenset[str]:
        """The modifiers after the opcode."""
        return frozenset(self.opcode.split(".")[1:])


UNIFORM = frozenset(("UFFMA", "UFMUL", "UFADD", "UFSETP", "UDADD", "UDMUL", "UDFMA", "UDSETP", "UHFMA2"))
"""Instructions that compute once for all threads of a warp, with the same roundings."""

ZEROS = ("RZ", "-RZ")


def _fuses_float32(instruction: Instruction) -> bool:
    # FFMA2 computes two results at once.
    return instruction.operation.startswith("FFMA")


def _is_float64(instruction: Instruction) -> bool:
    doubles = ("F64", "RCP64H", "RSQ64H")
    return re.fullmatch(
        r"D(ADD|MUL|FMA|SETP|SET|MNMX|MMA)\w*", instruction.operation
    ) is not None or not instruction.modifiers.isdisjoint(doubles)


def _flushes(instruction: Instruction) -> bool:
    # A conversion to an integer turns subnormal numbers into zero anyway; the division of integers uses it.
    return "FTZ" in instruction.modifiers and instruction.operation != "F2I"


def _is_half(instruction: Instruction) -> bool:
    sources = [operand.removesuffix(".reuse") for operand in instruction.operands[1:]]
    if instruction.operation == "HFMA2":
        # The compiler writes a constant as zero times zero plus the constant if that pipe is idle.
        return not (len(sources) >= 2 and all(source in ZEROS for source in sources[:2]))
    if instruction.operation == "HADD2" and "F32" in instruction.modifiers:
        # A conversion of a number and zero to float32, which is exact.
        return not any(source in ZEROS for source in sources)
    return instruction.operation in ("HADD2", "HMUL2", "HMMA")


def _moves(operation: str, bits: int) -> Callable[[Instruction], bool]:
    def is_one(instruction: Instruction) -> bool:
        return instruction.operation == operation and width(instruction) == bits

    return is_one


def _is_any_of(*operations: str) -> Callable[[Instruction], bool]:
    return lambda instruction: instruction.operation in operations


def width(instruction: Instruction) -> int:
    """Return how many bits a load or store moves for each thread.

    >>> width(Instruction("", "LDG.E.LTC128B.U16", ("R0", "[R2.64]")))
    16
    """
    for modifier in instruction.modifiers:
        match = re.fullmatch(r"[US]?(8|16|64|128|256)", modifier)
        if match:
            return int(match[1])
    return 32


WIDTHS = (256, 128, 64, 32, 16, 8)

FAMILIES: dict[str, Callable[[Instruction], bool]] = {
    "FFMA": _fuses_float32,
    "FMUL": lambda instruction: instruction.operation.startswith("FMUL"),
    "FADD": lambda instruction: instruction.operation.startswith("FADD"),
    "DFMA": _is_any_of("DFMA"),
    "float64": _is_float64,
    "FTZ": _flushes,
    "half": _is_half,
    **{f"{operation}.{bits}": _moves(operation, bits) for operation in ("LDG", "STG") for bits in WIDTHS},
    # Loads and stores that determine at run time which kind of memory an address is in.
    "generic": _is_any_of("LD", "ST"),
    "LDL": _is_any_of("LDL"),
    "STL": _is_any_of("STL"),
    "atomic": _is_any_of("ATOM", "ATOMG", "ATOMS", "RED", "REDG", "REDS"),
    "BAR": _is_any_of("BAR"),
    "CALL": _is_any_of("CALL"),
    "MUFU": _is_any_of("MUFU"),
}
"""The kinds of instructions that are counted; one instruction may be of several kinds."""


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of all functions of a disassembly.

    Parameters
    ----------
    text : str
        The output of ``nvdisasm -c``, for compute capability 7.0 and higher.

    Raises
    ------
    ValueError
        If there are no instructions, if a line is not understood, or if a line is missing: the code of each
        function must be complete.

    Examples
    --------
    >>> instructions("        /*0000*/              @!P0 FFMA R4, R2, UR4, R3 ;")
    [Instruction(predicate='!P0', opcode='FFMA', operands=('R4', 'R2', 'UR4', 'R3'))]
    """
    found = []
    expected = 0
    for line in text.splitlines():
        start = STARTS_WITH_ADDRESS.match(line)
        if not start:
            continue
        match = INSTRUCTION.match(line)
        if not match:
            raise ValueError(f"a disassembly must consist of instructions, got {line.strip()!r}")
        address = int(match["address"], 16)
        if address not in (0, expected):
            raise ValueError(f"a disassembly must go on at {expected:#06x}, got {line.strip()!r}")
        expected = address + INSTRUCTION_BYTES
        operands = (match["operands"] or "").strip()
        found.append(
            Instruction(
                match["predicate"] or "",
                match["opcode"],
                tuple(operand.strip() for operand in operands.split(",")) if operands else (),
            )
        )
    if not found:
        raise ValueError("a disassembly must have instructions, got none")
    return found


def counts(found: Iterable[Instruction]) -> dict[str, int]:
    """Return the number of instructions of each of the `FAMILIES`.

    >>> counts(instructions("/*0000*/ STG.E.128 desc[UR4][R2.64], R4 ;"))["STG.128"]
    1
    """
    numbers = dict.fromkeys(FAMILIES, 0)
    for instruction in found:
        for family, is_one in FAMILIES.items():
            numbers[family] += is_one(instruction)
    return numbers


def target(text: str) -> str:
    """Return the processors that the code is for, such as ``sm_90a``.

    Raises
    ------
    ValueError
        If the disassembly does not say.
    """
    match = TARGET.search(text)
    if not match:
        raise ValueError("a disassembly must name its target, got none")
    return match[1]
