"""Whatever processor Numba compiles for: the bits of the reference, or a clear error."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from llvmlite import binding

from numba_kernels.cpu import target
from numba_kernels.cpu.target import Target, converts_half

ROOT = Path(__file__).parents[3]

on_x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="features of x86-64")

STEP = """
import numpy as np
import numba_kernels, sgd_ref
steps = []
for package in (sgd_ref, numba_kernels):
    w = np.linspace(-3, 3, 100).astype(np.float16)
    optimizer = package.SGD(0.1, momentum=0.9, nesterov=True)
    for call in range(2):
        optimizer.apply([np.sin(np.arange(100) + call).astype(np.float16)], [w])
    steps.append(w.tobytes())
assert steps[0] == steps[1]
from numba_kernels.selfcheck.page import description
from numba_kernels.selfcheck.extent import Extent
print(*[line for line in description(Extent()) if line.startswith("compiler")])
"""


def step_in_a_process(folder: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU")}
    return subprocess.run(
        [sys.executable, "-c", STEP],
        env={**environment, "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.share(3)
@on_x86
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"NUMBA_CPU_NAME": "generic"}, ["for generic (features set to '')", "by bits"]),
        ({"NUMBA_CPU_FEATURES": "-f16c"}, ["features set to '-f16c'", "by bits"]),
        ({"NUMBA_CPU_NAME": "x86-64-v2"}, ["for x86-64-v2 ("]),
    ],
    ids=str,
)
def test_a_target_that_was_chosen_has_the_bits_of_the_reference(
    settings: dict[str, str], told: list[str], tmp_path: Path
) -> None:
    run = step_in_a_process(tmp_path, settings)
    assert run.returncode == 0, run.stderr[-2000:]
    for part in told:
        assert part in run.stdout


@on_x86
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"NUMBA_CPU_FEATURES": "f16c"}, "a sign each, as +avx2,-f16c, got 'f16c'"),
        ({"NUMBA_CPU_FEATURES": "+soft-float"}, "which has no soft-float"),
        ({"NUMBA_CPU_NAME": "pentium4", "NUMBA_CPU_FEATURES": ""}, "leave NUMBA_CPU_FEATURES out"),
    ],
    ids=str,
)
def test_a_target_that_would_end_the_process_is_refused(
    settings: dict[str, str], named: str, tmp_path: Path
) -> None:
    run = step_in_a_process(tmp_path, settings)
    assert run.returncode == 1
    assert "RuntimeError: NUMBA_CPU_" in run.stderr
    assert named in run.stderr


PRESENT = {
    "sse4.2": True,
    "avx": True,
    "avx2": False,
    "ssse3": True,
    "popcnt": True,
    "cx16": True,
    "sahf": True,
}


@pytest.mark.parametrize(
    ("name", "features", "named"),
    [
        ("host", "+avx2", "has no avx2"),
        ("host", "-avx,-sse2", "without -sse2"),
        ("host", "-neon", "without -neon"),
        ("host", "+avx,", None),
        ("host", "", None),
        ("generic", "+avx,+prefer-256-bit", None),
        ("x86-64-v2", "", None),
        ("x86-64-v3", "", "not avx2"),
        ("x86-64-v3", "-avx2,-bmi,-bmi2,-f16c,-fma,-lzcnt,-movbe,-xsave", None),
        ("haswell", "", "leave NUMBA_CPU_FEATURES out"),
        ("host", "--avx", "got '--avx'"),
        ("host", "+", r"got '\+'"),
    ],
)
def test_targets_are_compared_with_this_processor(
    name: str, features: str, named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target.binding, "get_host_cpu_name", lambda: "host")
    monkeypatch.setattr(target.binding, "get_host_cpu_features", lambda: PRESENT)
    chosen = Target(name, features, chosen=True)
    if named is None:
        target._check.__wrapped__(chosen)
        return
    with pytest.raises(RuntimeError, match=named):
        target._check.__wrapped__(chosen)


def test_settings_of_a_file_or_of_numba_config_count_as_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(target.config, "CPU_NAME", "generic")
    monkeypatch.setattr(target.config, "CPU_FEATURES", "")
    assert target.target() == ("generic", "", True)
    monkeypatch.setattr(target.config, "CPU_FEATURES", None)
    assert target.target() == ("generic", target.codegen.get_host_cpu_features(), False)


@on_x86
@pytest.mark.parametrize(
    ("name", "features", "expected"),
    [
        ("generic", "", False),
        ("generic", "+f16c", True),
        ("x86-64-v2", "", False),
        ("x86-64-v3", "", True),
        ("x86-64-v3", "-f16c", False),
        # float16 is a number of its own there.
        ("sapphirerapids", "", True),
        ("sapphirerapids", "-avx", False),
    ],
)
def test_the_compiler_says_what_converts_float16(name: str, features: str, expected: bool) -> None:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine(cpu=name, features=features)
    assert converts_half(machine) is expected
