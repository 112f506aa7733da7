"""The memory in which a kernel is proven: tables of known numbers, settings, and arrays of symbols."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from numba_kernels.cuda.device import layout
from numba_kernels.selfcheck.proof.expressions import DOUBLE, FLOAT, HALF, Expressions, Node
from numba_kernels.selfcheck.proof.memory import MISSING, Situation
from numba_kernels.selfcheck.proof.ptx.bits import Bits
from numba_kernels.selfcheck.proof.symbols import KINDS
from numba_kernels.selfcheck.ptx.faults import NotUnderstood

STEP = 1 << 20
"""The distance of tables and arrays in memory."""

NAMES = ("variable", "velocity", "average", "accumulator", "gradient")
"""The arrays by the columns of the table, the gradient last."""

SETTINGS = {
    layout.LOSS_SCALE: "loss_scale",
    layout.STEPS: "steps",
    layout.HIGHEST: "highest",
    layout.WEIGHT_DECAY: "weight_decay",
    layout.MOMENTUM: "momentum",
    layout.EMA_MOMENTUM: "ema_momentum",
    layout.EMA_COMPLEMENT: "ema_complement",
}


class Call(NamedTuple):
    """A call of a kernel, apart from its numbers.

    Attributes
    ----------
    situation : Situation
        The flags of the call and of the variable.
    accumulates, is_skipped, is_dynamic : bool
        Whether it only accumulates, changes nothing, and scales the loss dynamically.
    counts : tuple of int
        The numbers of elements of the chunks, which lie one after the other in each array.
    offset : int
        The distance of each array from a multiple of 16 bytes, in elements.
    """

    situation: Situation
    accumulates: bool
    is_skipped: bool
    is_dynamic: bool
    counts: tuple[int, ...]
    offset: int


class Tables:
    """What a kernel reads.

    Parameters
    ----------
    e : Expressions
        The expressions of the proof.
    dtype : dtype
        The dtype of the variables.
    call : Call
        The call.
    """

    def __init__(self, e: Expressions, dtype: np.dtype[Any], call: Call) -> None:
        self._e, self._dtype, self.size = e, dtype, dtype.itemsize
        self.words: dict[int, int] = {}
        self.numbers: dict[int, Node] = {}
        self.bases = {name: STEP * (16 + place) + call.offset * self.size for place, name in enumerate(NAMES)}
        self.elements = sum(call.counts)
        self._fill(call)

    def _fill(self, call: Call) -> None:
        table, gradients, chunks, settings, factors, decays, counts, numbers = (
            STEP * place for place in range(2, 10)
        )
        self.descriptor = STEP
        kind = KINDS[self._dtype]
        size = 8 if kind == DOUBLE else 4
        self._write(
            self.descriptor,
            {
                layout.TABLE: table,
                layout.GRADIENTS: gradients,
                layout.CHUNKS: chunks,
                layout.CHUNK_COUNT: len(call.counts),
                layout.SETTINGS: settings,
                layout.FACTORS: factors,
                layout.FACTOR_ROWS: 1,
                layout.DECAYS: decays,
                layout.COUNTS: counts,
                layout.NUMBERS: numbers,
                layout.IS_DYNAMIC: int(call.is_dynamic),
            },
        )
        self._write(table, {place: self.bases[NAMES[place]] for place in range(layout.COLUMNS)})
        is_missing = call.situation.gradient == MISSING
        self._write(gradients, {0: layout.MISSING if is_missing else self.bases["gradient"]})
        start = 0
        for place, count in enumerate(call.counts):
            chunk = {layout.ROW: 0, layout.START: start, layout.COUNT: count}
            self._write(chunks + 8 * layout.CHUNK_WORDS * place, chunk)
            start += count
        self._write(decays, {0: int(call.situation.decays)})
        self._write(
            counts,
            {
                layout.ACCUMULATES: int(call.accumulates),
                layout.IS_FIRST_AVERAGE: int(call.situation.is_first_average),
                layout.OVERWRITES: int(call.situation.overwrites),
                layout.NOT_FINITE: int(call.is_skipped),
                layout.IS_EXHAUSTED: 0,
            },
        )
        for place, name in SETTINGS.items():
            self.numbers[settings + size * place] = self._e.make("slot", kind, name)
        for place, name in ((layout.FACTOR, "factor"), (layout.DIVISOR, "divisor")):
            self.numbers[factors + size * place] = self._e.make("factor", kind, name)
        self.numbers[numbers + 4 * layout.RATE] = self._e.raw("rate", FLOAT)
        self.numbers[numbers + 4 * layout.SCALE] = self._e.raw("scale", FLOAT)

    def _write(self, start: int, words: dict[int, int]) -> None:
        for place, value in words.items():
            self.words[start + 8 * place] = value

    def given(self, is_dynamic: bool) -> dict[Node, Node]:
        """Return the numbers of a call in terms of the rule: the rate in the dtype, the scale."""
        e, kind = self._e, KINDS[self._dtype]
        rate, scale = e.raw("rate", FLOAT), e.raw("scale", FLOAT)
        if kind == DOUBLE:
            rate, scale = e.make("fpext", DOUBLE, rate), e.make("fpext", DOUBLE, scale)
        elif self._dtype.itemsize == 2:
            rate = e.make("round", FLOAT, self._dtype.name, rate)
        found = {rate: e.make("slot", kind, "learning_rate")}
        return {**found, scale: e.make("slot", kind, "loss_scale")} if is_dynamic else found

    def word(self, address: int) -> int:
        """Return a word of a table."""
        if address not in self.words:
            raise NotUnderstood(f"a word is read at {address:#x}, where there is none")
        return self.words[address]

    def number(self, address: int, kind: str) -> Node:
        """Return a setting, a factor or an element."""
        found = self.numbers.get(address)
        if found is None:
            array, index = self.place(address)
            if kind != KINDS[self._dtype] or self.size == 2:
                raise NotUnderstood(f"an element of {array} is read as {kind}")
            return self._e.raw("element", kind, array, index)
        if found.kind != kind:
            raise NotUnderstood(f"{found} is read as {kind}")
        return found

    def half(self, address: int) -> Bits:
        """Return an element of a half type."""
        array, index = self.place(address)
        if self.size != 2:
            raise NotUnderstood(f"an element of {array} is read as 16 bits")
        return Bits(self._e.raw("element", HALF, array, index), 0)

    def place(self, address: int) -> tuple[str, int]:
        """Return the array and the index of an element."""
        for array, base in self.bases.items():
            index, rest = divmod(address - base, self.size)
            if 0 <= index < self.elements:
                if rest:
                    raise NotUnderstood(f"{array} is accessed within an element")
                return array, index
        raise NotUnderstood(f"memory at {address:#x} is accessed, where there is no element")

    def in_own_terms(self, node: Node, index: int, leaves: dict[Node, Node]) -> Node:
        """Return a value that is stored at an index, in terms of the elements with that index."""
        kind = HALF if self.size == 2 else KINDS[self._dtype]
        own = {self._e.raw("element", kind, name, index): self._e.raw("own", kind, name) for name in NAMES}
        return self._e.substituted(self._e.substituted(node, own), leaves)
