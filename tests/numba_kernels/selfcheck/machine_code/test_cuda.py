"""The check of CUDA machine code: its parser, and toy kernels that break a requirement and are found out."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numba_kernels.selfcheck.machine_code.cuda import command, pins, wheels
from numba_kernels.selfcheck.machine_code.cuda.building import Code, build, require_compiler, resources
from numba_kernels.selfcheck.machine_code.cuda.disassembly import counts, instructions, target
from numba_kernels.selfcheck.machine_code.cuda.errors import CouldNotRun
from numba_kernels.selfcheck.machine_code.cuda.kinds import kind_of
from numba_kernels.selfcheck.machine_code.cuda.requirements import (
    REQUIREMENTS,
    broken,
    registers_for_full_bandwidth,
)
from sgd_ref.base.installing import how_to_install

CAPABILITY = "sm_90a"
MOMENTUM = "update_float32_momentum_plain"

Make = Callable[..., Code]


# Texts in the form of nvdisasm


def listing(*lines: str) -> str:
    """Return a disassembly with these instructions."""
    head = "\t.target\tsm_90a\n\n//----- .text.toy -----\n\t.section\t.text.toy\ntoy:\n.text.toy:\n"
    return head + "".join(f"        /*{16 * place:04x}*/ {line:>40} ;\n" for place, line in enumerate(lines))


def counted(*lines: str) -> dict[str, int]:
    """Return the counts that are not zero."""
    return {name: number for name, number in counts(instructions(listing(*lines))).items() if number}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("FFMA R4, R2, R3, R4", {"FFMA": 1}),
        ("@!P0 FFMA R4, R2, UR4, R4", {"FFMA": 1}),
        ("@UP1 UFFMA UR4, UR5, UR6, UR7", {"FFMA": 1}),
        ("FFMA.RM R12, R3.reuse, c[0x0][0x210], R12", {"FFMA": 1}),
        ("FFMA2 R4, R2.F32x2.HI_LO, R6.F32x2.HI_LO, R8.F32x2.HI_LO", {"FFMA": 1}),
        ("@P0 FFMA.FTZ.SAT R4, R2, R3, R4", {"FFMA": 1, "FTZ": 1}),
        ("FMUL R27, R8, UR8", {"FMUL": 1}),
        ("FADD R8, -R10, |R27|", {"FADD": 1}),
        ("FADD.FTZ R8, -R10, R27", {"FADD": 1, "FTZ": 1}),
        ("FSETP.GEU.FTZ.AND P0, PT, R27.reuse, -R2.reuse, PT", {"FTZ": 1}),
        ("F2I.FTZ.U32.TRUNC.NTZ R5, R4", {}),
        ("DFMA R4, R2, R6, R4", {"DFMA": 1, "float64": 1}),
        ("DADD R4, R2, -R6", {"float64": 1}),
        ("@!P3 DMUL R4, R2, 2", {"float64": 1}),
        ("DSETP.GT.AND P0, PT, R4, R2, PT", {"float64": 1}),
        ("F2F.F64.F32 R4, R2", {"float64": 1}),
        ("F2F.F32.F64 R4, R2", {"float64": 1}),
        ("I2F.F64.S64 R4, R2", {"float64": 1}),
        ("MUFU.RCP64H R5, R3", {"float64": 1, "MUFU": 1}),
        ("ATOMG.E.ADD.F64.RN.STRONG.GPU PT, R2, desc[UR4][R2.64], R4", {"float64": 1, "atomic": 1}),
        ("LDG.E.128 R8, desc[UR10][R8.64]", {"LDG.128": 1}),
        ("@P1 LDG.E.64.CONSTANT R8, [R8.64+0x10]", {"LDG.64": 1}),
        ("LDG.E.LTC128B R8, [R8.64]", {"LDG.32": 1}),
        ("LDG.E.U16 R8, [R8.64]", {"LDG.16": 1}),
        ("LDG.E.S8 R8, [R8.64]", {"LDG.8": 1}),
        ("STG.E.EF.128 desc[UR10][R24.64], R16", {"STG.128": 1}),
        ("STG.E.64 desc[UR10][R24.64], R16", {"STG.64": 1}),
        ("STG.E desc[UR10][R24.64], R16", {"STG.32": 1}),
        ("STG.E.U16 desc[UR10][R24.64], R16", {"STG.16": 1}),
        ("LD.E R4, [R2.64]", {"generic": 1}),
        ("ST.E.128 [R2.64], R4", {"generic": 1}),
        ("LDL.LU R4, [R1+0x8]", {"LDL": 1}),
        ("@!P0 STL.128 [R1], R4", {"STL": 1}),
        ("HFMA2 R4, R2, R3, R4", {"half": 1}),
        ("HFMA2.BF16_V2 R4, R2.H0_H0, 1, 1, R4.H0_H0", {"half": 1}),
        ("HFMA2.MMA R3, -RZ, RZ, 0, 2.384185791015625e-07", {}),
        ("HFMA2 R3, -RZ, RZ, 1.875, 0", {}),
        ("HMUL2 R4, R2, R3", {"half": 1}),
        ("HADD2 R4, R2, R3", {"half": 1}),
        ("HADD2.F32 R4, -RZ, R2.H1_H1", {}),
        ("HADD2.F32 R4, R3.H0_H0, R2.H0_H0", {"half": 1}),
        ("F2FP.F16.F32.PACK_AB R4, RZ, R4", {}),
        ("REDG.E.ADD.S32.STRONG.GPU desc[UR4][R2.64], R5", {"atomic": 1}),
        ("ATOMS.ADD RZ, [UR4], R5", {"atomic": 1}),
        ("BAR.SYNC.DEFER_BLOCKING 0x0", {"BAR": 1}),
        ("CALL.REL.NOINC `($__internal_1_$__cuda_sm3x_div_rn_noftz_f32_slowpath)", {"CALL": 1}),
        ("MUFU.RSQ R22, -QNAN ", {"MUFU": 1}),
        ("@P0 BRA `(.L_x_4)", {}),
        ("EXIT", {}),
        ("ULDC.64 UR12, c[0x0][0x248]", {}),
    ],
)
def test_an_instruction_is_of_its_families(line: str, expected: dict[str, int]) -> None:
    assert counted(line) == expected


def test_all_functions_are_counted() -> None:
    text = listing("FFMA R4, R2, R3, R4", "EXIT") + listing("@P0 FFMA R4, R2, R3, R4", "MUFU.RCP R4, R4")

    assert counts(instructions(text))["FFMA"] == 2
    assert counts(instructions(text))["MUFU"] == 1


def test_predicate_and_operands() -> None:
    (found,) = instructions(listing("@!UP0 FADD R8, -R10.reuse, UR27"))

    assert (found.predicate, found.opcode, found.operands) == ("!UP0", "FADD", ("R8", "-R10.reuse", "UR27"))
    assert target(listing("EXIT")) == "sm_90a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have instructions, got none"),
        (".target sm_80\n", "must have instructions, got none"),
        ("/*0000*/ ffma r0 ;\n", "must consist of instructions, got '/.0000./ ffma r0 ;'"),
        ("/*0000*/ FADD R0, R1, R2\n", "must consist of instructions"),
        ("/*0000*/ EXIT ;\n/*0020*/ FFMA R0, R1, R2, R3 ;\n", "must go on at 0x0010, got"),
        ("/*0010*/ EXIT ;\n", "must go on at 0x0000"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        instructions(text)


def test_a_disassembly_without_a_target_is_refused() -> None:
    with pytest.raises(ValueError, match="must name its target"):
        target("/*0000*/ EXIT ;")


def test_the_function_that_needs_most_counts() -> None:
    text = (
        " Function a:\n  REG:32 STACK:8 SHARED:0 LOCAL:4\n Function b:\n  REG:16 STACK:0 SHARED:64 LOCAL:8\n"
    )

    assert resources(text) == {"registers": 32, "stack": 8, "shared": 64, "local": 8}
    with pytest.raises(ValueError, match="the resources of a kernel must be known, got 'none'"):
        resources("none")


# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("update_float16_no_momentum_plain", (False, True, False, False, 2, 1)),
        ("update_bfloat16_momentum_divided", (False, True, True, False, 3, 2)),
        ("update_float64_nesterov_accumulated_averages", (True, True, True, False, 5, 4)),
        ("update_float32_no_momentum_plain_averages_wide", (True, True, False, False, 3, 2)),
        ("sum_float32_compensated", (True, False, False, True, 0, 0)),
        ("exact_bfloat16", (True, False, False, True, 0, 0)),
        ("finish_float16_global", (True, False, False, True, 0, 0)),
        ("gather_float16_float64", (True, False, False, False, 0, 0)),
        ("scatter_float32", (False, False, False, False, 0, 0)),
        ("prepare", (False, False, False, False, 0, 0)),
    ],
)
def test_a_name_says_what_a_kernel_is(name: str, expected: tuple[Any, ...]) -> None:
    assert tuple(kind_of(name)) == expected


@pytest.mark.parametrize("name", ["update_float32_momentum", "update_float8_momentum_plain", "update_"])
def test_the_name_of_an_elementwise_kernel_must_say_all(name: str) -> None:
    with pytest.raises(ValueError, match="the name of an elementwise kernel must be like"):
        kind_of(name)


# Requirements, on numbers

SOUND = {
    **counts(instructions(listing("EXIT"))),
    "LDG.128": 3,
    "STG.128": 2,
    "registers": 40,
    "stack": 0,
    "local": 0,
    "shared": 0,
}


def faults(name: str = MOMENTUM, **changed: int) -> list[str]:
    """Return the measures that are not as required of a kernel of that name."""
    measures = {**SOUND, **{measure.replace("_", "."): number for measure, number in changed.items()}}
    return [text.split()[0] for text in broken(Code(name, CAPABILITY, measures))]


def test_each_requirement_can_be_broken() -> None:
    assert faults() == []
    for requirement in REQUIREMENTS:
        kind = kind_of(MOMENTUM)
        worse = requirement.least(kind) - 1 if requirement.least(kind) else int(requirement.most(kind)) + 1
        assert faults(**{requirement.measure: worse}) == [requirement.measure]


def test_what_a_division_or_a_norm_brings_is_no_fault() -> None:
    brought = {"FFMA": 9, "DFMA": 1, "FTZ": 3, "MUFU": 2, "CALL": 1}

    assert faults("update_float32_momentum_divided", **brought) == []
    assert faults("sum_float32_plain", **brought, float64=8) == []
    assert faults("scatter_float32", FFMA=1, float64=1, FTZ=1) == ["FFMA", "float64", "FTZ"]


def test_float64_is_for_float64_only() -> None:
    assert faults("update_float64_momentum_plain", float64=20) == []
    assert faults("update_float64_momentum_plain", float64=20, DFMA=1) == ["DFMA"]
    assert faults("update_float32_momentum_divided", float64=1) == ["float64"]


def test_every_array_needs_wide_loads_and_stores() -> None:
    assert faults("update_float32_momentum_accumulated_averages", LDG_128=4, STG_128=3) == [
        "LDG.128",
        "STG.128",
    ]
    assert faults("update_float32_momentum_accumulated_averages", LDG_128=5, STG_128=4) == []


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("update_float32_no_momentum_plain", 64),
        ("update_float32_momentum_plain", 96),
        ("update_float32_momentum_plain_averages", 128),
        ("update_float32_momentum_accumulated_averages", 128),
    ],
)
def test_registers_leave_room_for_enough_threads(name: str, most: int) -> None:
    # 65,536 registers; each thread waits for 16 bytes of each array, and 32 KiB are to be on their way.
    kind = kind_of(name)
    assert registers_for_full_bandwidth(kind) == most
    assert 65536 / most * 16 * kind.reads >= 32 * 1024


# Pinned counts


def test_pinned_counts_are_compared_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.importlib.metadata, "version", lambda wheel: "1.0")
    file = tmp_path / "pins.json"
    divided = Code("update_float32_momentum_divided", CAPABILITY, {**SOUND, "FFMA": 8, "CALL": 1})
    plain = Code(MOMENTUM, CAPABILITY, SOUND)
    pins.write(file, [divided, plain], complete=[CAPABILITY])
    versions, kept = pins.read(file)

    assert versions["nvidia-nvvm"] == "1.0"
    assert kept[CAPABILITY] == {
        MOMENTUM: {"LDG.128": 3, "STG.128": 2},
        divided.kernel: {"LDG.128": 3, "STG.128": 2, "FFMA": 8, "CALL": 1},
    }
    assert list(pins.differences(divided, kept)) == []
    changed = divided._replace(measures={**divided.measures, "FFMA": 9, "CALL": 0})
    assert [text.partition(";")[0] for text in pins.differences(changed, kept)] == [
        "FFMA was 8, is 9 (+1)",
        "CALL was 1, is 0 (-1)",
    ]
    (unknown,) = pins.differences(plain._replace(kernel="prepare"), kept)
    assert unknown.startswith("has no counts in pins.json; if that is meant: python -m")
    assert pins.stale([MOMENTUM], CAPABILITY, kept) == [divided.kernel]
    assert pins.changed_versions(versions) == []
    monkeypatch.setattr(wheels.importlib.metadata, "version", lambda wheel: "2.0")
    assert "numba: the counts were taken with 1.0, installed is 2.0" in pins.changed_versions(versions)


def test_an_update_of_some_kernels_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.importlib.metadata, "version", lambda wheel: "1.0")
    file = tmp_path / "pins.json"
    pins.write(file, [Code(MOMENTUM, "sm_80", SOUND), Code("prepare", "sm_80", SOUND)], complete=["sm_80"])
    pins.write(file, [Code("prepare", "sm_80", {**SOUND, "LDG.128": 7})], complete=[])
    assert pins.read(file)[1]["sm_80"][MOMENTUM]["LDG.128"] == 3
    assert pins.read(file)[1]["sm_80"]["prepare"]["LDG.128"] == 7

    pins.write(file, [Code("prepare", "sm_80", SOUND)], complete=["sm_80"])
    assert list(pins.read(file)[1]["sm_80"]) == ["prepare"]


def test_no_file_has_no_counts(tmp_path: Path) -> None:
    assert pins.read(tmp_path / "pins.json") == ({}, {})


# What can not be run


@pytest.mark.parametrize("missing", wheels.NEEDED)
def test_a_missing_wheel_is_named(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(wheel: str) -> str:
        if wheel == missing:
            raise importlib.metadata.PackageNotFoundError(wheel)
        return "1.0"

    monkeypatch.setattr(wheels.importlib.metadata, "version", version)

    assert command.main([]) == command.COULD_NOT_RUN
    message = capsys.readouterr().err
    assert f"needs the wheel {missing};" in message
    assert how_to_install("cuda", "cuda-code") in message


def test_a_wheel_without_its_tool_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.importlib.metadata, "version", lambda wheel: "1.0")
    monkeypatch.setattr(wheels.importlib.metadata, "files", lambda wheel: [])

    with pytest.raises(CouldNotRun, match=r"nvidia-cuda-nvdisasm 1\.0 must bring the program nvdisasm"):
        wheels.tool(wheels.NVDISASM)


@pytest.mark.parametrize(
    "arguments",
    [["--capability", "90"], ["--capability", "sm_9"], ["--kernel", "("], ["--share", "0"], ["--share", "a"]],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as status:
        command.main(arguments)

    assert status.value.code == command.WRONG_USAGE
    assert f"got '{arguments[1]}'" in capsys.readouterr().err


def test_every_kernel_is_in_the_share_of_some_seed() -> None:
    names = [f"kernel_{index}" for index in range(20)]
    drawn = [command.share(names, 3, seed) for seed in range(40)]
    assert {len(some) for some in drawn} == {7}
    assert all(some == sorted(some, key=names.index) for some in drawn)
    assert {name for some in drawn for name in some} == set(names)


# Toy kernels


@pytest.fixture(scope="module")
def toolkit() -> Any:
    """What makes kernels, where they can be built and looked at."""
    try:
        require_compiler()
        return importlib.import_module("numba_kernels.cuda.toolkit")
    except (CouldNotRun, ImportError) as error:
        if os.environ.get("SGD_REF_REQUIRE_CUDA_CODE") == "1":
            pytest.fail(f"SGD_REF_REQUIRE_CUDA_CODE=1, but {error}")
        pytest.skip(str(error))


@pytest.fixture
def memory(toolkit: Any) -> Any:
    """What reads and writes device memory."""
    return importlib.import_module("numba_kernels.cuda.device.access")


@pytest.fixture
def built(toolkit: Any) -> Make:
    """Return a function that builds a function, under the name of a kernel, and looks at it."""

    def make(function: Callable[..., None], name: str = MOMENTUM, **options: Any) -> Code:
        kernel = toolkit.Kernel(name, function, toolkit.cuda.jit(function, **options))
        (code,) = build(kernel, CAPABILITY)
        return code

    return make


@pytest.fixture
def toy(toolkit: Any, memory: Any) -> Callable[..., Callable[..., None]]:
    """Return a function that makes a kernel: momentum, from what computes the velocity of an element."""
    cuda = toolkit.cuda
    read, read_packet, write_packet = (
        memory.SINGLES.read,
        memory.SINGLES.read_packet,
        memory.SINGLES.write_packet,
    )

    def make(step: Callable[..., Any], reads_packets: bool = True) -> Callable[..., None]:
        def momentum(w: int, g: int, v: int, settings: int) -> None:
            at = 16 * cuda.grid(1)
            a, b = read(settings), read(settings + 4)
            x, z = read_packet(w + at), read_packet(v + at)
            if reads_packets:
                y = read_packet(g + at)
            else:
                y = read(g + at), read(g + at + 4), read(g + at + 8), read(g + at + 12)
            new = (
                step(z[0], y[0], a, b),
                step(z[1], y[1], a, b),
                step(z[2], y[2], a, b),
                step(z[3], y[3], a, b),
            )
            write_packet(v + at, new)
            write_packet(w + at, (max(x[0], new[0]), max(x[1], new[1]), max(x[2], new[2]), max(x[3], new[3])))

        return momentum

    return make


@pytest.fixture
def separate_step(toolkit: Any) -> Any:
    """A velocity of two products and a sum, each rounded."""
    libdevice = toolkit.libdevice

    @toolkit.cuda.jit(device=True)
    def step(v: Any, g: Any, a: Any, b: Any) -> Any:
        return libdevice.fadd_rn(libdevice.fmul_rn(v, a), libdevice.fmul_rn(g, b))

    return step


def found(code: Code) -> set[str]:
    return {text.split()[0] for text in broken(code)}


def test_a_sound_kernel_is_as_required(built: Make, toy: Any, separate_step: Any) -> None:
    code = built(toy(separate_step))

    assert found(code) == set()
    assert {name: code.measures[name] for name in ("LDG.128", "STG.128", "FMUL", "FADD")} == {
        "LDG.128": 3,
        "STG.128": 2,
        "FMUL": 8,
        "FADD": 4,
    }
    assert 8 <= code.measures["registers"] <= 64


def test_a_fused_product_and_sum_is_found(toolkit: Any, built: Make, toy: Any) -> None:
    @toolkit.cuda.jit(device=True)
    def step(v: Any, g: Any, a: Any, b: Any) -> Any:
        return v * a + g * b

    code = built(toy(step))

    assert found(code) == {"FFMA"}
    assert code.measures["FFMA"] == 4


def test_a_fused_product_and_sum_in_float64_is_found(toolkit: Any, memory: Any, built: Make) -> None:
    read_packet, write_packet = memory.DOUBLES.read_packet, memory.DOUBLES.write_packet

    def plain(w: int, g: int) -> None:
        x, y = read_packet(w), read_packet(g)
        write_packet(w, (x[0] - y[0] * y[1], x[1] - y[1] * y[1]))

    assert found(built(plain, "update_float64_no_momentum_plain")) == {"DFMA"}


def test_a_load_of_single_elements_is_found(built: Make, toy: Any, separate_step: Any) -> None:
    code = built(toy(separate_step, reads_packets=False))

    assert found(code) == {"LDG.128"}
    assert code.measures["LDG.128"] == 2


def test_float64_in_a_kernel_for_float32_is_found(toolkit: Any, built: Make, toy: Any) -> None:
    @toolkit.cuda.jit(device=True)
    def step(v: Any, g: Any, a: Any, b: Any) -> Any:
        return np.float32((np.float64(v) + np.float64(g)) + np.float64(a))

    assert found(built(toy(step))) == {"float64"}


def test_flushing_to_zero_is_found(built: Make, toy: Any, toolkit: Any) -> None:
    @toolkit.cuda.jit(device=True)
    def step(v: Any, g: Any, a: Any, b: Any) -> Any:
        return v * g

    assert found(built(toy(step))) == set()
    assert found(built(toy(step), fastmath=True)) == {"FTZ"}


def test_local_memory_is_found(toolkit: Any, memory: Any, built: Make) -> None:
    cuda, types = toolkit.cuda, toolkit.types
    read, write = memory.SINGLES.read, memory.SINGLES.write

    def through_local_memory(a: int, b: int, count: int) -> None:
        kept = cuda.local.array(64, types.float32)
        for i in range(64):
            kept[i * count & 63] = read(a + 4 * i)
        write(b, kept[count & 63])

    assert found(built(through_local_memory, "gather_float32")) >= {"stack", "STL", "LDL"}


def test_spilled_registers_are_found(toolkit: Any, memory: Any, built: Make) -> None:
    read_packet, write_packet = memory.SINGLES.read_packet, memory.SINGLES.write_packet

    def many_at_once(a: int) -> None:
        p, q, r, s = read_packet(a), read_packet(a + 16), read_packet(a + 32), read_packet(a + 48)
        t, u, v, w = read_packet(a + 64), read_packet(a + 80), read_packet(a + 96), read_packet(a + 112)
        toolkit_barrier()
        write_packet(a, (w[0], v[0], u[0], t[0]))
        write_packet(a + 16, (p[0], q[0], r[0], s[0]))
        write_packet(a + 32, (w[1], v[1], u[1], t[1]))
        write_packet(a + 48, (p[1], q[1], r[1], s[1]))
        write_packet(a + 64, (w[2], v[2], u[2], t[2]))
        write_packet(a + 80, (p[2], q[2], r[2], s[2]))
        write_packet(a + 96, (w[3], v[3], u[3], t[3]))
        write_packet(a + 112, (p[3], q[3], r[3], s[3]))

    toolkit_barrier = toolkit.cuda.syncthreads
    assert found(built(many_at_once, "gather_float32")) == set()
    assert found(built(many_at_once, "gather_float32", max_registers=24)) >= {"stack", "STL", "LDL"}


def test_arithmetic_in_half_precision_is_found(toolkit: Any, memory: Any, built: Make) -> None:
    read, write, types = memory.SINGLES.read, memory.SINGLES.write, toolkit.types

    def fused(a: int) -> None:
        x, y, z = types.float16(read(a)), types.float16(read(a + 4)), types.float16(read(a + 8))
        write(a, types.float32(x * y + z))

    assert found(built(fused, "gather_float16")) == {"half"}


def test_a_conversion_of_half_precision_is_none(toolkit: Any, memory: Any, built: Make) -> None:
    read, write, types = memory.SINGLES.read, memory.SINGLES.write, toolkit.types

    def rounded(a: int) -> None:
        write(a, types.float32(types.float16(read(a))))

    assert found(built(rounded, "gather_float16")) == set()


def test_more_registers_than_leave_room_are_found(toolkit: Any, memory: Any, built: Make) -> None:
    read_packet, write_packet, barrier = (
        memory.SINGLES.read_packet,
        memory.SINGLES.write_packet,
        toolkit.cuda.syncthreads,
    )

    def many_at_once(w: int, g: int) -> None:
        kept = (
            (read_packet(w), read_packet(g), read_packet(w + 16), read_packet(g + 16)),
            (read_packet(w + 32), read_packet(g + 32), read_packet(w + 48), read_packet(g + 48)),
            (read_packet(w + 64), read_packet(g + 64), read_packet(w + 80), read_packet(g + 80)),
            (read_packet(w + 96), read_packet(g + 96), read_packet(w + 112), read_packet(g + 112)),
            (read_packet(w + 128), read_packet(g + 128), read_packet(w + 144), read_packet(g + 144)),
        )
        barrier()
        write_packet(w, kept[0][1])
        write_packet(g, kept[0][0])
        write_packet(w + 16, kept[0][3])
        write_packet(g + 16, kept[0][2])
        write_packet(w + 32, kept[1][1])
        write_packet(g + 32, kept[1][0])
        write_packet(w + 48, kept[1][3])
        write_packet(g + 48, kept[1][2])
        write_packet(w + 64, kept[2][1])
        write_packet(g + 64, kept[2][0])
        write_packet(w + 80, kept[2][3])
        write_packet(g + 80, kept[2][2])
        write_packet(w + 96, kept[3][1])
        write_packet(g + 96, kept[3][0])
        write_packet(w + 112, kept[3][3])
        write_packet(g + 112, kept[3][2])
        write_packet(w + 128, kept[4][1])
        write_packet(g + 128, kept[4][0])
        write_packet(w + 144, kept[4][3])
        write_packet(g + 144, kept[4][2])

    assert found(built(many_at_once, "update_float32_no_momentum_plain")) == {"registers"}


def test_other_capabilities(toolkit: Any, toy: Any, separate_step: Any) -> None:
    function = toy(separate_step)
    codes = build(
        toolkit.Kernel(MOMENTUM, function, toolkit.cuda.jit(function)),
        "sm_80",
        CAPABILITY,
        "sm_100a",
        "sm_120a",
    )

    assert [code.capability for code in codes] == ["sm_80", CAPABILITY, "sm_100a", "sm_120a"]
    for code in codes:
        assert found(code) == set()


def test_one_capability_or_several_at_once_make_no_difference(
    toolkit: Any, toy: Any, separate_step: Any
) -> None:
    function = toy(separate_step)

    def kernel() -> Any:
        return toolkit.Kernel(MOMENTUM, function, toolkit.cuda.jit(function))

    assert build(kernel(), "sm_80", CAPABILITY) == [*build(kernel(), "sm_80"), *build(kernel(), CAPABILITY)]


@pytest.mark.parametrize(
    ("capability", "message"),
    [
        ("sm_90", "capability must be what a launch builds for, sm_90a, got sm_90"),
        ("sm_95a", "could not be built for sm_95a"),
        ("90", "capability must be like sm_80 or sm_90a, got '90'"),
    ],
)
def test_no_such_capability(
    toolkit: Any, toy: Any, separate_step: Any, capability: str, message: str
) -> None:
    function = toy(separate_step)
    with pytest.raises(CouldNotRun, match=message):
        build(toolkit.Kernel(MOMENTUM, function, toolkit.cuda.jit(function)), capability)


# The command


@pytest.fixture
def one_kernel(
    toolkit: Any, toy: Any, separate_step: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The command with a sound toy kernel, built in this process, and a file of its own for the counts."""
    function = toy(separate_step)
    kernels = {MOMENTUM: toolkit.Kernel(MOMENTUM, function, toolkit.cuda.jit(function))}

    def built(names: list[str], capabilities: list[str], processes: int, keeps_ptx: bool) -> Iterator[Code]:
        return (code for name in names for code in build(kernels[name], *capabilities))

    monkeypatch.setattr(command, "_kernels", lambda: iter(kernels.values()))
    monkeypatch.setattr(command, "_built", built)
    monkeypatch.setattr(pins, "FILE", tmp_path / "pins.json")
    return kernels


