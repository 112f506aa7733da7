"""Kernels on disk: never stale, never damaged, in folders that cannot be used, in many processes at once."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.misc.appdirs import AppDirs

from numba_kernels.cpu import cache, target
from numba_kernels.cpu.kernels import update_kernel
from numba_kernels.shared.element import CLASSIC, PLAIN, Variant
from tests.numba_kernels.damage import damaged

ROOT = Path(__file__).parents[3]
SOURCES = cache.sources()

needs_posix = pytest.mark.skipif(os.name != "posix", reason="Windows has other permissions, and no fork")


def tiny(factor: float = 3.0, name: str = "tiny") -> Any:
    """Return a kernel that compiles quickly: one plus a multiple."""

    @cache.kernel(name, "float64(float64)")
    def function(x: float) -> float:
        return x * factor + 1.0

    return function


def was_loaded(kernel: Any) -> bool:
    return bool(kernel.stats.cache_hits) and not kernel.stats.cache_misses


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(base: Path) -> list[Path]:
    return sorted(path for path in base.rglob("*") if path.is_file())


def in_a_process(script: str, folder: Path, *arguments: str, paths: tuple[Path, ...] = ()) -> Any:
    """Return what a script prints, as JSON, with its kernels in a folder and no warnings."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        env={
            **os.environ,
            "NUMBA_CACHE_DIR": str(folder),
            "PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT))),
        },
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the package whose fingerprint is asked for."""
    copy = tmp_path / "package"
    shutil.copytree(cache.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cache, "PACKAGE", copy)
    return copy


def fingerprint() -> str:
    return str(cache.fingerprint.__wrapped__())


def test_a_copy_has_the_fingerprint_of_the_original(package: Path) -> None:
    assert fingerprint() == cache.fingerprint()


@pytest.mark.share(5)
@pytest.mark.parametrize("name", SOURCES)
def test_a_change_in_any_file_leads_to_another_folder(name: str, package: Path) -> None:
    before = fingerprint()
    file = package / name
    contents = file.read_bytes()
    file.write_bytes(contents + b"\n")
    assert fingerprint() != before
    file.write_bytes(contents)
    assert fingerprint() == before
    os.utime(file, (1, 1))
    assert fingerprint() == before


def test_files_that_come_go_or_change_their_names_lead_to_another_folder(package: Path) -> None:
    found = [fingerprint()]
    # They stay in the same order.
    (package / "shared/half.py").rename(package / "shared/half_.py")
    found.append(fingerprint())
    (package / "shared/half_.py").unlink()
    found.append(fingerprint())
    (package / "shared/half_.py").touch()
    found.append(fingerprint())
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (cache.numba, "__version__", "0.0"),
        (cache.llvmlite, "__version__", "0.0"),
        (cache.sys, "version", "another"),
        (target.binding, "get_host_cpu_name", lambda: "another"),
        (target.codegen, "get_host_cpu_features", lambda: "+another"),
        (target.config, "CPU_NAME", "generic"),
        (target.config, "CPU_FEATURES", ""),
    ],
)
def test_another_compiler_or_processor_leads_to_another_folder(
    module: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where the environment chooses a processor, this one does not matter.
    monkeypatch.setattr(target.config, "CPU_NAME", None)
    monkeypatch.setattr(target.config, "CPU_FEATURES", None)
    before = fingerprint()
    monkeypatch.setattr(module, name, value)
    assert fingerprint() != before


STEP = """
import importlib, json, pathlib, sys
import numpy as np
kernels = importlib.import_module(sys.argv[1])
if len(sys.argv) > 2:
    file = pathlib.Path(sys.argv[2])
    file.write_text(file.read_text().replace(sys.argv[3], sys.argv[4]))
