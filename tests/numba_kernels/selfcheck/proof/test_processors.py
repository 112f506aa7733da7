"""Kernels for other processors have other instructions, and are proven, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from numba_kernels.cpu.addresses import IS_X86

PROGRAM = """
import re
from numba_kernels.cpu.kernels import accumulation_kernel, update_kernel
from numba_kernels.selfcheck.proof.check import module_of
from numba_kernels.selfcheck.proof.proving import prove
from numba_kernels.shared.element import VARIANTS
from sgd_ref.arithmetic.formats import FLOAT16, FLOAT32
for dtype, variant in ((FLOAT32, VARIANTS[0]), (FLOAT16, None)):
    kernel = accumulation_kernel(dtype) if variant is None else update_kernel(dtype, variant)
    module = module_of(kernel)
    print(prove(module, dtype, variant).failures, re.findall(r"fpext half", module))
"""


@pytest.mark.skipif(not IS_X86, reason="these are names of processors of x86-64")
def test_kernels_for_the_oldest_processor_are_proven(tmp_path: Path) -> None:
    chosen = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2", "NUMBA_CACHE_DIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | chosen,
        capture_output=True,
        text=True,
        check=False,
    )
    # That processor does not convert float16.
    assert ran.stdout.splitlines() == ["[] []", "[] []"], ran.stderr
