"""The processor of this machine: libraries choose their code by it, and so it decides the bits."""

from __future__ import annotations

import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")

# Instruction sets that update many elements at once, or with one rounding less.
INSTRUCTION_SETS = (
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx512f",
    "avx512_bf16",
    "avx512_fp16",
    "amx_bf16",
    "asimd",
    "asimdhp",
    "bf16",
    "sve",
    "sve2",
)


def processor(cpu_info: Path = CPU_INFO) -> str | None:
    """Return the architecture, the model and the vector instructions of this processor, as far as known.

    Parameters
    ----------
    cpu_info : Path, optional
        The file in which Linux describes its processors. On other systems, the vector instructions are left
        out.

    Returns
    -------
    str or None
        Such as ``"x86_64, AMD EPYC: sse4_2 avx f16c fma avx2"``; None if nothing is known.
    """
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    pairs = (line.partition(":") for line in lines)
    told = {key.strip().lower(): value.strip() for key, _, value in pairs}
    model = told.get("model name") or platform.processor()
    offered = told.get("flags", told.get("features", "")).split()
    parts = [part for part in dict.fromkeys((platform.machine(), model)) if part]
    instructions = [name for name in INSTRUCTION_SETS if name in offered]
    return ": ".join(filter(None, (", ".join(parts), " ".join(instructions)))) or None