w = np.ones(5, np.float32)
kernels.SGD(0.5, momentum=0.5).apply([np.full(5, 3, np.float32)], [w])
print(json.dumps(w.tolist()))
"""


def test_no_helper_is_ever_stale(tmp_path: Path) -> None:
    """A helper is changed in a copy of the package, while it lies there and while it is in use."""
    package = tmp_path / "copied_kernels"
    # The optimizer imports the ranks, which have no kernels.
    ranks = [f"ranks/{path.name}" for path in (cache.PACKAGE / "ranks").glob("*.py")]
    for name in ("__init__.py", *SOURCES, *ranks):
        text = (cache.PACKAGE / name).read_text()
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text.replace("numba_kernels", "copied_kernels"))
    base = tmp_path / "cache"
    operations = package / "shared/operations.py"
    edit = (str(operations), "return a + b", "return a - b")
    # Python itself takes an edit of equal length within one second of the former one for no edit.
    os.utime(operations, (1, 1))

    def stepped(*arguments: str) -> Any:
        return in_a_process(STEP, base, "copied_kernels", *arguments, paths=(tmp_path,))

    # The process has imported the sum before it is made a difference; the next one must not have its kernel.
    assert stepped(*edit) == [-0.5] * 5
    assert "return a - b" in operations.read_text()
    assert stepped() == [2.5] * 5
    assert len(list(base.iterdir())) == 2


def test_the_environment_says_where_kernels_are_kept(base: Path) -> None:
    assert cache.base_folder() == base
    assert tiny()(2.0) == 7.0
    (file,) = kept(base)
    assert file.parent == cache.folder()
    assert file.parent.parent == base


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_choice_it_is_the_users_folder(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    if value is not None:
        monkeypatch.setenv("NUMBA_CACHE_DIR", value)
    assert cache.base_folder() == Path(AppDirs("sgd-ref", appauthor=False).user_cache_dir)
    assert cache.base_folder().is_absolute()


def test_the_second_time_a_kernel_is_loaded(base: Path) -> None:
    first, second, other = tiny(), tiny(), tiny(name="other")
    assert [was_loaded(kernel) for kernel in (first, second, other)] == [False, True, False]
    assert first(2.0) == second(2.0) == other(2.0) == 7.0
    assert len(kept(base)) == 2


def test_another_signature_of_the_same_name_is_compiled(base: Path) -> None:
    tiny()

    @cache.kernel("tiny", "int64(int64)")
    def function(x: int) -> int:
        return x + 10

    assert not was_loaded(function)
    assert function(2) == 12
    again = tiny()
    assert again(2.0) == 7.0
    assert not was_loaded(again)


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = tmp_path / "a_file"
    occupied.write_text("no folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(occupied / "cache"))
    for _ in range(2):
        kernel = tiny()
        assert kernel(2.0) == 7.0
        assert not was_loaded(kernel)
    assert occupied.read_text() == "no folder"


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Return a folder that other users can reach; that of pytest is closed to them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


READ_ONLY = """
import json, os, sys
import numba
import numba_kernels.cpu.cache as cache
def function(x):
    return x * 3.0 + 1.0
def made(name):
    return cache.kernel(name, "float64(float64)")(function)
if sys.argv[1] == "fill":
    made("tiny")
elif os.geteuid() == 0:
    # To the superuser nothing is read-only. Python itself may lie where others cannot read, so what
    # compiling imports is imported before.
    numba.njit(function)(2.0)
    os.seteuid(65534)
tiny, other = made("tiny"), made("other" if sys.argv[1] == "use" else "tiny")
print(json.dumps([tiny(2.0), other(2.0), sum(tiny.stats.cache_hits.values()),
                  sum(other.stats.cache_hits.values())]))
"""


@needs_posix
def test_a_folder_that_is_read_only(shared_folder: Path) -> None:
    base = shared_folder / "cache"
    assert in_a_process(READ_ONLY, base, "fill") == [7.0, 7.0, 1, 1]
    (folder,) = base.iterdir()
    before = kept(base)
    for path in before:
        path.chmod(0o444)
    for path in (folder, base):
        path.chmod(0o555)
    try:
        # What is there is loaded, and what is not is compiled and not kept; without a word.
        assert in_a_process(READ_ONLY, base, "use") == [7.0, 7.0, 1, 0]
        assert kept(base) == before
        # Files that may not be read.
        before[0].chmod(0o000)
        assert in_a_process(READ_ONLY, base, "use") == [7.0, 7.0, 0, 0]
    finally:
        for path in (base, folder):
            path.chmod(stat.S_IRWXU)


def test_a_damaged_file_is_compiled_again(base: Path) -> None:
    """Machine code that one bit was changed in would end the process, or compute something else."""
    tiny()
    (file,) = kept(base)
    contents = file.read_bytes()
    for damage in damaged(contents, np.random.default_rng(4), flips=20):
        file.write_bytes(damage)
        kernel = tiny()
        assert kernel(2.0) == 7.0
        assert not was_loaded(kernel)
        # It was written again.
        assert was_loaded(tiny())
    assert kept(base) == [file]


def test_a_folder_in_the_place_of_a_file(base: Path) -> None:
    tiny()
    (file,) = kept(base)
    file.unlink()
    file.mkdir()
    (file / "something").touch()
    for _ in range(2):
        kernel = tiny()
        assert kernel(2.0) == 7.0
        assert not was_loaded(kernel)
    assert (file / "something").exists()


def test_a_write_that_fails_leaves_no_file_behind(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError("No space left on device")

    tiny()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        kernel = tiny(name="other")
    assert kernel(2.0) == 7.0
    assert len(kept(base)) == 1


AT_ONCE = """
import json, os, time
import numpy as np
from numba_kernels.cpu.kernels import accumulation_kernel
from numba_kernels.shared.slots import SETTINGS

