"""Another interpreter of PTX: it replays a dump, and shares no code with the one that wrote it.

It is as plain as possible, and slow: one thread after the other up to the next barrier, one instruction after
the other, each number a Python integer with its bits. ``python second_interpreter.py FOLDER`` replays all
launches of a folder that ``sgd-ref check --device ptx --dump FOLDER`` wrote.
"""

from __future__ import annotations

import base64
import ctypes
import json
import math
import random
import re
import struct
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

SHARED = 1 << 20

NAN = {"f16": 0x7FFF, "f32": 0x7FFFFFFF, "f64": 0xFFF8000000000000}

FORMS = {"f16": ("<e", "<H"), "f32": ("<f", "<I"), "f64": ("<d", "<Q")}


def width(kind: str) -> int:
    """Return the bits of a type such as ``u32``."""
    return 1 if kind == "pred" else int(kind[1:])


def signed(bits: int, kind: str) -> int:
    """Return the integer that some bits stand for."""
    size = width(kind)
    return bits - (1 << size) if kind[0] == "s" and bits >> (size - 1) else bits


def number(bits: int, kind: str) -> float:
    """Return the floating-point number that some bits stand for."""
    real, integer = FORMS[kind]
    return float(struct.unpack(real, struct.pack(integer, bits))[0])


def written(x: float, kind: str) -> int:
    """Return the bits of a number, rounded to nearest."""
    if math.isnan(x):
        return NAN[kind]
    if kind == "f32":
        x = ctypes.c_float(x).value
    real, integer = FORMS[kind]
    try:
        return int(struct.unpack(integer, struct.pack(real, x))[0])
    except OverflowError:
        return int(struct.unpack(integer, struct.pack(real, math.copysign(math.inf, x)))[0])


def fused(a: float, b: float, c: float, kind: str) -> int:
    """Return the bits of ``a * b + c``, rounded once."""
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        plain = c if math.isfinite(a) and math.isfinite(b) else a * b + c
        return written(plain, kind)
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if not exact:
        return written(a * b + c if a * b == 0 else 0.0, kind)
    try:
        near = exact.numerator / exact.denominator
    except OverflowError:
        return written(math.copysign(math.inf, exact), kind)
    # A second rounding is right if the first one was to an odd number.
    if kind == "f32" and Fraction(near) != exact and not written(near, "f64") & 1:
        near = math.nextafter(near, math.inf if exact > Fraction(near) else -math.inf)
    return written(near, kind)


def divided(a: float, b: float) -> float:
    """Return a quotient as in IEEE 754."""
    if b:
        return a / b
    return math.nan if not a or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def root(a: float) -> float:
    """Return a square root, NaN for negative numbers."""
    return math.sqrt(a) if a >= 0 else math.nan


def extreme(a: float, b: float, sign: int) -> float:
    """Return the larger number for 1, the smaller for -1; a number rather than NaN."""
    if math.isnan(a) or math.isnan(b):
        return b if math.isnan(a) else a
    return max(a, b, key=lambda x: (sign * x, sign * math.copysign(1.0, x)))


REAL: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": divided,
    "sqrt": root,
    "rcp": lambda a: divided(1.0, a),
    "min": lambda a, b: extreme(a, b, -1),
    "max": lambda a, b: extreme(a, b, 1),
}

WHOLE: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul.lo": lambda a, b: a * b,
    "mul.wide": lambda a, b: a * b,
    "mad.lo": lambda a, b, c: a * b + c,
    "min": min,
    "max": max,
    "neg": lambda a: -a,
    "abs": abs,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "not": lambda a: ~a,
    "mov": lambda a: a,
    "popc": lambda a: a.bit_count(),
}

COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lo": lambda a, b: a < b,
    "ls": lambda a, b: a <= b,
    "hi": lambda a, b: a > b,
    "hs": lambda a, b: a >= b,
}


def compared(name: str, kind: str, first: int, second: int) -> bool:
    """Return the result of ``setp``."""
    if kind[0] != "f":
        return COMPARED[name](signed(first, kind), signed(second, kind))
    a, b = number(first, kind), number(second, kind)
    odd = math.isnan(a) or math.isnan(b)
    if name in ("num", "nan"):
        return odd == (name == "nan")
    if name.endswith("u"):
        return odd or COMPARED[name[:-1]](a, b)
    return not odd and COMPARED[name](a, b)


