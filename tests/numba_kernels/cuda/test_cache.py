"""Machine code on disk: never stale or damaged, in folders that cannot be used, in many processes at once."""

from __future__ import annotations

import ast
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda import cache
from numba_kernels.cuda.cache import MachineCode, load, save
from tests.numba_kernels.damage import damaged

ROOT = Path(__file__).parents[3]
COMPILERS = ("compiler 1.0", "linker 2.0")
KEY = "update", "sm_90a", COMPILERS
CODE = MachineCode("entry", b"\x7fELF\n\0\n" + bytes(range(256)))

needs_posix = pytest.mark.skipif(os.name != "posix", reason="Windows has other permissions")


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(base: Path) -> list[Path]:
    return sorted(path for path in base.rglob("*") if path.is_file())


def test_code_is_found_again_under_its_key_alone(base: Path) -> None:
    assert load(*KEY) is None
    save(*KEY, CODE)
    assert load(*KEY) == CODE
    for other in (
        ("other", "sm_90a", COMPILERS),
        ("update", "sm_80", COMPILERS),
        ("update", "sm_90a", ("compiler 1.1", "linker 2.0")),
        ("update", "sm_90a", COMPILERS[:1]),
    ):
        assert load(*other) is None
    (file,) = kept(base)
    assert file.parent == cache.folder(COMPILERS)
    assert file.parent.parent == base


def test_a_file_under_the_name_of_another_kernel_is_not_taken(base: Path) -> None:
    save(*KEY, CODE)
    (file,) = kept(base)
    for name in ("other.sm_90a", "update.sm_80"):
        file.with_name(name).write_bytes(file.read_bytes())
        assert load(*name.split("."), COMPILERS) is None  # type: ignore[call-arg, arg-type]


def fingerprint() -> str:
    return str(cache.sources_fingerprint.__wrapped__())


def test_any_source_and_the_version_of_python_lead_to_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All files are tried: it is their contents that count, and neither their times nor their places."""
    copy = tmp_path / "packages"
    for name in cache.sources():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((cache.ROOT / name).read_bytes())
    before = cache.sources_fingerprint()
    monkeypatch.setattr(cache, "ROOT", copy)
    assert fingerprint() == before
    for name in cache.sources():
        contents = (copy / name).read_bytes()
        (copy / name).write_bytes(contents + b"\n")
        assert fingerprint() != before, name
        (copy / name).write_bytes(contents)
    os.utime(copy / name, (1, 1))
    assert fingerprint() == before
    (copy / name).with_name("another.py").touch()
    assert fingerprint() != before
    (copy / name).with_name("another.py").unlink()
    monkeypatch.setattr(cache.sys, "version", "another")
    assert fingerprint() != before


# They make errors and arrays of the host, and nothing of a kernel.
OF_THE_HOST = {
    "numba_kernels.cuda.host.loading",
    "numba_kernels.cuda.host.loss_scale",
    "numba_kernels.cuda.host.optimizer",
    "sgd_ref.base.installing",
    "sgd_ref.base.settings",
    "sgd_ref.gradients",
    "sgd_ref.validation",
}


def test_all_that_kernels_import_is_among_the_sources() -> None:
    missing = set()
    for name in cache.sources():
        for node in ast.walk(ast.parse((cache.ROOT / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(("sgd_ref", "numba_kernels")):
                assert node.module is not None
                paths = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                if not any(f"{path.replace('.', '/')}.py" in cache.sources() for path in paths):
                    missing.add(node.module)
    assert missing == OF_THE_HOST


def test_a_damaged_file_counts_as_none_and_is_replaced(base: Path) -> None:
    save(*KEY, CODE)
    (file,) = kept(base)
    contents = file.read_bytes()
    for damage in damaged(contents, np.random.default_rng(4)):
        file.write_bytes(damage)
        assert load(*KEY) is None
    save(*KEY, CODE)
    assert load(*KEY) == CODE
    assert kept(base) == [file]


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "a_file"
    occupied.write_text("no folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(occupied / "cache"))
    save(*KEY, CODE)
    assert load(*KEY) is None
    assert occupied.read_text() == "no folder"


def test_a_folder_in_the_place_of_a_file(base: Path) -> None:
    save(*KEY, CODE)
    (file,) = kept(base)
    file.unlink()
    file.mkdir()
    (file / "something").touch()
    save(*KEY, CODE)
    assert load(*KEY) is None
    assert kept(base) == [file / "something"]


def test_a_write_that_fails_leaves_no_file_behind(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        save(*KEY, CODE)
    assert kept(base) == []
    assert load(*KEY) is None


# The module alone, since numba-cuda takes a second to import.
ALONE = """
import importlib.util, json, os, sys
specification = importlib.util.spec_from_file_location("alone", sys.argv[1])
cache = importlib.util.module_from_spec(specification)
specification.loader.exec_module(cache)
key = "update", "sm_90a", ("compiler",)
"""

READ_ONLY = """
if os.geteuid() == 0:
    # To the superuser nothing is read-only.
    os.seteuid(65534)
found = cache.load(*key)
cache.save("other", *key[1:], cache.MachineCode("other", b"code"))
print(json.dumps([found is not None, cache.load("other", *key[1:]) is not None]))
"""


def in_a_process(script: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", ALONE + script, str(cache.__file__)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


@needs_posix
def test_a_folder_that_is_read_only() -> None:
    # The folders of pytest are closed to other users.
    with tempfile.TemporaryDirectory() as name:
        base = Path(name, "cache")
        Path(name).chmod(0o755)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NUMBA_CACHE_DIR", str(base))
            save("update", "sm_90a", ("compiler",), CODE)
        before = kept(base)
        before[0].chmod(0o444)
        for path in (before[0].parent, base):
            path.chmod(0o555)
        try:
            process = in_a_process(READ_ONLY, base)
            assert json.loads(process.communicate(timeout=60)[0]) == [True, False]
            assert kept(base) == before
        finally:
            for path in (base, before[0].parent):
                path.chmod(stat.S_IRWXU)


AT_ONCE = """
code = bytes(range(256)) * 200
for number in range(100):
    cache.save(*key, cache.MachineCode(f"entry {os.getpid()}", code + str(os.getpid()).encode()))
    found = cache.load(*key)
    # Whose it is does not matter; half of one and half of another would have no checksum.
    assert found is not None and found.code[:len(code)] == code
    assert found.entry.split()[1].encode() == found.code[len(code):]
print("whole")
"""


def test_processes_that_write_a_file_at_once(base: Path) -> None:
    processes = [in_a_process(AT_ONCE, base) for _ in range(3)]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["whole\n"] * 3
    assert [file.name for file in kept(base)] == ["update.sm_90a"]
