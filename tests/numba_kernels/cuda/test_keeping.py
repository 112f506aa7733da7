"""Dispatchers of Numba with the cache on disk: they compile a kernel once, and then launch that file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from numba_kernels.selfcheck.machine_code.cuda.errors import CouldNotRun
from numba_kernels.selfcheck.machine_code.cuda.wheels import require_all
from numba_kernels.selfcheck.ptx.driver.library import why_no_compiler

ROOT = Path(__file__).parents[3]

BEGIN = """
import json
from numba_kernels.selfcheck.ptx import session
device = session.begin(keeps_texts=False)
from numba.cuda import dispatcher
from numba_kernels.cuda.device.access import WORDS
from numba_kernels.cuda.toolkit import cuda, kernel, types
write = WORDS.write
compilations = []
compile_now = dispatcher._Kernel.__init__
def noted(self, *arguments, **options):
    compilations.append(self)
    compile_now(self, *arguments, **options)
dispatcher._Kernel.__init__ = noted

def made():
    @kernel("toy")
    def toy(address, value):
        write(address, value)
    return toy

def launched(kernel, value):
    array = cuda.to_device([0])
    kernel.launch(1, 1, 0, array.__cuda_array_interface__["data"][0], value)
    return int(array.copy_to_host()[0])

def end(*found):
    print(json.dumps(found), flush=True)
"""

TWICE = """
found = [launched(made(), 5), len(compilations), launched(made(), 6), len(compilations)]
one = made()
found += [launched(one, 7), launched(one, 8), len(compilations)]
end(found, list(map(str, device.faults)))
"""

OTHERS = """
# A device of another kind asks the library of a loaded kernel for its code, as it is launched there.
launched(made(), 1)
loaded = made()
launched(loaded, 1)
(found,) = loaded.dispatcher.overloads.values()
before = len(compilations)
codes = [found.library.get_cubin((8, 0, "")).code for _ in range(2)]
named = [found.library._entry_name.encode() in codes[0]]
after = len(compilations)
again = made()
launched(again, 1)
(other,) = again.dispatcher.overloads.values()
same = other.library.get_cubin((8, 0, "")).code == codes[0]
here = found.library.get_cubin().code
named += [found.library._entry_name.encode() in here, b".target sm_80" in codes[0], b".target sm_90a" in here]
# With options that need more than machine code, nothing is kept.
from numba_kernels.cuda.keeping import keep
plain = cuda.jit(lambda address: None, debug=True, opt=False)
keep("plain", plain)
end(before, after, len(compilations), same, *named, type(plain._cache).__name__)
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    try:
        require_all()
    except CouldNotRun as error:
        reason: str | None = str(error)
    else:
        reason = why_no_compiler()
    if reason is not None:
        if os.environ.get("SGD_REF_REQUIRE_CUDA_CODE") == "1":
            pytest.fail(f"SGD_REF_REQUIRE_CUDA_CODE=1, but {reason}")
        pytest.skip(reason)
    return tmp_path / "cache"


def in_a_process(script: str, base: Path) -> Any:
    """Return what a script prints, as JSON, with kernels of executed PTX and no warnings."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + script],
        env={
            **os.environ,
            "NUMBA_CACHE_DIR": str(base),
            "NUMBA_ENABLE_CUDASIM": "0",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_a_kernel_is_compiled_once_for_all_processes_and_again_if_its_file_is_damaged(base: Path) -> None:
    assert in_a_process(TWICE, base) == [[5, 1, 6, 1, 7, 8, 1], []]
    (file,) = (path for path in base.rglob("*") if path.is_file())
    assert file.name == "toy.sm_90a"
    contents = file.read_bytes()
    assert in_a_process(TWICE, base) == [[5, 0, 6, 0, 7, 8, 0], []]
    file.write_bytes(contents[:-1])
    assert in_a_process(TWICE, base) == [[5, 1, 6, 1, 7, 8, 1], []]
    assert file.read_bytes() == contents


def test_other_devices_have_files_of_their_own_and_odd_options_have_none(base: Path) -> None:
    assert in_a_process(OTHERS, base) == [1, 2, 2, True, True, True, True, True, "NullCache"]
    assert sorted(path.name for path in base.rglob("*") if path.is_file()) == ["toy.sm_80", "toy.sm_90a"]
