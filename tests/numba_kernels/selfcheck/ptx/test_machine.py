"""The machine: what it computes, and that it refuses what a device would do in an unknown way."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from numba_kernels.selfcheck.ptx.faults import Fault, NotUnderstood
from numba_kernels.selfcheck.ptx.machine.code import Code
from numba_kernels.selfcheck.ptx.machine.launch import Launch
from numba_kernels.selfcheck.ptx.machine.memory import Memory

FRAME = """
.version 9.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 k_param_0)
{{
    .reg .pred %p<9>;
    .reg .b32 %r<9>;
    .reg .f32 %f<9>;
    .reg .b64 %rd<19>;
    .shared .align 8 .b8 words[1024];
    ld.param.u64 %rd1, [k_param_0];
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    cvt.u64.u32 %rd2, %r1;
    shl.b64 %rd3, %rd2, 3;
    cvt.u64.u32 %rd10, %r2;
    mul.wide.u32 %rd4, %r2, %r3;
    add.s64 %rd5, %rd4, %rd2;
    shl.b64 %rd6, %rd5, 3;
    add.s64 %rd7, %rd1, %rd6;
    {body}
    ret;
}}
"""

TO_SHARED = "mov.u64 %rd8, words; add.s64 %rd9, %rd8, %rd3;"

LAST_BLOCK = """
    st.global.u64 [%rd7], %rd5;
    {fence}
    bar.sync 0;
    setp.ne.s32 %p1, %r1, 0;
    @%p1 bra $L_end;
    {release}
    atom.global.add.u64 %rd11, [%rd1+8192], 1;
    setp.ne.s64 %p2, %rd11, 3;
    @%p2 bra $L_end;
    {acquire}
    ld.global.u64 %rd12, [%rd1];
    ld.global.u64 %rd13, [%rd1+512];
    add.s64 %rd14, %rd12, %rd13;
    st.global.u64 [%rd1+8200], %rd14;
$L_end:
"""


def run(body: str, blocks: int = 1, threads: int = 64, size: int = 16384, written: bool = True) -> np.ndarray:
    memory = Memory(1 << 16, seed=1)
    address = memory.allocate(size)
    place = memory.region(address, size, "test")
    if written:
        memory.bytes[place], memory.state[place] = 0, 2
    code = Code(FRAME.format(body=body))
    for seed in range(3):
        if written:
            memory.bytes[place] = 0
        Launch(
            code, memory, blocks, threads, struct.pack("<Q", address), seed, in_random_order=seed > 0
        ).run()
    return memory.bytes[place].view(np.int64)


def faults(body: str, kind: str, **others: int | bool) -> None:
    with pytest.raises(Fault) as caught:
        run(body, **others)  # type: ignore[arg-type]
    assert caught.value.kind == kind


def test_each_thread_has_its_place() -> None:
    assert run("st.global.u64 [%rd7], %rd5;", blocks=4)[:256].tolist() == list(range(256))


def test_threads_part_and_meet_again() -> None:
    body = """
        setp.gt.s32 %p1, %r1, 20;
        @%p1 bra $L_large;
        mov.u64 %rd11, 1;
        bra.uni $L_both;
    $L_large:
        mov.u64 %rd11, 2;
    $L_both:
        add.s64 %rd12, %rd11, %rd5;
        st.global.u64 [%rd7], %rd12;
    """
    assert run(body)[:64].tolist() == [n + (2 if n > 20 else 1) for n in range(64)]


def test_a_loop_ends_for_each_thread_at_its_own_time() -> None:
    body = """
        mov.u64 %rd11, 0;
    $L_loop:
        add.s64 %rd11, %rd11, 3;
        setp.lt.s64 %p1, %rd11, %rd5;
        @%p1 bra $L_loop;
        st.global.u64 [%rd7], %rd11;
    """
    assert run(body)[:64].tolist() == [max(3, -(-n // 3) * 3) for n in range(64)]


def test_a_loop_without_an_end_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba_kernels.selfcheck.ptx.machine.launch.MOST_STEPS", 100)
    faults("$L_loop: bra.uni $L_loop;", "limit")


def test_memory_of_no_allocation() -> None:
    faults("st.global.u64 [%rd7+16384], %rd5;", "bounds")
    faults("ld.global.u64 %rd11, [%rd7+-8];", "bounds")
    faults("ld.global.u64 %rd11, [%rd3];", "bounds")


def test_addresses_that_are_not_aligned() -> None:
    faults("ld.global.u64 %rd11, [%rd7+4];", "alignment")
    faults("ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%rd7];", "alignment")


def test_memory_that_was_never_written() -> None:
    faults("ld.global.u64 %rd11, [%rd7];", "uninitialised", written=False)
    faults(f"{TO_SHARED} ld.shared.u64 %rd11, [%rd9];", "uninitialised")
    run("st.global.u64 [%rd7], %rd5; ld.global.u64 %rd11, [%rd7];", written=False)


def test_shared_memory_ends() -> None:
    faults(f"{TO_SHARED} st.shared.u64 [%rd9+1016], %rd5;", "bounds")


def test_threads_of_one_block_at_two_barriers() -> None:
    body = """
        setp.gt.s32 %p1, %r1, 20;
        @%p1 bra $L_other;
        bar.sync 0;
        bra.uni $L_end;
    $L_other:
        bar.sync 0;
    $L_end:
    """
    faults(body, "barrier")


def test_threads_that_end_while_others_wait() -> None:
    faults("setp.gt.s32 %p1, %r1, 20; @%p1 bra $L_end; bar.sync 0; $L_end:", "barrier")


EXCHANGE = """
    {start} st.shared.u64 [%rd9], %rd5; {barrier}
    mov.u64 %rd11, 504; sub.s64 %rd12, %rd11, %rd3; add.s64 %rd13, %rd8, %rd12;
    ld.shared.u64 %rd14, [%rd13]; st.global.u64 [%rd7], %rd14;
