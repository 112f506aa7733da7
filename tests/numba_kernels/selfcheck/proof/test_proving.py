"""Kernels are proven, and what is changed in a kernel, in its source or in its instructions, is refuted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numba.extending import register_jitable

from numba_kernels.cpu import kernels
from numba_kernels.cpu.storage import Storage, storage
from numba_kernels.selfcheck.proof.check import module_of
from numba_kernels.selfcheck.proof.expressions import FLOAT, Expressions, Node, Rule
from numba_kernels.selfcheck.proof.llvm.parsing import function_of_kernel
from numba_kernels.selfcheck.proof.normal import RULES
from numba_kernels.selfcheck.proof.proving import first_difference, prove, situations_of
from numba_kernels.selfcheck.proof.reference import features_of
from numba_kernels.shared import element
from numba_kernels.shared.element import (
    ACCUMULATED,
    CLASSIC,
    DIVIDED,
    NESTEROV,
    NO_MOMENTUM,
    PLAIN,
    PYTORCH,
    VARIANTS,
    Variant,
)
from numba_kernels.shared.inlining import inlined
from numba_kernels.shared.operations import Operations, rounded_to
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64

PLAINEST = Variant(NO_MOMENTUM, PLAIN, averages=False)
MOMENTUM = Variant(CLASSIC, PLAIN, averages=False)
AVERAGES = Variant(NESTEROV, DIVIDED, averages=True)

KERNELS: list[tuple[Any, Variant | None, bool | None]] = [
    (FLOAT32, PLAINEST, None),
    (FLOAT32, AVERAGES, None),
    (FLOAT64, Variant(CLASSIC, ACCUMULATED, averages=False), None),
    (BFLOAT16, MOMENTUM, None),
    (FLOAT16, PLAINEST, None),
    (FLOAT16, PLAINEST, False),
    (FLOAT32, Variant(NESTEROV, PLAIN, averages=False, rule=PYTORCH), None),
    (FLOAT64, None, None),
    (BFLOAT16, None, None),
    (FLOAT16, None, False),
]


@pytest.mark.parametrize(("dtype", "variant", "in_hardware"), KERNELS)
def test_a_kernel_is_the_rule(
    dtype: Any, variant: Variant | None, in_hardware: bool | None, module: Any
) -> None:
    proof = prove(module(dtype, variant, in_hardware), dtype, variant)
    assert proof.failures == []
    assert proof.unreached == []
    assert proof.specialisations == sum(
        len([one for one in features_of(variant) if one.has_decay or not situation.decays])
        if variant is not None
        else 2
        for situation in situations_of(variant)
    )
    assert proof.expressions >= proof.specialisations / 2 > 0
    assert bool(proof.claims) == (dtype.itemsize == 2)


def test_every_combination_of_features_leads_to_one_kernel() -> None:
    found = [features for variant in VARIANTS for features in features_of(variant)]
    # Three momenta, averages or not, accumulation or not, clippings, loss scale, decay.
    assert len(found) == len(set(found)) == 3 * 2 * 2 * 4 * 2 * 2


def _swapped(stored: Storage) -> Storage:
    @inlined
    def subtract(a: Any, b: Any) -> Any:
        return b - a

    return stored._replace(operations=stored.operations._replace(subtract=subtract))


def _truncating(stored: Storage) -> Storage:
    load, store = stored.load, stored.store

    @inlined
    def truncated(x: Any) -> Any:
        return load(store(x))

    return stored._replace(operations=rounded_to(truncated))


def _fused(stored: Storage) -> Storage:
    @register_jitable(forceinline=True, fastmath={"contract"})
    def subtract(a: Any, b: Any) -> Any:
        return a - b

    return stored._replace(operations=stored.operations._replace(subtract=subtract))


def _late_decay(operations: Operations, momentum_kind: int, has_decay: bool) -> Any:
    multiply, _, subtract, _ = operations

    @inlined
    def descended(w: Any, v: Any, g: Any, decays: bool, weight_decay: Any, rate: Any, momentum: Any) -> Any:
        w = subtract(w, multiply(rate, g))
        decayed = subtract(w, multiply(multiply(w, weight_decay), rate))
        return decayed if decays else w, v

    return descended


def _velocity_for_variable(operations: Operations, variant: Variant, clipped: Any, has_decay: bool) -> Any:
    right = element.element_update(operations, variant, clipped, has_decay)

    @inlined
    def updated(w: Any, g: Any, velocity: Any, average: Any, accumulator: Any, call: Any) -> Any:
        _, velocity, average = right(w, g, velocity, average, accumulator, call)
        return velocity, velocity, average

    return updated


def _in_storage(change: Callable[[Storage], Storage]) -> tuple[Any, str, Any]:
    return kernels, "storage", lambda dtype, in_hardware=None: change(storage(dtype, in_hardware))


SOURCES: dict[str, tuple[Any, Variant, tuple[Any, str, Any], str]] = {
    "swapped operands of a subtraction": (
        FLOAT32,
        PLAINEST,
        _in_storage(_swapped),
        r"the kernel has \(gradient \* learning_rate\) - variable\n"
        r"  the rule has   variable - \(gradient \* learning_rate\)",
    ),
    "truncation for rounding": (
        BFLOAT16,
        PLAINEST,
        _in_storage(_truncating),
        r"the kernel has truncate\(.*\n  the rule has   narrow_bfloat16\(round_bfloat16\(",
    ),
    "fused for separate": (
        FLOAT32,
        PLAINEST,
        _in_storage(_fused),
        "the flag contract lets LLVM change the result",
    ),
    "decay after the step": (
        FLOAT32,
        PLAINEST,
        (element, "descent", _late_decay),
        r"the kernel has \(variable - \(gradient \* learning_rate\)\) - .*\n"
        r"  the rule has   \(variable - \(learning_rate \* \(variable \* weight_decay\)\)\) - ",
    ),
    "the rule of Keras for that of PyTorch": (
        FLOAT32,
        MOMENTUM._replace(rule=PYTORCH),
        (element, "descent_of_pytorch", element.descent),
        r"the rule has   variable - \(learning_rate \* \(.*momentum",
    ),
    "velocity for the variable": (
        FLOAT32,
        MOMENTUM,
        (kernels, "element_update", _velocity_for_variable),
        r"variable, .*\n  the kernel has \(velocity \* momentum\) - .*\n"
        r"  the rule has   variable \+ \(\(velocity",
    ),
}


@pytest.mark.share(3)
@pytest.mark.parametrize("name", SOURCES)
def test_a_mistake_in_the_source_is_refuted(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dtype, variant, patch, message = SOURCES[name]
    # No other process may get the wrong kernel.
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(*patch)
    wrong = kernels.update_kernel.__wrapped__(dtype, variant)
    proof = prove(module_of(wrong), dtype, variant)
    assert re.search(message, "\n".join(proof.failures))


LINES: dict[str, tuple[str, str]] = {
    "operands of a subtraction swapped": (r"(= fsub \S+(?: x \w+>)? )(%\S+), (%\S+)", r"\1\3, \2"),
    "a sum for a difference": ("= fsub ", "= fadd "),
    "a product for a sum": ("= fmul ", "= fadd "),
    "another comparison": ("= fcmp olt ", "= fcmp oge "),
    "choices swapped": (
        r"(= select (?:i1|<\d+ x i1>) %\S+, \S+(?: x \w+>)? )(%\S+)(, .*? )(%\S+)$",
        r"\1\4\3\2",
    ),
    "a step that is too long": (r"(%index.next\S* = add .*), \d+$", r"\1, 3"),
    "a neighbour's place": (r"(getelementptr) i8, ptr (%scevgep\S*), i64 -(\d+)$", r"\1 i8, ptr \2, i64 -4"),
    "another setting": (r"(ptr %arg.settings.4, i64) 32", r"\1 40"),
    "another column": (r"(getelementptr i8, ptr %0, i64) 8", r"\1 16"),
    "subnormals are flushed": ("store i32 8064,", "store i32 40896,"),
    "the mode of the caller is not restored": (r"store i32 %\S+, (ptr %\S+)", r"store i32 8064, \1"),
    "fast": ("= fmul ", "= fmul fast "),
    "fused": (r"= fsub (\S+) (%\S+), (%\S+)$", r"= call \1 @llvm.fma.f32(\1 \2, \1 \3, \1 \3)"),
}


def _mutants(text: str, pattern: str, replacement: str) -> list[str]:
    """Return a module for each line that a change applies to, as far as the line is one of the kernel's."""
    head, start, rest = text.partition("%excinfo")
    body, end, after = rest.partition("\n}")
    found = []
    lines = body.split("\n")
    for place, line in enumerate(lines):
        changed = re.sub(pattern, replacement, line.split(", !")[0])
        if changed != line.split(", !")[0]:
            changed_lines = [*lines[:place], changed, *lines[place + 1 :]]
            found.append(head + start + "\n".join(changed_lines) + end + after)
    return found


