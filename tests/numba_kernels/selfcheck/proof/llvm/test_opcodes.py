"""The meaning of each instruction: what the prover makes of it, against LLVM and exact fractions."""

from __future__ import annotations

import ctypes
import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from llvmlite import binding
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from numba_kernels.selfcheck.proof.evaluating import evaluated
from numba_kernels.selfcheck.proof.expressions import DOUBLE, FLOAT, HALF, Expressions
from numba_kernels.selfcheck.proof.integers import Facts
from numba_kernels.selfcheck.proof.llvm.instructions import NotUnderstood
from numba_kernels.selfcheck.proof.llvm.opcodes import Opcodes
from numba_kernels.selfcheck.proof.llvm.parsing import OPCODES, function_of_kernel
from numba_kernels.selfcheck.proof.normal import RULES
from sgd_ref.arithmetic.formats import FLOAT32, FLOAT64
from sgd_ref.arithmetic.rounded import nearest

FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    np.inf,
    -np.inf,
    np.nan,
    0.1,
    1 / 3,
    3.4e38,
    1.5e-45,
    -1e-39,
    65504.0,
    65520.0,
    6e-8,
]
WORDS = [0, 1, 2, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x3F808000, 0x7F800001]
HALVES = [0, 0x8000, 1, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0x3555]

NAMES = {FLOAT: "float", DOUBLE: "double", HALF: "i16", "i32": "i32", "i1": "i1", "i8": "i8"}
DTYPES = {FLOAT: np.float32, DOUBLE: np.float64, HALF: np.uint16, "i32": np.uint32, "i1": np.uint8}
GIVEN: dict[str, list[Any]] = {FLOAT: FLOATS, DOUBLE: FLOATS, HALF: HALVES, "i32": WORDS}

ORDERED = ["oeq", "ogt", "oge", "olt", "ole", "one", "ord"]
UNORDERED = ["ueq", "ugt", "uge", "ult", "ule", "une", "uno"]
RELATIONS = ["eq", "ne", "ugt", "uge", "ult", "ule", "sgt", "sge", "slt", "sle"]

CASES: list[tuple[str, str, str]] = [
    *(
        (kind, kind, f"= {op} {kind} %x, %y")
        for op in ("fadd", "fsub", "fmul", "fdiv")
        for kind in (FLOAT, DOUBLE)
    ),
    *((kind, kind, f"= fneg {kind} %x") for kind in (FLOAT, DOUBLE)),
    (FLOAT, FLOAT, "= call float @llvm.fabs.f32(float %x)"),
    *((FLOAT, "i1", f"= fcmp {name} float %x, %y") for name in ORDERED + UNORDERED),
    *(("i32", "i1", f"= icmp {name} i32 %x, %y") for name in RELATIONS),
    *(
        ("i32", "i32", f"= {op} i32 %x, {count}")
        for op in ("shl", "lshr", "ashr")
        for count in (0, 1, 13, 31)
    ),
    ("i32", FLOAT, "= bitcast i32 %x to float"),
    (FLOAT, "i32", "= bitcast float %x to i32"),
    ("i32", HALF, "= trunc i32 %x to i16"),
    (HALF, "i32", "= zext i16 %x to i32"),
    (HALF, "i32", "= sext i16 %x to i32"),
    ("i32", "i32", "= freeze i32 %x"),
    (FLOAT, FLOAT, "c = fcmp olt float %x, %y\n  %r = select i1 %rc, float %x, float %y"),
    (FLOAT, HALF, "h = fptrunc float %x to half\n  %r = bitcast half %rh to i16"),
    (HALF, FLOAT, "h = bitcast i16 %x to half\n  %r = fpext half %rh to float"),
    *(
        (
            HALF,
            HALF,
            f"a = bitcast i16 %x to half\n  %rb = bitcast i16 %y to half\n  %rc = {op} half %ra, %rb\n"
            "  %r = bitcast half %rc to i16",
        )
        for op in ("fadd", "fsub", "fmul", "fdiv")
    ),
    (
        FLOAT,
        FLOAT,
        "a = insertelement <4 x float> poison, float %x, i64 0\n"
        "  %rb = shufflevector <4 x float> %ra, <4 x float> poison, <4 x i32> zeroinitializer\n"
        "  %rc = insertelement <4 x float> %rb, float %y, i64 2\n"
        "  %rd = fsub <4 x float> %rb, %rc\n"
        "  %r = extractelement <4 x float> %rd, i64 2",
    ),
    (
        "i32",
        "i32",
        "a = insertelement <2 x i32> poison, i32 %x, i64 0\n"
        "  %rb = insertelement <2 x i32> %ra, i32 %y, i64 1\n"
        "  %rc = shufflevector <2 x i32> %rb, <2 x i32> poison, <2 x i32> <i32 1, i32 0>\n"
        "  %rd = lshr <2 x i32> %rc, splat (i32 3)\n"
        "  %r = extractelement <2 x i32> %rd, i64 0",
    ),
]


def body_of(lines: str) -> str:
    return f"  %r{lines if lines[0] != '=' else ' ' + lines}"


def symbolic(given: str, lines: str) -> tuple[Any, Any, Any, Expressions]:
    """Return the leaves and the result that the prover has for instructions."""
    text = f"define i32 @f(ptr %excinfo) {{\nentry:\n{body_of(lines)}\n  ret i32 0\n}}\n"
    e = Expressions(RULES)
    opcodes = Opcodes(e, Facts())
    x, y = (e.raw("own", given, name) for name in ("x", "y"))
    values = {"%x": x, "%y": y}
    for instruction in function_of_kernel(text).blocks["entry"][:-1]:
        operands = [
            values[operand.value] if operand.form == "name" else opcodes.literal(operand)
            for operand in instruction.operands
        ]
        values[instruction.result or ""] = opcodes.result(instruction, operands)
    return x, y, values["%r"], e


