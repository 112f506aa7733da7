"""The proof of a kernel that is written by hand, and mistakes in it that the proof must see."""

from __future__ import annotations

import re

import pytest

from numba_kernels.selfcheck.proof.ptx.proving import prove
from numba_kernels.selfcheck.ptx.parsing import parse
from numba_kernels.shared.element import NO_MOMENTUM, PLAIN, Variant
from sgd_ref.arithmetic.formats import BFLOAT16, FLOAT32

PLAINEST = Variant(NO_MOMENTUM, PLAIN, averages=False)

BEGIN = """
.version 9.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 k_0, .param .u64 k_1)
{
    .reg .pred %p<9>;
    .reg .b16 %rs<9>;
    .reg .b32 %r<19>;
    .reg .f32 %f<29>;
    .reg .b64 %rd<39>;
    ld.param.u64 %rd1, [k_0];
    ld.global.u64 %rd2, [%rd1+72];
    ld.global.u64 %rd3, [%rd1];
    ld.global.u64 %rd4, [%rd1+16];
    ld.global.u64 %rd5, [%rd1+32];
    ld.global.u64 %rd6, [%rd1+40];
    ld.global.u64 %rd7, [%rd1+56];
    ld.global.u64 %rd8, [%rd1+64];
    ld.global.u64 %rd9, [%rd8+64];
    setp.ne.s64 %p1, %rd9, 0;
    @%p1 bra $L_end;
    ld.global.u64 %rd10, [%rd1+24];
    ld.global.u64 %rd12, [%rd1+8];
    ld.global.u64 %rd13, [%rd12];
    setp.eq.s64 %p2, %rd13, 0;
    @%p2 bra $L_end;
    ld.global.u64 %rd25, [%rd7];
    setp.ne.s64 %p5, %rd25, 0;
    ld.global.f32 %f1, [%rd2];
    ld.global.f32 %f2, [%rd5+8];
    ld.global.f32 %f3, [%rd5+12];
    ld.global.f32 %f4, [%rd6];
    mov.u64 %rd11, 0;
$L_chunk:
    mul.lo.s64 %rd14, %rd11, 24;
    add.s64 %rd15, %rd4, %rd14;
    ld.global.u64 %rd16, [%rd15+8];
    ld.global.u64 %rd17, [%rd15+16];
    mov.u32 %r1, %tid.x;
    cvt.s64.s32 %rd18, %r1;
$L_element:
    setp.ge.s64 %p3, %rd18, %rd17;
    @%p3 bra $L_next;
    add.s64 %rd19, %rd16, %rd18;
    shl.b64 %rd20, %rd19, SHIFT;
    ld.global.u64 %rd21, [%rd3];
    add.s64 %rd22, %rd21, %rd20;
    add.s64 %rd23, %rd13, %rd20;
"""

OF_FLOAT32 = """
    ld.global.f32 %f5, [%rd22];
    ld.global.f32 %f6, [%rd23];
    mul.rn.f32 %f7, %f6, %f4;
    neg.f32 %f8, %f2;
    setp.lt.f32 %p6, %f7, %f8;
    selp.f32 %f9, %f8, %f7, %p6;
    setp.gt.f32 %p7, %f7, %f2;
    selp.f32 %f10, %f2, %f9, %p7;
    mul.rn.f32 %f11, %f5, %f3;
    mul.rn.f32 %f12, %f11, %f1;
    sub.rn.f32 %f13, %f5, %f12;
    selp.f32 %f14, %f13, %f5, %p5;
    mul.rn.f32 %f15, %f10, %f1;
    sub.rn.f32 %f16, %f14, %f15;
    st.global.f32 [%rd22], %f16;
"""

END = """
    mov.u32 %r2, %ntid.x;
    cvt.s64.s32 %rd24, %r2;
    add.s64 %rd18, %rd18, %rd24;
    bra.uni $L_element;
$L_next:
    add.s64 %rd11, %rd11, 1;
    setp.lt.s64 %p4, %rd11, %rd10;
    @%p4 bra $L_chunk;
$L_end:
    bar.sync 0;
    ret;
}
"""

FULL = BEGIN.replace("SHIFT", "2") + OF_FLOAT32 + END