def stepped():
    kernel = accumulation_kernel(np.dtype("float32"))
    g, accumulator = np.full(5, 3, np.float32), np.full(5, 4, np.float32)
    table = np.array([[0, g.ctypes.data, 0, 0, accumulator.ctypes.data]])
    kernel(table, np.array([[0, 0, 5]]), 0, 1, np.ones(SETTINGS), np.ones((1, 2)), np.zeros(1, bool))
    return accumulator.tolist() == [7.0] * 5, sum(kernel.stats.cache_hits.values())

start = time.monotonic() + 0.2
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        status = 1
        try:
            while time.monotonic() < start:
                pass
            status = 0 if stepped()[0] else 2
        finally:
            os._exit(status)
    children.append(child)
statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(json.dumps([statuses, *stepped()]))
"""


@needs_posix
def test_four_processes_at_once_with_an_empty_cache(tmp_path: Path) -> None:
    base = tmp_path / "cache"
    # Python 3.12 warns of a fork where any library has started threads.
    script = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n" + AT_ONCE
    assert in_a_process(script, base) == [[0] * 4, True, 1]
    # One file, and none that was not finished.
    assert len(kept(base)) == 1


FEATURES: list[dict[str, Any]] = [
    {"momentum": 0.9, "nesterov": True, "global_clipnorm": 1.0, "weight_decay": 0.1, "use_ema": True},
    {"clipnorm": 1.0, "loss_scale_factor": 8.0},
    {"gradient_accumulation_steps": 2},
]

STEPS = """
import json, sys, warnings
import numpy as np, scipy.sparse
import numba_kernels, sgd_ref
from numba.core import dispatcher
from numba_kernels.cpu import rounding

warnings.simplefilter("ignore", UserWarning)
compilations = []
compile_now = dispatcher._FunctionCompiler.compile
def noted(self, *arguments):
    compilations.append(str(self.py_func))
    return compile_now(self, *arguments)
dispatcher._FunctionCompiler.compile = noted

generator = np.random.default_rng(7)
def random(shape):
    return generator.standard_normal(shape).astype(np.float32)

decided = rounding.decided_norms, rounding.decided_narrow_norm
after_first = 0
total = 0.0
for features in json.loads(sys.argv[1]):
    inner = numba_kernels.SGD(0.1, **features)
    wrapped = "loss_scale_factor" not in features
    optimizer = sgd_ref.LossScaleOptimizer(inner, 4.0) if wrapped else inner
    w = [random((30, 4)), random((70_000,)), random((9, 8))[:, ::2]]
    optimizer.apply([random(v.shape) for v in w], w)
    # The kernels that read sparse gradients are compiled when the first of each kind comes.
    dense = [random(v.shape) for v in w[1:]]
    optimizer.apply([sgd_ref.SparseRows([0, 0], random((2, 4)), (30, 4)), *dense])
    optimizer.apply([scipy.sparse.csr_array(random((30, 4))), *dense])
    made = len(compilations)
    for call in range(5):
        gradients = [random(v.shape) for v in w]
        if call == 1:
            gradients[0] = sgd_ref.SparseRows([3, 3, 5], random((3, 4)), (30, 4))
        if call == 2:
            gradients[0], gradients[1] = scipy.sparse.csr_array(gradients[0]), None
        if call == 3:
            gradients[0], gradients[2] = gradients[0].astype(np.float16), gradients[2][::-1]
        if call == 4:
            # As of a norm that lies so near to the middle of two numbers that it has to be computed exactly.
            rounding.decided_norms = lambda sums, dtype: (0 * sums, np.ones(len(sums), bool))
            rounding.decided_narrow_norm = lambda total, dtype: None
        optimizer.apply(gradients)
    rounding.decided_norms, rounding.decided_narrow_norm = decided
    after_first += len(compilations) - made
    total += sum(float(np.abs(v).sum()) for v in w)
print(json.dumps([len(compilations), after_first, total]))
"""


@pytest.mark.share(3)
@pytest.mark.parametrize("features", FEATURES, ids="-".join)
def test_no_call_after_the_first_compiles_and_a_second_process_compiles_nothing(
    features: dict[str, Any], tmp_path: Path
) -> None:
    base = tmp_path / "cache"
    given = json.dumps([features])
    compiled, after_first, result = in_a_process(STEPS, base, given)
    assert compiled > 1
    assert after_first == 0
    before = kept(base)
    assert in_a_process(STEPS, base, given) == [0, 0, result]
    assert kept(base) == before


def test_a_step_with_kernels_from_the_cache_counts_them(base: Path) -> None:
    variant, dtype = Variant(CLASSIC, PLAIN, False), np.dtype(np.float32)
    compiled, loaded = update_kernel.__wrapped__(dtype, variant), update_kernel.__wrapped__(dtype, variant)
    assert not was_loaded(compiled)
    assert was_loaded(loaded)
    with pytest.raises(TypeError):
        loaded(1.0)
