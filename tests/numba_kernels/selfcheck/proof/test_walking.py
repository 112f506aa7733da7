"""A small kernel, written by hand, and what must not be in one: each wrong line is refused for its reason."""

from __future__ import annotations

import re

import pytest

from numba_kernels.cpu.addresses import DEFAULT_MODE
from numba_kernels.selfcheck.proof.proving import prove
from sgd_ref.arithmetic.formats import FLOAT32

KERNEL = f"""
define i32 @kernel(ptr %retptr, ptr %excinfo, ptr %arg.table.4, ptr %arg.chunks.4, i64 %arg.first, \
i64 %arg.last, ptr %arg.settings.4) {{
entry:
  %mode = call i64 @llvm.aarch64.get.fpcr()
  call void @llvm.aarch64.set.fpcr(i64 {DEFAULT_MODE})
  %none = icmp sge i64 %arg.first, %arg.last
  br i1 %none, label %end, label %chunk

chunk:
  %k = phi i64 [ %arg.first, %entry ], [ %k.next, %next ]
  %k.bytes = mul i64 %k, 24
  %row.place = getelementptr i8, ptr %arg.chunks.4, i64 %k.bytes
  %row = load i64, ptr %row.place, align 8
  %start.place = getelementptr i8, ptr %row.place, i64 8
  %start = load i64, ptr %start.place, align 8
  %count.place = getelementptr i8, ptr %row.place, i64 16
  %count = load i64, ptr %count.place, align 8
  %row.bytes = mul i64 %row, 40
  %addresses = getelementptr i8, ptr %arg.table.4, i64 %row.bytes
  %g.place = getelementptr i8, ptr %addresses, i64 8
  %g.address = load i64, ptr %g.place, align 8
  %g.more = add i64 %g.address, 1
  %skipped = icmp ult i64 %g.more, 2
  br i1 %skipped, label %next, label %before

before:
  %a.place = getelementptr i8, ptr %addresses, i64 32
  %a.address = load i64, ptr %a.place, align 8
  %offset = shl i64 %start, 2
  %g.start = add i64 %g.address, %offset
  %g.first = inttoptr i64 %g.start to ptr
  %a.start = add i64 %a.address, %offset
  %a.first = inttoptr i64 %a.start to ptr
  %scale.wide = load double, ptr %arg.settings.4, align 8
  %scale = fptrunc double %scale.wide to float
  %pairs = and i64 %count, -2
  %fewer = icmp slt i64 %count, 2
  br i1 %fewer, label %rest, label %vector

vector:
  %j = phi i64 [ 0, %before ], [ %j.next, %vector ]
  %j.g = getelementptr float, ptr %g.first, i64 %j
  %gs = load <2 x float>, ptr %j.g, align 4
  %j.a = getelementptr float, ptr %a.first, i64 %j
  %as = load <2 x float>, ptr %j.a, align 4
  %scale.one = insertelement <2 x float> poison, float %scale, i64 0
  %scales = shufflevector <2 x float> %scale.one, <2 x float> poison, <2 x i32> zeroinitializer
  %quotients = fdiv <2 x float> %gs, %scales
  %sums = fadd <2 x float> %quotients, %as
  store <2 x float> %sums, ptr %j.a, align 4
  %j.next = add i64 %j, 2
  %j.done = icmp eq i64 %j.next, %pairs
  br i1 %j.done, label %rest, label %vector

rest:
  %i.first = phi i64 [ 0, %before ], [ %pairs, %vector ]
  %complete = icmp eq i64 %i.first, %count
  br i1 %complete, label %next, label %loop

loop:
  %i = phi i64 [ %i.first, %rest ], [ %i.next, %loop ]
  %i.g = getelementptr float, ptr %g.first, i64 %i
  %g = load float, ptr %i.g, align 4
  %i.a = getelementptr float, ptr %a.first, i64 %i
  %a = load float, ptr %i.a, align 4
  %quotient = fdiv float %g, %scale
  %sum = fadd float %quotient, %a
  store float %sum, ptr %i.a, align 4
  %i.next = add i64 %i, 1
  %i.done = icmp eq i64 %i.next, %count
  br i1 %i.done, label %next, label %loop

next:
  %k.next = add i64 %k, 1
  %k.done = icmp eq i64 %k.next, %arg.last
  br i1 %k.done, label %end, label %chunk

end:
  call void @llvm.aarch64.set.fpcr(i64 %mode)
  ret i32 0
}}
"""

