"""The parser from PTX text to a kernel, which refuses everything that it does not understand."""

from __future__ import annotations

import re

from numba_kernels.selfcheck.ptx.faults import NotUnderstood
from numba_kernels.selfcheck.ptx.liveness import find_inputs_and_outputs
from numba_kernels.selfcheck.ptx.program import REGISTER_DTYPES, Block, Instruction, Kernel

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)

ENTRY = re.compile(r"\.visible\s+\.entry\s+(?P<name>\w+)\s*\((?P<parameters>[^)]*)\)\s*\{", re.DOTALL)

PARAMETER = re.compile(r"\.param\s+\.(?P<type>[usbf](?:8|16|32|64))\s+(?P<name>\w+)")

HEADER = re.compile(r"\.(version|target|address_size)\s+[\w.]+")

REGISTERS = re.compile(r"\.reg\s+\.(?P<type>\w+)\s+(?P<prefix>%[a-z]+)<\d+>")

SHARED = re.compile(r"\.shared\s+\.align\s+(?P<align>\d+)\s+\.b8\s+(?P<name>\w+)\[(?P<size>\d+)\]")

LABEL = re.compile(r"(\$?\w+)\s*:")

INSTRUCTION = re.compile(
    r"(?:@(?P<guard>!?%p\d+)\s+)?(?P<opcode>[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)(?:\s+(?P<operands>\S.*))?"
)

OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^,{}\[\]]+")

ENDS = ("bra", "bra.uni", "ret", "bar.sync")
"""The opcodes that end a basic block."""


def parse(text: str) -> Kernel:
    """Return the only kernel of a text in PTX.

    Raises
    ------
    NotUnderstood
        If there is not exactly one kernel, or if the text has anything that the compilers of Numba's kernels
        do not write.

    Examples
    --------
    >>> kernel = parse(".version 9.0 .visible .entry k(.param .u64 k_param_0) { ret; }")
    >>> kernel.entry, kernel.instructions
    ('k', 1)
    """
    text = COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text.replace("\0", ""))
    entries = list(ENTRY.finditer(text))
    if len(entries) != 1:
        raise NotUnderstood(f"a text must have one kernel, got {len(entries)}")
    (entry,) = entries
    end = text.rfind("}")
    outside = HEADER.sub("", text[: entry.start()]) + text[end + 1 :]
    if outside.strip():
        raise NotUnderstood(f"outside of a kernel nothing can be, got {outside.strip()[:60]!r}")
    kernel = Kernel(entry["name"])
    _read_parameters(kernel, entry["parameters"])
    _read_body(kernel, text[entry.end() : end], text.count("\n", 0, entry.end()) + 1)
    find_inputs_and_outputs(kernel)
    return kernel


def _read_parameters(kernel: Kernel, text: str) -> None:
    offset = 0
    for part in filter(None, map(str.strip, text.split(","))):
        match = PARAMETER.fullmatch(part)
        if not match:
            raise NotUnderstood(f"a parameter must be one number, got {part!r}")
        size = int(match["type"][1:]) // 8
        offset = -(-offset // size) * size
        kernel.parameters[match["name"]] = offset, size
        offset += size


def _read_body(kernel: Kernel, text: str, line: int) -> None:
    kernel.blocks.append(Block(0))
    for statement, at in _statements(text, line):
        if statement.startswith(".pragma"):
            continue
        if statement.startswith("."):
            _declare(kernel, statement)
            continue
        label = LABEL.fullmatch(statement)
        if label:
            if kernel.blocks[-1].instructions:
                kernel.blocks.append(Block(len(kernel.blocks)))
            kernel.labels[label[1]] = len(kernel.blocks) - 1
            continue
        instruction = _instruction(statement, at)
        kernel.blocks[-1].instructions.append(instruction)
        if instruction.opcode in ENDS:
            kernel.blocks.append(Block(len(kernel.blocks)))
    while kernel.blocks and not kernel.blocks[-1].instructions:
        kernel.blocks.pop()
    if not kernel.blocks or kernel.blocks[-1].instructions[-1].opcode not in ("ret", "bra.uni"):
        raise NotUnderstood(f"{kernel.entry} must end with ret or bra.uni")


def _statements(text: str, line: int) -> list[tuple[str, int]]:
    """Return statements and labels with their line numbers; braces within them belong only to vectors."""
    found = []
    for match in re.finditer(r"\s*((?:\$?\w+\s*:)|(?:[^;:]+);)", text):
        start = match.start(1)
        found.append((match[1].rstrip(";").strip(), line + text.count("\n", 0, start)))
    rest = re.sub(r"\s*((?:\$?\w+\s*:)|(?:[^;:]+);)", "", text).strip()
    if rest:
        raise NotUnderstood(f"a statement must end with a semicolon, got {rest[:60]!r}")
    return found


def _declare(kernel: Kernel, statement: str) -> None:
    registers = REGISTERS.fullmatch(statement)
    if registers and registers["type"] in REGISTER_DTYPES:
        kernel.registers[registers["prefix"]] = REGISTER_DTYPES[registers["type"]]
        return
    shared = SHARED.fullmatch(statement)
    if not shared:
        raise NotUnderstood(f"a declaration must be of registers or shared memory, got {statement!r}")
    align, size = int(shared["align"]), int(shared["size"])
    offset = -(-kernel.shared_bytes // align) * align
    kernel.shared[shared["name"]] = offset, size
    kernel.shared_bytes = offset + size


def _instruction(statement: str, line: int) -> Instruction:
    match = INSTRUCTION.fullmatch(" ".join(statement.split()))
    if not match:
        raise NotUnderstood(f"line {line} must be an instruction, got {statement!r}")
    operands = tuple(part.strip() for part in OPERAND.findall(match["operands"] or "") if part.strip())
    instruction = Instruction(match["opcode"], operands, match["guard"] or "", line)
    if instruction.guard and instruction.opcode != "bra":
        raise NotUnderstood(f"line {line}: only bra can have a predicate, got {instruction}")
    return instruction