def test_the_command_compares_with_what_it_wrote(one_kernel: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == command.BROKEN
    assert "has no counts in pins.json" in capsys.readouterr().out
    assert command.main(["--update"]) == command.AS_REQUIRED
    assert command.main([]) == command.AS_REQUIRED
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("as required: 1 kernels for sm_80 and sm_90a, in ")


def test_the_command_says_what_is_broken(
    one_kernel: Any, toolkit: Any, toy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    @toolkit.cuda.jit(device=True)
    def step(v: Any, g: Any, a: Any, b: Any) -> Any:
        return v * a + g * b

    function = toy(step)
    one_kernel[MOMENTUM] = toolkit.Kernel(MOMENTUM, function, toolkit.cuda.jit(function))

    # Counts that are written with a requirement broken do not make it hold.
    assert command.main(["--update", "--capability", "sm_80"]) == command.BROKEN
    assert command.main(["--capability", "sm_80"]) == command.BROKEN
    lines = capsys.readouterr().out.splitlines()
    assert f"BROKEN: {MOMENTUM} sm_80" in lines
    assert "  FFMA must be at most 0, got 4: a product and a sum are rounded once" in "\n".join(lines)
    assert lines[-1].startswith("BROKEN: 1 in 1 pieces of machine code; looked at 1 kernels for sm_80, in ")


def test_counts_of_a_kernel_that_is_no_more_are_found(
    one_kernel: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--update", "--capability", "sm_80"]) == command.AS_REQUIRED
    text = pins.FILE.read_text(encoding="utf-8")
    pins.FILE.write_text(text.replace(f'"{MOMENTUM}"', f'"gone": {{}},\n"{MOMENTUM}"'), encoding="utf-8")

    assert command.main(["--capability", "sm_80"]) == command.BROKEN
    assert "BROKEN: gone sm_80" in capsys.readouterr().out


def test_a_pattern_that_matches_nothing_is_wrong_usage(
    one_kernel: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--kernel", "gone"]) == command.WRONG_USAGE
    assert "--kernel must match the name of a kernel, got 'gone'" in capsys.readouterr().err


def test_the_simulator_has_no_machine_code(toolkit: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "numba_kernels.selfcheck.machine_code.cuda"],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == command.COULD_NOT_RUN
    assert "NUMBA_ENABLE_CUDASIM must be 0 or not set" in done.stderr
