"""The processor: what is told of it on Linux, and elsewhere."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from sgd_ref.conformance.targets.findings.processor import processor

INTEL = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu sse4_2 fma avx avx2

processor\t: 1
model name\t: Another
flags\t\t: avx512f
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd sve\n"


@pytest.mark.parametrize(
    ("text", "machine", "expected"),
    [
        (INTEL, "x86_64", "x86_64, Some CPU @ 2.00GHz: sse4_2 avx fma avx2"),
        (ARM, "aarch64", "aarch64: asimd sve"),
        ("", "riscv64", "riscv64"),
        (None, "arm64", "arm64"),
        (None, "", None),
    ],
)
def test_what_is_told(
    text: str | None, machine: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "processor", lambda: "")
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    assert processor(path) == expected


def test_elsewhere_the_system_names_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert processor(tmp_path / "none") == "arm64, arm"


def test_this_machine_is_known() -> None:
    known = processor()
    assert known is None or known.startswith(platform.machine())