def executed(given: str, result: str, lines: str, x: Any, y: Any) -> Any:
    """Return what LLVM computes."""
    cast = (
        "  %s = zext i1 %r to i8\n  store i8 %s, ptr %out"
        if result == "i1"
        else f"  store {NAMES[result]} %r, ptr %out"
    )
    text = (
        "declare float @llvm.fabs.f32(float)\n"
        f"define void @f(ptr %in, ptr %in2, ptr %out) {{\nentry:\n  %x = load {NAMES[given]}, ptr %in\n"
        f"  %y = load {NAMES[given]}, ptr %in2\n{body_of(lines)}\n{cast}\n  ret void\n}}\n"
    )
    with global_compiler_lock:
        library = cpu_target.target_context.codegen().create_library("tried")
        library.add_llvm_module(binding.parse_assembly(text))
        library.finalize()
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(library.get_pointer_to_function("f"))
    out = np.zeros(len(x), DTYPES[result])
    for place in range(len(x)):
        function(*(side.ctypes.data + place * side.itemsize for side in (x, y, out)))
    return out


@pytest.mark.parametrize(("given", "result", "lines"), CASES, ids=lambda text: text.replace("\n  ", "; "))
def test_an_instruction_means_what_llvm_makes_of_it(given: str, result: str, lines: str) -> None:
    pairs = list(itertools.product(GIVEN[given], repeat=2))
    with np.errstate(all="ignore"):
        x, y = (np.array(side).astype(DTYPES[given]) for side in zip(*pairs, strict=True))
    first, second, node, _ = symbolic(given, lines)
    found = np.broadcast_to(evaluated(node, {first: x, second: y}), x.shape)
    expected = executed(given, result, lines, x, y)
    if result in (FLOAT, DOUBLE):
        assert np.array_equal(np.isnan(found), np.isnan(expected))
        right = np.isnan(found) | (found.view(f"u{found.itemsize}") == expected.view(f"u{found.itemsize}"))
        assert right.all()
    elif result == HALF and "half" in lines:
        are_nan = [np.isnan(np.ascontiguousarray(side).view(np.float16)) for side in (found, expected)]
        assert np.array_equal(*are_nan)
        assert ((found == expected) | are_nan[0]).all()
    else:
        assert np.array_equal(found.astype(expected.dtype), expected)


def test_every_opcode_of_numbers_is_tried() -> None:
    tried = {word for _, _, lines in CASES for word in lines.split()}
    # Indices, memory and control: test_integers.py, test_normal.py, test_walking.py and kernels themselves.
    others = {
        "add",
        "alloca",
        "and",
        "br",
        "call",
        "getelementptr",
        "inttoptr",
        "load",
        "mul",
        "or",
        "phi",
        "ptrtoint",
        "ret",
        "store",
        "sub",
        "unreachable",
        "xor",
    }
    assert tried >= OPCODES - others


EXACT = {
    "fadd": Fraction.__add__,
    "fsub": Fraction.__sub__,
    "fmul": Fraction.__mul__,
    "fdiv": Fraction.__truediv__,
}


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("op", EXACT)
def test_arithmetic_rounds_the_exact_result_once(op: str, dtype: Any) -> None:
    kind = {4: FLOAT, 8: DOUBLE}[dtype.itemsize]
    first, second, node, _ = symbolic(kind, f"= {op} {kind} %x, %y")
    finite = [value for value in np.array(FLOATS).astype(dtype).tolist() if np.isfinite(value)]
    for x, y in itertools.product(finite, repeat=2):
        if op == "fdiv" and y == 0:
            continue
        exact = EXACT[op](Fraction(x), Fraction(y))
        found = evaluated(node, {first: np.array(x, dtype), second: np.array(y, dtype)})
        assert found == nearest(exact, dtype)


UNKNOWN = [
    "= frem float %x, %y",
    "= call float @llvm.fma.f32(float %x, float %y, float %y)",
    "= call float @llvm.fmuladd.f32(float %x, float %y, float %y)",
    "= call float @sinf(float %x)",
    "= fadd fast float %x, %y",
    "= fmul contract float %x, %y",
    "= fcmp nnan olt float %x, %y",
    "= select nsz i1 true, float %x, float %y",
    "= call <vscale x 4 x float> @f()",
    "= fptoui float %x to i32",
    "= uitofp i32 3 to float",
    "= bitcast <2 x float> zeroinitializer to <4 x i16>",
]


@pytest.mark.parametrize("lines", UNKNOWN)
def test_what_is_not_known_is_refused(lines: str) -> None:
    with pytest.raises(NotUnderstood):
        symbolic(FLOAT, lines)


@pytest.mark.parametrize(
    "attribute", ['"unsafe-fp-math"="true"', '"denormal-fp-math"="preserve-sign,preserve-sign"', "strictfp"]
)
def test_an_attribute_that_changes_results_is_refused(attribute: str) -> None:
    text = f"define i32 @f(ptr %excinfo) {{\nentry:\n  ret i32 0\n}}\nattributes #0 = {{ {attribute} }}\n"
    with pytest.raises(NotUnderstood):
        function_of_kernel(text)