def rounded(instructions: str) -> str:
    """Return instructions with a rounding to bfloat16 after each operation."""
    number = 3

    def add(match: re.Match[str]) -> str:
        nonlocal number
        number += 1
        into = f"cvt.rn.bf16x2.f32 %r{number}, {match[1]}, %f20;\n    mov.b32 {match[1]}, %r{number};"
        return f"{match[0]}\n    {into}"

    return re.sub(r"(?:mul|sub)\.rn\.f32 (%f\d+),.*", add, instructions)


OF_BFLOAT16 = (
    """
    mov.f32 %f20, 0f00000000;
    cvt.rn.bf16x2.f32 %r3, %f1, %f20;
    mov.b32 %f21, %r3;
    ld.global.u16 %r14, [%rd22];
    shl.b32 %r15, %r14, 16;
    mov.b32 %f5, %r15;
    ld.global.u16 %r16, [%rd23];
    shl.b32 %r17, %r16, 16;
    mov.b32 %f6, %r17;
"""
    + rounded(OF_FLOAT32.split("[%rd23];\n", 1)[1].split("    st.", 1)[0]).replace("%f1;", "%f21;")
    + """
    shr.u32 %r18, %r9, 16;
    cvt.u16.u32 %rs1, %r18;
    st.global.u16 [%rd22], %rs1;
"""
)

HALVES = BEGIN.replace("SHIFT", "1") + OF_BFLOAT16 + END


def test_both_kernels_are_the_rule() -> None:
    for text, dtype in ((FULL, FLOAT32), (HALVES, BFLOAT16)):
        proof = prove(text, dtype, PLAINEST)
        assert proof.failures == []
        assert proof.expressions >= 12
        assert parse(text).instructions > 40


@pytest.mark.parametrize(
    ("before", "after", "failure"),
    [
        ("mul.rn.f32 %f7, %f6, %f4;", "mul.rn.f32 %f7, %f6, %f6;", "the kernel has"),
        ("sub.rn.f32 %f16, %f14, %f15;", "fma.rn.f32 %f16, %f10, %f1, %f14;", "fma.rn.f32 in an elementwise"),
        ("selp.f32 %f14, %f13, %f5, %p5;", "selp.f32 %f14, %f5, %f13, %p5;", "the kernel has"),
        ("[%rd5+12]", "[%rd5+16]", "the rule has weight_decay"),
        ("setp.ge.s64 %p3", "setp.gt.s64 %p3", "not understood"),
        ("add.s64 %rd23, %rd13, %rd20;", "add.s64 %rd23, %rd13, 4;", "the kernel has"),
        ("@%p1 bra $L_end;", "", "stored in a call that is skipped"),
        ("add.s64 %rd18, %rd18, %rd24;", "add.s64 %rd18, %rd18, 1;", "two threads store the same element"),
        ("add.s64 %rd19, %rd16, %rd18;", "add.s64 %rd19, %rd18, 0;", "was written before"),
        ("st.global.f32 [%rd22], %f16;", "st.global.f32 [%rd23], %f16;", "gradient is stored"),
        ("st.global.f32 [%rd22], %f16;", "", "the kernel has variable"),
        ("setp.eq.s64 %p2, %rd13, 0;", "setp.ne.s64 %p2, %rd13, 0;", "the kernel has variable|never run"),
    ],
)
def test_a_mistake_is_seen(before: str, after: str, failure: str) -> None:
    assert before in FULL
    proof = prove(FULL.replace(before, after), FLOAT32, PLAINEST)
    assert any(re.search(failure, found, re.DOTALL) for found in proof.failures), proof.failures


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # The learning rate is cut off where it must be rounded.
        ("cvt.rn.bf16x2.f32 %r3, %f1, %f20;", "mov.b32 %r3, %f1; and.b32 %r3, %r3, -65536;"),
        ("cvt.rn.bf16x2.f32 %r9, %f16, %f20;", "mov.b32 %r9, %f16;"),
        ("cvt.rn.bf16x2.f32 %r5, %f11, %f20;\n    mov.b32 %f11, %r5;", ""),
        ("shr.u32 %r18, %r9, 16;", "mov.b32 %r18, %r9;"),
    ],
)
def test_a_missing_rounding_is_seen(before: str, after: str) -> None:
    assert before in HALVES
    assert prove(HALVES.replace(before, after), BFLOAT16, PLAINEST).failures
