"""The text of one function of LLVM, as blocks of instructions.

Only the instructions in the kernels are understood. Anything else is refused, and so is every permission to
change floating-point results (``fast``, ``contract``, ``nnan`` and so on).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Any

from numba_kernels.selfcheck.proof.llvm.instructions import (
    Function,
    Instruction,
    NotUnderstood,
    Operand,
    Type,
)

FAST = {"fast", "nnan", "ninf", "nsz", "arcp", "contract", "afn", "reassoc"}
"""Flags that let LLVM change floating-point results."""

HARMLESS = {
    "nsw",
    "nuw",
    "exact",
    "disjoint",
    "nneg",
    "samesign",
    "inbounds",
    "nusw",
    "tail",
    "musttail",
    "notail",
}
"""Flags by which LLVM states facts that it has derived itself; if a stated condition does not hold, there is
no result."""

LOOSE_ATTRIBUTES = re.compile(
    r'"(?:unsafe-fp-math|no-nans-fp-math|no-infs-fp-math|no-signed-zeros-fp-math|approx-func-fp-math)"="true"'
    r'|"denormal-fp-math(?:-f32)?"="(?!ieee)|"fp-contract"="fast"|\bstrictfp\b'
)
"""Attributes of functions that let LLVM change floating-point results."""

_TOKEN = re.compile(
    r'[%@]"[^"]*"|[%@][-\w.$]+'
    r"|0x[HKLMR]?[0-9A-Fa-f]+|-?\d+\.\d+(?:e[+-]?\d+)?|-?\d+"
    r'|[\w.]+|"[^"]*"|[<>\[\]{}(),=*!#]'
)


def function_of_kernel(module: str) -> Function:
    """Return the function of a kernel from the optimised module that Numba made for it.

    Raises
    ------
    NotUnderstood
        If there is not exactly one such function, or if a part of it is not understood.
    """
    loose = LOOSE_ATTRIBUTES.search(module)
    if loose:
        raise NotUnderstood(f"the module lets LLVM change results: {loose.group()}")
    found = []
    for part in re.split(r"^define ", module, flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("{\n")
        # Numba's calling convention, which neither the wrapper for Python nor the wrapper for C has.
        if "%excinfo" in head:
            found.append((head, body.partition("\n}")[0]))
    if len(found) != 1:
        raise NotUnderstood(
            f"the module has {len(found)} functions with Numba's convention of calls, not one"
        )
    ((head, body),) = found
    arguments = re.findall(r'%(?:"[^"]*"|[-\w.$]+)', head)
    return Function([_name(argument) for argument in arguments], dict(_blocks(body)))


def _name(token: str) -> str:
    return token.replace('"', "")


def _blocks(body: str) -> Iterator[tuple[str, list[Instruction]]]:
    label, lines = "0", list[Instruction]()
    for line in body.splitlines():
        text = line.partition(" ;")[0].rstrip() if not line.startswith(";") else ""
        if not text.strip():
            continue
        if not text.startswith(" "):
            if lines:
                yield label, lines
            label, lines = _name(text.rpartition(":")[0]), []
            continue
        if text.startswith("    "):
            # A switch table extends over several lines.
            raise NotUnderstood(f"a line that continues another one: {text.strip()}")
        lines.append(_Line(text.strip()).instruction())
    yield label, lines


class _Line:
    """The text of one instruction, read from the left."""

    def __init__(self, text: str) -> None:
        self._text = text
        # The text after such a sign is metadata for other parts of LLVM.
        self._tokens = _TOKEN.findall(re.split(r", !\w", text)[0])
        self._place = 0

    def instruction(self) -> Instruction:
        result = None
        if self._peek(1) == "=":
            result = _name(self._next())
            self._next()
        op = self._next()
        while op in HARMLESS:
            op = self._next()
        reader = _READERS.get(op)
        if reader is None:
            raise self._unknown(f"the opcode {op}")
        found: Instruction = reader(self, op)
        found.result, found.text = result, self._text
        return found

    def _unknown(self, what: str) -> NotUnderstood:
        return NotUnderstood(f"{what} is not known to the prover: {self._text}")

    def _peek(self, ahead: int = 0) -> str:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise self._unknown("this end")
        self._place += 1
        return token

    def _take(self, token: str) -> None:
        if self._next() != token:
            raise self._unknown(f"the place of {token}")

    def _flags(self) -> None:
        while (word := self._peek()) in HARMLESS | FAST:
            if word in FAST:
                raise NotUnderstood(f"the flag {word} lets LLVM change the result: {self._text}")
            self._next()

    def _type(self) -> Type:
        token = self._next()
        if token == "<":
            lanes = self._next()
            if not lanes.isdigit():
                raise self._unknown("a vector of unknown length")
            self._take("x")
            element = self._next()
            self._take(">")
            return Type(element, int(lanes))
        if not re.fullmatch(r"i\d+|half|float|double|ptr|void", token):
            raise self._unknown(f"the type {token}")
        return Type(token)

    def _typed(self) -> Operand:
        return self._operand(self._type())

    def _operand(self, type_: Type) -> Operand:
        while self._peek() in ("noundef", "nonnull", "writeonly", "readonly", "align", "signext", "zeroext"):
            if self._next() == "align":
                self._next()
        token = self._next()
        if token[0] == "%":
            return Operand(type_, "name", _name(token))
        if token[0] == "@":
            return Operand(type_, "global", _name(token))
        if token in ("poison", "undef"):
            return Operand(type_, "poison")
        if token == "splat":
            self._take("(")
            inner = self._typed()
            self._take(")")
            return Operand(type_, "splat", inner)
        if token == "<":
            lanes = [self._typed()]
            while self._peek() == ",":
                self._next()
                lanes.append(self._typed())
            self._take(">")
            return Operand(type_, "lanes", lanes)
        if type_.lanes and token == "zeroinitializer":
            return Operand(type_, "splat", Operand(Type(type_.name), "bits", 0))
        return Operand(type_, "bits", self._bits(type_, token))

    def _bits(self, type_: Type, token: str) -> int:
        if token in ("null", "false", "zeroinitializer"):
            return 0
        if token == "true":
            return 1
        if re.fullmatch(r"i\d+", type_.name) and re.fullmatch(r"-?\d+", token):
            return int(token)
        if type_.name == "half" and token.startswith("0xH"):
            return int(token[3:], 16)
        if type_.name in ("float", "double"):
            # LLVM writes a float as the double with the same value.
            wide = int(token, 16) if token.startswith("0x") else _bits_of_double(float(token))
            if type_.name == "double":
                return wide
            value = struct.unpack("<d", struct.pack("<Q", wide))[0]
            return int(struct.unpack("<I", struct.pack("<f", value))[0])
        raise self._unknown(f"the constant {token}")

    def _comma(self) -> None:
        self._take(",")

    def _binary(self, op: str) -> Instruction:
        self._flags()
        first = self._typed()
        self._comma()
        return Instruction(None, op, first.type, [first, self._operand(first.type)])

    def _unary(self, op: str) -> Instruction:
        self._flags()
        operand = self._typed()
        return Instruction(None, op, operand.type, [operand])

    def _comparison(self, op: str) -> Instruction:
        self._flags()
        predicate = self._next()
        first = self._typed()
        self._comma()
        second = self._operand(first.type)
        return Instruction(None, op, Type("i1", first.type.lanes), [first, second], (predicate,))

    def _conversion(self, op: str) -> Instruction:
        self._flags()
        operand = self._typed()
        self._take("to")
        return Instruction(None, op, self._type(), [operand], source=operand.type)

    def _several(self, op: str) -> Instruction:
        """Read select, insertelement, extractelement, shufflevector, store or fence."""
        self._flags()
        operands = [self._typed()]
        while self._peek() == "," and self._peek(1) != "align":
            self._next()
            operands.append(self._typed())
        return Instruction(None, op, operands[1 if op == "select" else 0].type, operands)

    def _load(self, op: str) -> Instruction:
        type_ = self._type()
        self._comma()
        return Instruction(None, op, type_, [self._typed()])

    def _store(self, op: str) -> Instruction:
        value = self._typed()
        self._comma()
        return Instruction(None, op, value.type, [value, self._typed()])

    def _address(self, op: str) -> Instruction:
        self._flags()
        source = self._type()
        self._comma()
        base = self._typed()
        self._comma()
        index = self._typed()
        if self._peek():
            raise self._unknown("an address with several indices")
        return Instruction(None, op, base.type, [base, index], source=source)

    def _phi(self, op: str) -> Instruction:
        self._flags()
        type_ = self._type()
        operands, labels = [], []
        while True:
            self._take("[")
            operands.append(self._operand(type_))
            self._comma()
            labels.append(_name(self._next())[1:])
            self._take("]")
            if self._peek() != ",":
                return Instruction(None, op, type_, operands, labels=tuple(labels))
            self._next()

    def _branch(self, op: str) -> Instruction:
        if self._peek() == "label":
            self._next()
            return Instruction(None, op, Type("void"), [], labels=(_name(self._next())[1:],))
        condition = self._typed()
        labels = []
        for _ in range(2):
            self._comma()
            self._take("label")
            labels.append(_name(self._next())[1:])
        return Instruction(None, op, Type("void"), [condition], labels=tuple(labels))

    def _return(self, op: str) -> Instruction:
        type_ = self._type()
        return Instruction(None, op, type_, [] if type_.name == "void" else [self._operand(type_)])

    def _call(self, op: str) -> Instruction:
        self._flags()
        while self._peek() in ("noundef", "nonnull", "fastcc", "noalias"):
            self._next()
        type_ = self._type()
        name = _name(self._next())
        if not name.startswith("@"):
            raise self._unknown("a call of an address")
        self._take("(")
        operands = []
        while self._peek() != ")":
            operands.append(self._typed())
            if self._peek() == ",":
                self._next()
        return Instruction(None, op, type_, operands, (name[1:],))

    def _alloca(self, op: str) -> Instruction:
        return Instruction(None, op, self._type(), [])

    def _unreachable(self, op: str) -> Instruction:
        return Instruction(None, op, Type("void"), [])


_READERS: dict[str, Any] = {}
for _ops, _reader in (
    ("fadd fsub fmul fdiv add sub mul and or xor shl lshr ashr", _Line._binary),
    ("fneg freeze", _Line._unary),
    ("icmp fcmp", _Line._comparison),
    ("fptrunc fpext bitcast zext sext trunc inttoptr ptrtoint", _Line._conversion),
    ("select insertelement extractelement shufflevector", _Line._several),
    ("load", _Line._load),
    ("store", _Line._store),
    ("getelementptr", _Line._address),
    ("phi", _Line._phi),
    ("br", _Line._branch),
    ("ret", _Line._return),
    ("call", _Line._call),
    ("alloca", _Line._alloca),
    ("unreachable", _Line._unreachable),
):
    _READERS |= dict.fromkeys(_ops.split(), _reader)

OPCODES = frozenset(_READERS)
"""All opcodes that are understood."""


def _bits_of_double(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])
