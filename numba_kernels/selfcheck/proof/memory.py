"""The memory that a kernel reads and writes: the meaning of addresses, and the values written there.

The tables are those of ``cpu/plan.py``. The arrays of one row overlap neither one another nor the tables; the
optimizers check this before each call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numba_kernels.selfcheck.proof.expressions import DOUBLE, Expressions, Node, parts
from numba_kernels.selfcheck.proof.integers import MANY, Affine, Facts
from numba_kernels.selfcheck.proof.llvm.instructions import NotUnderstood, Type
from numba_kernels.selfcheck.proof.llvm.opcodes import SIZES, Vector, kind_of
from numba_kernels.shared import slots

ARRAYS = {
    slots.VARIABLE: "variable",
    slots.GRADIENT: "gradient",
    slots.VELOCITY: "velocity",
    slots.AVERAGE: "average",
    slots.ACCUMULATOR: "accumulator",
}
"""The array in each column of the table of addresses."""

SETTINGS = {
    slots.LOSS_SCALE: "loss_scale",
    slots.STEPS: "steps",
    slots.HIGHEST: "highest",
    slots.WEIGHT_DECAY: "weight_decay",
    slots.LEARNING_RATE: "learning_rate",
    slots.MOMENTUM: "momentum",
    slots.EMA_MOMENTUM: "ema_momentum",
    slots.EMA_COMPLEMENT: "ema_complement",
    slots.FIRST_AVERAGE: "first_average",
    slots.OVERWRITE: "overwrite",
}
"""The setting in each slot."""

FACTORS = ("factor", "divisor")
CHUNK = ("row", "start", "count")
TABLES = ("table", "chunks", "settings", "factors", "decays")

PRESENT, MISSING, INDIRECT = "present", "missing", "indirect"


class Situation(NamedTuple):
    """The flags about a call and a row that a kernel is given, apart from numbers.

    Attributes
    ----------
    gradient : str
        PRESENT, MISSING or INDIRECT.
    decays, is_first_average, overwrites : bool
        The flags.
    """

    gradient: str = PRESENT
    decays: bool = False
    is_first_average: bool = False
    overwrites: bool = False

    def __str__(self) -> str:
        flags = [name for name in self._fields[1:] if getattr(self, name)]
        return ", ".join([f"gradient {self.gradient}", *flags])


class Access(NamedTuple):
    """Elements that one instruction reads or writes.

    Attributes
    ----------
    array : str
        The name of the array.
    first : Affine
        The index of the first element.
    lanes : int
        The number of elements.
    node : Node or None
        The value that is written; None for reading.
    is_vector : bool
        Whether the node has a leaf ``elements``, with one number in each lane.
    """

    array: str
    first: Affine
    lanes: int
    node: Node | None
    is_vector: bool


class Written(NamedTuple):
    """A range of elements that have been written.

    Attributes
    ----------
    array : str
        The name of the array.
    low, high : Affine
        The index of the first element, and the first index after the range.
    nodes : tuple of Node
        The written values: one expression in terms of the elements with the same index (``own``), or several
        expressions.
    """

    array: str
    low: Affine
    high: Affine
    nodes: tuple[Node, ...]


@dataclass
class Memory:
    """The knowledge of memory on one path through a kernel.

    Attributes
    ----------
    accesses : list of Access
        The accesses of the present iteration of a loop.
    written : list of Written
        The ranges written in the present chunk.
    read : list of tuple
        The arrays and ranges that were read in the present chunk.
    local : dict of str to object
        The values of the local variables of the kernel.
    chunk : Affine or None
        The index of the present chunk.
    mode : str
        The mode of floating-point arithmetic: "of the caller", "default" or "left".
    """

    accesses: list[Access] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    local: dict[str, Any] = field(default_factory=dict)
    chunk: Affine | None = None
    mode: str = "of the caller"

    def copy(self) -> Memory:
        """Return an independent copy."""
        return Memory(list(self.accesses), list(self.written), dict(self.local), self.chunk, self.mode)


class Places:
    """The meaning of addresses in one kernel.

    Parameters
    ----------
    e : Expressions
        The expressions in which leaves are made.
    itemsize : int
        The size of an element in bytes.
    situation : Situation
        The flags in the tables.

    Attributes
    ----------
    told : int
        The number of reads whose result depends on the situation.
    """

    def __init__(self, e: Expressions, itemsize: int, situation: Situation) -> None:
        self._e, self._itemsize, self.situation = e, itemsize, situation
        self.told = 0

    def load(self, memory: Memory, facts: Facts, address: Affine, type_: Type) -> Any:
        """Return the value at an address."""
        base, rest = self._place(facts.resolved(address))
        if base in memory.local:
            return memory.local[base]
        if base in ARRAYS.values():
            return self._load_elements(memory, base, self._index(rest, facts), type_)
        read = {
            "chunks": self._load_chunk,
            "table": self._load_address,
            "settings": self._load_setting,
            "factors": self._load_factor,
            "decays": self._load_flag,
        }.get(base)
        if read is None or type_.lanes:
            raise NotUnderstood(f"a load of {type_.name} from {address}")
        return read(memory, facts, rest, type_)

    def store(self, memory: Memory, facts: Facts, address: Affine, type_: Type, value: Any) -> None:
        """Write a value."""
        base, rest = self._place(facts.resolved(address))
        if base in memory.local:
            memory.local[base] = value
            return
        if base == "%retptr":
            return
        if base not in ARRAYS.values() or base == "gradient":
            raise NotUnderstood(f"a store of {type_.name} into {base} at {address}")
        self._check_size(type_)
        index = self._index(rest, facts)
        if isinstance(value, Node):
            self._put(memory, Access(base, index, 1, value, False))
        elif isinstance(value, Vector):
            self._put(memory, Access(base, index, value.lanes, value.node, True))
        elif isinstance(value, tuple):
            for lane, node in enumerate(value):
                self._put(memory, Access(base, index + Affine.constant(lane), 1, node, False))
        else:
            raise NotUnderstood(f"a store of an index into {base}")

    def _put(self, memory: Memory, access: Access) -> None:
        if memory.mode != "default":
            raise NotUnderstood(f"{access.array} is written in a floating-point mode that is {memory.mode}")
        for other in memory.accesses:
            if other.node is not None and _may_meet(other, access):
                raise NotUnderstood(f"{access.array}[{access.first}] is written twice in one iteration")
        memory.accesses.append(access)

    def _place(self, address: Affine) -> tuple[str, Affine]:
        bases = [
            unknown for unknown, factor in address.terms if unknown.startswith(("%", "@")) and factor == 1
        ]
        if len(bases) != 1:
            raise NotUnderstood(f"an address in no array: {address}")
        (base,) = bases
        return base.removeprefix("@"), address.without(base)

    def _index(self, rest: Affine, facts: Facts) -> Affine:
        """Return the index of an element in its chunk, from its distance in bytes from the first element."""
        start = facts.resolved(Affine.of("start")).times(self._itemsize)
        index = (rest - start).divided(self._itemsize)
        if index is None:
            raise NotUnderstood(f"an address within an element: {rest} bytes")
        return index

    def _check_size(self, type_: Type) -> None:
        if SIZES[type_.name] != self._itemsize:
            raise NotUnderstood(f"elements of {self._itemsize} bytes are taken for {type_.name}")

    def _load_elements(self, memory: Memory, array: str, index: Affine, type_: Type) -> Any:
        self._check_size(type_)
        if array == "gradient" and self.situation.gradient != PRESENT:
            raise NotUnderstood("a gradient is read that is not there")
        lanes = type_.lanes or 1
        access = Access(array, index, lanes, None, bool(type_.lanes))
        memory.accesses.append(access)
        kind = kind_of(type_)
        for other in memory.accesses:
            if other.node is not None and _may_meet(other, access):
                if (other.first, other.lanes, other.is_vector) != (index, lanes, access.is_vector):
                    raise NotUnderstood(f"{array}[{index}] is read, and was written in another piece")
                return Vector(lanes, other.node) if type_.lanes else other.node
        if type_.lanes:
            return Vector(lanes, self._e.raw("elements", kind, array, index))
        return self._e.raw("element", kind, array, index)

    def _load_chunk(self, memory: Memory, facts: Facts, rest: Affine, type_: Type) -> Any:
        field_ = (rest.offset % 24) // 8
        index = (rest - Affine.constant(8 * field_)).divided(24)
        if index is None or memory.chunk not in (None, index):
            raise NotUnderstood(f"the table of chunks is read at {rest} bytes, in chunk {memory.chunk}")
        memory.chunk = index
        return Affine.of(CHUNK[field_])

    def _load_address(self, memory: Memory, facts: Facts, rest: Affine, type_: Type) -> Any:
        column = self._in_row(facts, rest, 8 * slots.COLUMNS)
        if column % 8 or column // 8 not in ARRAYS:
            raise NotUnderstood(f"the table of addresses is read at {rest} bytes")
        array = ARRAYS[column // 8]
        self.told += 1
        if array == "gradient" and self.situation.gradient != PRESENT:
            return Affine.constant(slots.MISSING if self.situation.gradient == MISSING else slots.INDIRECT)
        return facts.let(f"@{array}", 4096, MANY)

    def _load_setting(self, memory: Memory, facts: Facts, rest: Affine, type_: Type) -> Any:
        if (
            not rest.is_constant
            or rest.offset % 8
            or rest.offset // 8 not in SETTINGS
            or type_.name != "double"
        ):
            raise NotUnderstood(f"a setting is read at {rest} bytes as {type_.name}")
        name = SETTINGS[rest.offset // 8]
        self.told += name in ("first_average", "overwrite")
        if name == "first_average":
            return self._e.number(DOUBLE, float(self.situation.is_first_average))
        if name == "overwrite":
            return self._e.number(DOUBLE, float(self.situation.overwrites))
        return self._e.make("slot", DOUBLE, name)

    def _load_factor(self, memory: Memory, facts: Facts, rest: Affine, type_: Type) -> Any:
        place = self._in_row(facts, rest, 8 * len(FACTORS))
        if place % 8 or type_.name != "double":
            raise NotUnderstood(f"a factor is read at {rest} bytes as {type_.name}")
        return self._e.make("factor", DOUBLE, FACTORS[place // 8])

    def _load_flag(self, memory: Memory, facts: Facts, rest: Affine, type_: Type) -> Any:
        self.told += 1
        if self._in_row(facts, rest, 1) or type_.name != "i8":
            raise NotUnderstood(f"the flag for decay is read at {rest} bytes as {type_.name}")
        return self._e.constant("i8", int(self.situation.decays))

    def _in_row(self, facts: Facts, rest: Affine, size: int) -> int:
        place = rest - facts.resolved(Affine.of("row")).times(size)
        if not place.is_constant or not 0 <= place.offset < size:
            raise NotUnderstood(f"a table is read at {rest} bytes, in another row than that of the chunk")
        return place.offset


def _may_meet(first: Access, second: Access) -> bool:
    """Whether two accesses of one iteration may have an element in common."""
    if first.array != second.array:
        return False
    distance = second.first - first.first
    if not distance.is_constant:
        return True
    return -second.lanes < distance.offset < first.lanes


def in_own_terms(e: Expressions, facts: Facts, access: Access) -> Node:
    """Return a written value in which ``own`` stands for the elements with the index of the result.

    Other elements get a relative index: the distance from the index of the result.
    """
    assert access.node is not None
    replaced = {}
    for part in parts(access.node):
        if part.op in ("element", "elements"):
            array, index = part.args
            distance = facts.resolved(index - access.first)
            is_own = distance == Affine.constant(0) and (part.op == "elements") == access.is_vector
            if is_own:
                replaced[part] = e.raw("own", part.kind, array)
            else:
                shown = (
                    f"i + {distance}"
                    if (part.op == "elements") == access.is_vector
                    else f"the same for all, {index}"
                )
                replaced[part] = e.raw("element", part.kind, array, shown)
    return e.substituted(access.node, replaced)