def directed(x: float, up: bool) -> int:
    """Return the bits of the next float32 that is not below, or not above, a number."""
    bits = written(x, "f32")
    near = number(bits, "f32")
    if math.isnan(x) or near == x or (near > x) == up:
        return bits
    if not bits & 0x7FFFFFFF:
        return 1 if up else 0x80000001
    return bits + (1 if up == (bits >> 31 == 0) else -1)


def bfloat16(bits: int) -> int:
    """Return the bits of the nearest bfloat16 to a float32."""
    if math.isnan(number(bits, "f32")):
        return 0x7FFF
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def converted(parts: list[str], given: list[int]) -> int:  # noqa: PLR0911
    """Return the result of ``cvt``."""
    *how, target, source = parts
    if target == "bf16x2":
        return bfloat16(given[0]) << 16 | bfloat16(given[1])
    (bits,) = given
    if target[0] == "f" and source[0] == "f":
        if how in (["rm"], ["rp"]):
            return directed(number(bits, source), how == ["rp"])
        return written(number(bits, source), target)
    if target[0] == "f":
        exact = Fraction(signed(bits, source))
        return (
            fused(float(exact), 1.0, 0.0, target) if abs(exact) < 1 << 53 else written(float(exact), target)
        )
    if source[0] == "f":
        real = number(bits, source)
        limits = (-1 << (width(target) - 1), (1 << (width(target) - 1)) - 1)
        if target[0] == "u":
            limits = (0, (1 << width(target)) - 1)
        if math.isnan(real):
            return 0 if width(target) < 64 else 1 << 63
        if math.isinf(real):
            return limits[real > 0]
        return max(limits[0], min(limits[1], int(real)))
    return signed(bits, source)


def whole(name: str, kind: str, given: list[int]) -> int:  # noqa: PLR0911
    """Return the result of an operation on integers or bits."""
    size = width(kind)
    if name in ("shl", "shr"):
        amount = min(given[1], size)
        return given[0] << amount if name == "shl" else signed(given[0], kind) >> amount
    if name == "clz":
        return size - given[0].bit_length()
    if name == "selp":
        return given[0] if given[2] else given[1]
    if name == "bfi":
        source, target, start, count = given
        mask = ((1 << min(count & 255, size)) - 1) << min(start & 255, size)
        return (target & ~mask) | (source << min(start & 255, size) & mask)
    numbers = [signed(bits, kind) for bits in given]
    if name == "mul.hi":
        return numbers[0] * numbers[1] >> size
    if name in ("div", "rem"):
        quotient = abs(numbers[0]) // abs(numbers[1]) * (1 if (numbers[0] < 0) == (numbers[1] < 0) else -1)
        return quotient if name == "div" else numbers[0] - quotient * numbers[1]
    return WHOLE[name](*numbers)


class Memory:
    """The allocations of a launch."""

    def __init__(self, allocations: list[dict[str, Any]], generator: random.Random) -> None:
        self.blocks = []
        for kept in allocations:
            content = bytearray(base64.b64decode(kept["before"]))
            for first, end in kept["unwritten"]:
                content[first:end] = generator.randbytes(end - first)
            self.blocks.append((kept["address"], content))

    def place(self, address: int, size: int) -> tuple[bytearray, int]:
        """Return the allocation of some bytes, and their offset in it."""
        for start, content in self.blocks:
            if start <= address and address + size <= start + len(content):
                return content, address - start
        raise IndexError(f"{size} bytes at {address:#x} are in no allocation")