WRONG: dict[str, tuple[str, str, str]] = {
    "the index after": (
        "%i.g = getelementptr float, ptr %g.first, i64 %i",
        "%i.other = add i64 %i, 1\n  %i.g = getelementptr float, ptr %g.first, i64 %i.other",
        r"the kernel has .*gradient\[i \+ 1\]",
    ),
    "one number for all lanes": (
        "%gs = load <2 x float>, ptr %j.g, align 4",
        "%g.one = load float, ptr %j.g, align 4\n"
        "  %g.lane = insertelement <2 x float> poison, float %g.one, i64 0\n"
        "  %gs = shufflevector <2 x float> %g.lane, <2 x float> poison, <2 x i32> zeroinitializer",
        r"the kernel has .*gradient\[the same for all",
    ),
    "another array": (
        "ptr %addresses, i64 32",
        "ptr %addresses, i64 16",
        "velocity is written, which the kernel has not",
    ),
    "a column that is none": (
        "ptr %addresses, i64 32",
        "ptr %addresses, i64 36",
        "the table of addresses is read at",
    ),
    "another row": (
        "%row.bytes = mul i64 %row, 40",
        "%row.bytes = mul i64 %row, 48",
        "another row than that of the chunk",
    ),
    "another chunk": (
        "%k.bytes = mul i64 %k, 24",
        "%k.more = add i64 %k, 1\n  %k.bytes = mul i64 %k.more, 24",
        "is worked on in",
    ),
    "half of an element": (
        "%offset = shl i64 %start, 2",
        "%offset = shl i64 %start, 1",
        "an address within an element",
    ),
    "a pair left out": (
        "%j = phi i64 [ 0, %before ]",
        "%j = phi i64 [ 2, %before ]",
        "left if|the kernel has accumulator\n",
    ),
    "a pair twice": ("%j.next = add i64 %j, 2", "%j.next = add i64 %j, 1", "an iteration writes 2 elements"),
    "every second pair": (
        "%j.next = add i64 %j, 2",
        "%j.next = add i64 %j, 4",
        "moves on by 4|a loop that is left if",
    ),
    "the last one left out": (
        "%i.done = icmp eq i64 %i.next, %count",
        "%i.more = add i64 %i.next, 1\n  %i.done = icmp eq i64 %i.more, %count",
        "a loop that is left if",
    ),
    "one too many": (
        "%i.done = icmp eq i64 %i.next, %count",
        "%i.done = icmp ugt i64 %i.next, %count",
        "is written as",
    ),
    "the rest from the start": ("[ %pairs, %vector ]", "[ 0, %vector ]", "was written before"),
    "a chunk left out": (
        "%k.next = add i64 %k, 1",
        "%k.next = add i64 %k, 2",
        "loop that is left if|ends after",
    ),
    "a skipped row written": (
        "%skipped = icmp ult i64 %g.more, 2",
        "%skipped = icmp ult i64 %g.more, 1",
        "an address in no array",
    ),
    "a sum that is carried on": (
        "%i = phi i64 [ %i.first, %rest ], [ %i.next, %loop ]",
        "%i = phi i64 [ %i.first, %rest ], [ %i.next, %loop ]\n"
        "  %c = phi float [ %scale, %rest ], [ %sum, %loop ]",
        "hands a number on",
    ),
    "no mode": (
        f"  call void @llvm.aarch64.set.fpcr(i64 {DEFAULT_MODE})\n",
        "",
        "in a floating-point mode that is of the caller",
    ),
    "another mode": (
        f"fpcr(i64 {DEFAULT_MODE})",
        "fpcr(i64 16777216)",
        "the floating-point mode becomes 16777216",
    ),
    "a mode that stays": (
        "  call void @llvm.aarch64.set.fpcr(i64 %mode)\n",
        "",
        "ends in a floating-point mode",
    ),
    "written twice": (
        "store float %sum, ptr %i.a, align 4",
        "store float %a, ptr %i.a, align 4\n  store float %sum, ptr %i.a, align 4",
        "written twice in one iteration",
    ),
    "poison": (
        "fdiv <2 x float> %gs, %scales",
        "fdiv <2 x float> %gs, %scale.one",
        "the kernel has .*poison",
    ),
    "another setting": (
        "ptr %arg.settings.4, align 8",
        "ptr %i.place, align 8",
        "is used where it is not known",
    ),
    "numbers of another size": (
        "load float, ptr %i.g",
        "load double, ptr %i.g",
        "elements of 4 bytes are taken for double",
    ),
    "the gradient written": (
        "store float %sum, ptr %i.a",
        "store float %sum, ptr %i.g",
        "a store of float into gradient",
    ),
    "a branch on an element": (
        "%i.done = icmp eq i64 %i.next, %count",
        "%i.big = fcmp ogt float %g, %a\n  %i.done = xor i1 %i.big, true",
        "a loop that is left if",
    ),
}


def test_the_kernel_is_proven() -> None:
    proof = prove(KERNEL, FLOAT32, None)
    assert proof.failures == []
    assert proof.unreached == []
    assert proof.expressions == 8


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_line_is_refused(name: str) -> None:
    line, wrong, reason = WRONG[name]
    assert line in KERNEL
    proof = prove(KERNEL.replace(line, wrong), FLOAT32, None)
    assert re.search(reason, "\n".join(proof.failures) + "\n")