"""


def test_a_barrier_puts_threads_in_order() -> None:
    found = run(EXCHANGE.format(start=TO_SHARED, barrier="bar.sync 0;"))
    assert found[:64].tolist() == list(range(63, -1, -1))


def test_a_race_in_shared_memory() -> None:
    with pytest.raises(Fault) as caught:
        run(EXCHANGE.format(start=TO_SHARED, barrier=""))
    assert caught.value.kind in ("race", "uninitialised")


def test_a_race_in_global_memory() -> None:
    faults("st.global.u64 [%rd1], %rd5;", "race")
    faults("st.global.u64 [%rd1], %rd10;", "race", blocks=2, threads=1)
    # Two threads of one block, of which one reads what the other writes.
    faults("st.global.u64 [%rd7], %rd5; ld.global.u64 %rd11, [%rd1];", "race")


def test_several_threads_may_set_a_flag() -> None:
    assert run("st.global.u64 [%rd1], 1;", blocks=2)[0] == 1


@pytest.mark.parametrize("missing", [None, "release", "acquire"])
def test_the_last_block_knows_what_others_wrote_only_after_fences(missing: str | None) -> None:
    fences = {"release": "membar.gl;", "acquire": "membar.gl;", "fence": ""}
    if missing is None:
        found = run(LAST_BLOCK.format(**fences), blocks=4)
        assert (found[1024], found[1025]) == (4, 64)
        return
    faults(LAST_BLOCK.format(**(fences | {missing: ""})), "race", blocks=4)


def test_additions_are_atomic_and_a_race_where_they_are_not() -> None:
    assert run("atom.global.add.u64 %rd11, [%rd1], 2;", blocks=3)[0] == 2 * 3 * 64
    faults("ld.global.u64 %rd11, [%rd1]; add.s64 %rd11, %rd11, 2; st.global.u64 [%rd1], %rd11;", "race")


def test_registers_begin_with_random_bits() -> None:
    found = run("st.global.u64 [%rd7], %rd18;")[:64]
    assert len(set(found.tolist())) == 64


@pytest.mark.parametrize(
    "body",
    [
        "add.f32 %f1, %f2, %f3;",
        "fma.rn.ftz.f32 %f1, %f2, %f3, %f4;",
        "shfl.sync.idx.b32 %r4, %r5, %r6, %r7, -1;",
        "ld.local.u64 %rd11, [%rd7];",
        "bar.sync 1;",
        "mul.rn.f32 %f1, %f2;",
        "mul.rn.f32 %f1, %f2, %rd1;",
        "mov.u32 %r4, %laneid;",
        "bra.uni $L_nowhere;",
        "@%p1 mov.u32 %r4, %r5;",
        ".local .align 8 .b8 stack[8];",
    ],
)
def test_what_is_not_known_is_refused(body: str) -> None:
    with pytest.raises((NotUnderstood, KeyError)):
        run(body)


def test_coverage_names_what_was_not_executed() -> None:
    code = Code(
        FRAME.format(
            body="setp.gt.s32 %p1, %r1, 99; @%p1 bra $L_a; bra.uni $L_b; $L_a: mov.u32 %r4, 1; $L_b:"
        )
    )
    memory = Memory(1 << 16)
    Launch(code, memory, 1, 32, struct.pack("<Q", memory.allocate(8))).run()
    assert [line.opcode for line in code.not_executed()] == ["mov.u32"]
    executed, count = code.coverage()
    assert count - executed == 1


def test_memory_that_is_freed_is_no_allocation() -> None:
    memory = Memory(1 << 16)
    first, second = memory.allocate(100), memory.allocate(200)
    memory.free(first)
    assert memory.allocation_of(first) is None
    assert memory.allocation_of(second + 199) == (second, 200)
    with pytest.raises(Fault, match="must have been allocated"):
        memory.free(first)
    assert memory.allocate(100) == first
    with pytest.raises(MemoryError):
        memory.allocate(1 << 17)