class Replay:
    """One launch.

    Parameters
    ----------
    text : str
        The PTX of the kernel.
    launch : dict
        The content of a file of the dump.
    seed : int
        The seed of all that the launch may not depend on.
    """

    def __init__(self, text: str, launch: dict[str, Any], seed: int = 0) -> None:
        self.generator = random.Random(seed)
        self.launch = launch
        self.memory = Memory(launch["memory"], self.generator)
        text = re.sub(r"//[^\n]*", "", text)
        head, body = text[text.index(".entry") :].split("{", 1)
        names = re.findall(r"\.param\s+\.[a-z]64\s+(\w+)", head)
        self.parameters = dict(zip(names, launch["arguments"], strict=True))
        self.shared, end = {}, SHARED
        for align, name, size in re.findall(r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+(\w+)\[(\d+)\]", body):
            self.shared[name] = end = -(-end // int(align)) * int(align)
            end += int(size)
        self.shared_bytes = end - SHARED
        self.labels: dict[str, int] = {}
        self.program: list[tuple[list[str], list[str], str]] = []
        for statement in re.findall(r"[$\w]+\s*:|[^;:]+;", body.rpartition("}")[0]):
            words = " ".join(statement.split()).rstrip(";").strip()
            if words.endswith(":"):
                self.labels[words[:-1].strip()] = len(self.program)
            elif words and not words.startswith("."):
                self._add(words)

    def _add(self, words: str) -> None:
        guard, _, rest = words.partition(" ") if words.startswith("@") else ("", "", words)
        opcode, _, operands = rest.partition(" ")
        found = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", operands)
        self.program.append((opcode.split("."), found, guard.lstrip("@")))

    def run(self) -> list[str]:
        """Execute the launch, and return the differences from the dump."""
        waiting = []
        for block in range(self.launch["blocks"]):
            shared = bytearray(self.generator.randbytes(self.shared_bytes))
            waiting.append([self._thread(block, thread, shared) for thread in range(self.launch["threads"])])
        # Whole blocks in any order, and within a block any thread first.
        self.generator.shuffle(waiting)
        for threads in waiting:
            alive = threads
            while alive:
                self.generator.shuffle(alive)
                alive = [thread for thread in alive if next(thread, "ended") == "barrier"]
        return list(self._differences())

    def _differences(self) -> Iterator[str]:
        for kept, (address, content) in zip(self.launch["memory"], self.memory.blocks, strict=True):
            before = base64.b64decode(kept["before"])
            after = before if kept["after"] is None else base64.b64decode(kept["after"])
            unwritten = {place for first, end in kept["unwritten"] for place in range(first, end)}
            for place, (got, wanted) in enumerate(zip(content, after, strict=True)):
                # Neither before nor by the launch.
                nobody_wrote = place in unwritten and wanted == before[place]
                if got != wanted and not nobody_wrote:
                    yield f"{self.launch['kernel']}: byte {place} at {address:#x} is {got}, not {wanted}"

    def _thread(self, block: int, thread: int, shared: bytearray) -> Iterator[str]:
        state: dict[str, int] = {
            "%tid.x": thread,
            "%ctaid.x": block,
            "%ntid.x": self.launch["threads"],
            "%nctaid.x": self.launch["blocks"],
            **self.shared,
        }
        place = 0
        while True:
            parts, operands, guard = self.program[place]
            place += 1
            if guard and bool(state[guard.lstrip("!")]) == guard.startswith("!"):
                continue
            if parts[0] == "bra":
                place = self.labels[operands[0]]
            elif parts[0] == "ret":
                return
            elif parts[0] == "bar":
                yield "barrier"
            elif parts[0] in ("ld", "st", "atom"):
                self._access(parts, operands, state, shared)
            elif parts[0] != "membar":
                state[operands[0]] = self._computed(parts, operands, state) & ((1 << self._room(parts)) - 1)

    @staticmethod
    def _room(parts: list[str]) -> int:
        """Return the bits of the register for a result."""
        if parts[0] == "setp":
            return 1
        if parts[0] in ("clz", "popc"):
            return 32
        if parts[0] == "cvt":
            return 32 if "bf16x2" in parts else width(parts[-2])
        return width(parts[-1]) * (2 if parts[:2] == ["mul", "wide"] else 1)

    def _computed(self, parts: list[str], operands: list[str], state: dict[str, int]) -> int:  # noqa: PLR0911
        name, kind = parts[0], parts[-1]
        if operands[1].startswith("{"):
            low, high = (self._value(each, "b16", state) for each in operands[1].strip("{} ").split(","))
            return low | high << 16
        kinds = [kind] * (len(operands) - 1)
        if name in ("shl", "shr"):
            kinds[1] = "u32"
        if name == "selp":
            kinds[2] = "pred"
        if name == "bfi":
            kinds[2:] = ["u32", "u32"]
        given = [self._value(text, each, state) for text, each in zip(operands[1:], kinds, strict=True)]
        if name == "setp":
            return compared(parts[1], kind, *given)
        if name == "cvt":
            return converted(parts[1:], given)
        if kind[0] == "f" and name in ("neg", "abs"):
            top = 1 << (width(kind) - 1)
            return given[0] ^ top if name == "neg" else given[0] & ~top
        if kind[0] == "f" and name == "fma":
            return fused(*(number(bits, kind) for bits in given), kind)
        if kind[0] == "f" and name in REAL:
            return written(REAL[name](*(number(bits, kind) for bits in given)), kind)
        long = ".".join(parts[:2])
        return whole(long if long in WHOLE or long == "mul.hi" else name, kind, given)

    def _value(self, text: str, kind: str, state: dict[str, int]) -> int:
        text = text.strip()
        if text in state:
            return state[text]
        if text.startswith("%"):
            # A register that nobody wrote.
            return state.setdefault(text, self.generator.getrandbits(64) & ((1 << width(kind)) - 1))
        if re.fullmatch(r"0[fFdD][0-9A-Fa-f]+", text):
            return int(text[2:], 16)
        return int(text.rstrip("U"), 0) & ((1 << width(kind)) - 1)

    def _access(
        self, parts: list[str], operands: list[str], state: dict[str, int], shared: bytearray
    ) -> None:
        kind = parts[-1]
        size = width(kind) // 8
        if parts[:2] == ["ld", "param"]:
            state[operands[0]] = self.parameters[operands[1].strip("[] ")]
            return
        (where,) = (text for text in operands if text.startswith("["))
        base, _, offset = where.strip("[] ").partition("+")
        address = (self._value(base, "u64", state) + int(offset or 0)) % (1 << 64)
        numbers = operands[1 if parts[0] == "st" else 0].strip("{}").split(",")
        if address % (size * len(numbers)):
            raise ValueError(f"{address:#x} is no multiple of {size * len(numbers)}")
        if parts[1] == "shared":
            content, start = shared, address - SHARED
            if not 0 <= start <= len(shared) - size:
                raise IndexError(f"{start} is outside of shared memory")
        else:
            content, start = self.memory.place(address, size * len(numbers))
        if parts[0] == "atom":
            before = int.from_bytes(content[start : start + 8], "little")
            amount = self._value(operands[2], "u64", state)
            content[start : start + 8] = ((before + amount) % (1 << 64)).to_bytes(8, "little")
            state[operands[0]] = before
            return
        for lane, text in enumerate(numbers):
            here = slice(start + lane * size, start + (lane + 1) * size)
            if parts[0] == "ld":
                state[text.strip()] = int.from_bytes(content[here], "little")
            else:
                kept = self._value(text, kind, state) & ((1 << width(kind)) - 1)
                content[here] = kept.to_bytes(size, "little")


def differences(folder: Path, seed: int = 0) -> Iterator[tuple[Path, list[str]]]:
    """Yield each launch of a dump with its differences."""
    for path in sorted((folder / "launches").glob("*.json")):
        launch = json.loads(path.read_text(encoding="utf-8"))
        text = (folder / "kernels" / f"{launch['kernel']}.ptx").read_text(encoding="utf-8")
        yield path, Replay(text, launch, seed).run()


if __name__ == "__main__":
    found = dict(differences(Path(sys.argv[1])))
    wrong = {path: lines for path, lines in found.items() if lines}
    for path, lines in wrong.items():
        sys.stdout.write(f"{path.name}: {len(lines)} bytes differ, first {lines[0]}\n")
    sys.stdout.write(f"{len(found) - len(wrong)} of {len(found)} launches have the same bytes\n")
    sys.exit(bool(wrong) or not found)