def test_changed_instructions_are_refuted(module: Any, sweep: Any) -> None:
    text = module(FLOAT32, PLAINEST)
    assert prove(text, FLOAT32, PLAINEST).failures == []
    tried, alive = 0, []
    for name, (pattern, replacement) in LINES.items():
        mutants = _mutants(text, pattern, replacement)
        # What LLVM makes of an index differs by processor.
        if "fsub" in pattern or "fcmp" in pattern or "fmul" in pattern:
            assert mutants, name
        chosen = sweep.generator.permutation(len(mutants))[: max(2, sweep.count(len(mutants)))]
        for index in chosen:
            tried += 1
            if not prove(mutants[index], FLOAT32, PLAINEST).failures:
                alive.append((name, int(index)))
    assert tried >= 10
    assert alive == []


def test_a_wrong_step_of_normalisation_hides_a_mistake(module: Any) -> None:
    pattern, replacement = LINES["operands of a subtraction swapped"]
    mutants = _mutants(module(FLOAT32, PLAINEST), pattern, replacement)

    def commutes(e: Expressions, op: str, kind: str, args: tuple[Any, ...]) -> Node | None:
        if op == "fsub" and args[0].number > args[1].number:
            return e.make(op, kind, args[1], args[0])
        return None

    wrong: tuple[Rule, ...] = (*RULES, commutes)
    assert all(prove(mutant, FLOAT32, PLAINEST).failures for mutant in mutants[-2:])
    assert not any(prove(mutant, FLOAT32, PLAINEST, wrong).failures for mutant in mutants[-2:])


def test_the_blocks_of_a_kernel_are_read_in_full(module: Any) -> None:
    text = module(FLOAT32, PLAINEST)
    function = function_of_kernel(text)
    body = text.partition("%excinfo")[2].partition("\n}")[0]
    lines = [line for line in body.split("\n")[1:] if line.startswith("  ")]
    assert sum(map(len, function.blocks.values())) == len(lines)


def test_the_innermost_difference_is_told() -> None:
    e = Expressions(RULES)
    x, y, z = (e.raw("own", FLOAT, name) for name in "xyz")
    first, second = (e.make("fdiv", FLOAT, e.make("fsub", FLOAT, x, part), z) for part in (y, z))
    assert first_difference(first, second) == (y, z)
