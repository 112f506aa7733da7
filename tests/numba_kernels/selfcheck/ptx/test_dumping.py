"""A dump, replayed by an interpreter that shares no code with the one that wrote it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from numba_kernels.selfcheck.ptx.checks.dumping import Dump
from numba_kernels.selfcheck.ptx.driver.device import Device
from numba_kernels.selfcheck.ptx.faults import Fault
from numba_kernels.selfcheck.ptx.machine.memory import Memory
from tests.numba_kernels.selfcheck.ptx.second_interpreter import Replay, differences

HEAD = """
.version 9.0
.target sm_90a
.address_size 64
.visible .entry toy(.param .u64 toy_param_0, .param .u64 toy_param_1)
{
    .reg .pred %p<9>;
    .reg .b16 %h<19>;
    .reg .b16 %rs<19>;
    .reg .b32 %r<19>;
    .reg .f32 %f<19>;
    .reg .f64 %fd<19>;
    .reg .b64 %rd<19>;
    .shared .align 8 .b8 words[512];
    ld.param.u64 %rd1, [toy_param_0];
    ld.param.u64 %rd2, [toy_param_1];
    mov.u32 %r1, %tid.x;
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mul.wide.u32 %rd3, %r2, %r3;
    cvt.u64.u32 %rd4, %r1;
    add.s64 %rd5, %rd3, %rd4;
    shl.b64 %rd6, %rd5, 3;
    add.s64 %rd7, %rd1, %rd6;
    add.s64 %rd8, %rd2, %rd6;
"""

# Each thread gives its number to another one of its block, and the blocks count their threads.
TOGETHER = """
    mov.u64 %rd9, words;
    shl.b64 %rd10, %rd4, 3;
    add.s64 %rd11, %rd9, %rd10;
    ld.global.u64 %rd12, [%rd7];
    st.shared.u64 [%rd11], %rd12;
    bar.sync 0;
    xor.b64 %rd13, %rd10, 8;
    add.s64 %rd14, %rd9, %rd13;
    ld.shared.u64 %rd15, [%rd14];
    setp.gt.s64 %p1, %rd15, %rd12;
    @%p1 bra $L_larger;
    st.global.u64 [%rd8], %rd15;
    bra.uni $L_both;
$L_larger:
    st.global.u64 [%rd8], %rd12;
$L_both:
    membar.gl;
    atom.global.add.u64 %rd16, [%rd1+1024], 3;
    ret;
}
"""

REGISTERS = {"f32": "f", "f64": "fd", "f16": "h", "16": "rs", "32": "r", "64": "rd"}

# The types of the operands, and that of the result; the shifts and fields have amounts of 32 bits.
OPCODES = {
    **{
        f"{name}.rn.{kind}": f"{kind} {kind} {kind}"
        for name in ("add", "sub", "mul", "div")
        for kind in ("f32", "f64")
    },
    **{f"fma.rn.{kind}": f"{kind} {kind} {kind} {kind}" for kind in ("f32", "f64")},
    **{f"{name}.rn.{kind}": f"{kind} {kind}" for name in ("sqrt", "rcp") for kind in ("f32", "f64")},
    **{f"{name}.{kind}": f"{kind} {kind}" for name in ("neg", "abs") for kind in ("f32", "f64")},
    **{
        f"{name}.{kind}": f"{kind} {kind} {kind}"
        for name in ("min", "max")
        for kind in ("f32", "f64", "s64", "u32")
    },
    **{f"{name}.s64": "s64 s64 s64" for name in ("add", "sub", "mul.lo", "mul.hi", "div", "rem")},
    **{f"{name}.b64": "b64 b64 b64" for name in ("and", "or", "xor")},
    "shl.b64": "b64 b64 b32",
    "shr.u64": "u64 u64 b32",
    "shr.s64": "s64 s64 b32",
    "shr.u32": "u32 u32 b32",
    "bfi.b64": "b64 b64 b64 b32 b32",
    "clz.b64": "b32 b64",
    "popc.b32": "b32 b32",
    "mul.wide.s32": "s64 s32 s32",
    "mul.wide.u32": "u64 u32 u32",
    "cvt.rn.f16.f32": "f16 f32",
    "cvt.f32.f16": "f32 f16",
    "cvt.f64.f16": "f64 f16",
    "cvt.f64.f32": "f64 f32",
    "cvt.rn.f32.f64": "f32 f64",
    "cvt.rm.f32.f64": "f32 f64",
    "cvt.rp.f32.f64": "f32 f64",
    "cvt.rn.bf16x2.f32": "b32 f32 f32",
    "cvt.rn.f64.s64": "f64 s64",
    "cvt.rzi.s64.f64": "s64 f64",
    "cvt.rzi.u32.f32": "u32 f32",
    "cvt.s64.s32": "s64 s32",
    "cvt.u32.u64": "u32 u64",
    "cvt.u16.u32": "u16 u32",
}

COMPARISONS = ("eq.f32", "neu.f32", "lt.f64", "geu.f64", "gt.s64", "lt.u64", "ne.s32", "eq.b32", "nan.f32")

THREADS = 64


def register(kind: str, place: int) -> str:
    return f"%{REGISTERS.get(kind) or REGISTERS[kind[1:]]}{place}"


def opcode_kernel() -> tuple[str, int]:
    """Return a kernel in which each thread tries all opcodes on its own numbers, and how many it tries."""
    lines = []
    tried = [*OPCODES, *COMPARISONS]
    for place, opcode in enumerate(tried):
        target, *sources = OPCODES.get(opcode, f"b64 {opcode[-3:]} {opcode[-3:]}").split()
        given = [register(kind, 11 + lane) for lane, kind in enumerate(sources)]
        for lane, (kind, name) in enumerate(zip(sources, given, strict=True)):
            lines.append(f"ld.global.{stored(kind)} {name}, [%rd7+{8 * THREADS * lane}];")
        result = register(target, 16)
        if opcode in COMPARISONS:
            lines.append(f"setp.{opcode} %p1, {', '.join(given)}; selp.b64 {result}, 1, 2, %p1;")
        else:
            lines.append(f"{opcode} {result}, {', '.join(given)};")
        lines.append(f"st.global.{stored(target)} [%rd8+{8 * THREADS * place}], {result};")
    return HEAD + "\n".join(lines) + "\nret;\n}\n", len(tried)


def stored(kind: str) -> str:
    return "b16" if kind == "f16" else kind


def special_numbers(generator: np.random.Generator) -> np.ndarray:
    """Return bits with all kinds of float16, float32 and float64 among them, and near and large integers."""
    singles = np.array(
        [0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-45, 1e-39, 3.4e38, 65520.0, 2.0**-25]
    )
    with np.errstate(over="ignore"):
        halves = singles.astype(np.float16)
    bits = np.concatenate(
        [
            singles.view(np.uint64),
            singles.astype(np.float32).view(np.uint32).astype(np.uint64),
            halves.view(np.uint16).astype(np.uint64),
            np.array([2**63, 2**63 - 1, 2**64 - 1, 33, 64, 2**31, 2**32 - 1, 7], np.uint64),
            (generator.standard_normal(400) * 2.0 ** generator.integers(-60, 60, 400)).view(np.uint64),
            generator.integers(0, 2**32, 400, np.uint64),
            generator.standard_normal(400).astype(np.float32).view(np.uint32).astype(np.uint64),
        ]
    )
    return generator.choice(bits, 5 * THREADS)


def dumped(
    folder: Path, text: str, given: np.ndarray, room: int, blocks: int = 1, threads: int = THREADS
) -> tuple[Device, int]:
    device = Device()
    device.memory = Memory(1 << 20, seed=3)
    device.dump = Dump(folder)
    device.dump.case = "toys/one"
    code = device.load(text)
    device.names["toy"] = "a_toy"
    source, target = device.memory.allocate(given.nbytes), device.memory.allocate(room)
    device.memory.allocate(5)
    device.copy_in(source, given.tobytes())
    device.launch(code, blocks, threads, struct.pack("<QQ", source, target))
    return device, target


def test_threads_that_work_together(tmp_path: Path) -> None:
    given = np.zeros(129, np.int64)
    given[:-1] = np.random.default_rng(1).permutation(128)
    device, target = dumped(tmp_path, HEAD + TOGETHER, given, 1024, blocks=2)
    found = device.memory.bytes[device.memory.region(target, 1024, "a test")].view(np.int64)
    assert found.tolist() == np.minimum(given[:-1], given[:-1].reshape(-1, 2)[:, ::-1].ravel()).tolist()
    for seed in range(3):
        ((path, wrong),) = differences(tmp_path, seed)
        assert wrong == []
    launch = json.loads(path.read_text())
    assert [len(part) for part in (launch["memory"], launch["arguments"])] == [3, 2]
    assert [part["after"] is None for part in launch["memory"]] == [False, False, True]
    assert [part["unwritten"] for part in launch["memory"]] == [[], [[0, 1024]], [[0, 5]]]


def test_both_interpreters_compute_the_same_with_each_opcode(tmp_path: Path) -> None:
    text, count = opcode_kernel()
    given = special_numbers(np.random.default_rng(5))
    dumped(tmp_path, text, given, 8 * THREADS * count)
    ((_, wrong),) = differences(tmp_path)
    assert wrong == []


def test_the_replay_sees_another_byte_and_another_opcode(tmp_path: Path) -> None:
    given = np.arange(129)
    dumped(tmp_path, HEAD + TOGETHER, given, 1024, blocks=2)
    (path,) = (tmp_path / "launches").iterdir()
    launch = json.loads(path.read_text())
    text = (tmp_path / "kernels/a_toy.ptx").read_text()
    assert len(Replay(text.replace("setp.gt", "setp.lt"), launch).run()) > 99
    assert len(Replay(text.replace("bar.sync 0;", ""), launch).run()) > 0
    launch["memory"][1]["after"] = "AAAA" + launch["memory"][1]["after"][4:]
    launch["memory"][1]["after"] = launch["memory"][1]["after"].replace("AAAA", "/wAA", 1)
    assert len(Replay(text, launch).run()) == 1


def test_the_readme_in_the_folder_names_all_that_is_in_a_file(tmp_path: Path) -> None:
    dumped(tmp_path, HEAD + TOGETHER, np.arange(129), 1024, blocks=2)
    (path,) = (tmp_path / "launches").iterdir()
    launch = json.loads(path.read_text())
    described = (tmp_path / "README.txt").read_text()
    assert all(f"``{name}``" in described for name in (*launch, *launch["memory"][0]))
    assert (launch["case"], launch["kernel"], launch["entry"]) == ("toys/one", "a_toy", "toy")


def test_a_launch_with_a_fault_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(Fault):
        dumped(tmp_path, HEAD + TOGETHER, np.arange(129), 8, blocks=2)
    assert list((tmp_path / "launches").iterdir()) == []
