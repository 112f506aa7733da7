"""Checkpoints: nothing is lost on the way, whatever happens to the process or to the file."""

from __future__ import annotations

import io
import json
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

import sgd_ref
from sgd_ref import SGD, LossScaleOptimizer, conformance, load, save, schedules
from sgd_ref.conformance import Case

Array = np.ndarray[Any, np.dtype[Any]]

pytestmark = pytest.mark.filterwarnings("ignore:no gradient was given")


class GivenRate:
    """A callable learning rate that returns what it was told to return."""

    value: float = 0.125

    def __call__(self) -> float:
        return self.value


class Harmonic(schedules.LearningRateSchedule):
    """A schedule of the user's own."""

    def __call__(self, step: int) -> np.float32:
        return np.float32(1 / (step + 1))


def bits(arrays: Sequence[Array]) -> list[tuple[str, tuple[int, ...], bytes]]:
    return [(array.dtype.name, array.shape, array.tobytes()) for array in arrays]


def everything(optimizer: Any, variables: Sequence[Array]) -> tuple[Any, ...]:
    """All that a checkpoint has to hold, in a form that can be compared."""
    scaled = isinstance(optimizer, LossScaleOptimizer)
    inner = optimizer.inner_optimizer if scaled else optimizer
    return (
        type(optimizer),
        optimizer.get_config(),
        optimizer.variable_names,
        inner._state.names,
        inner._state.decayed,
        bits(optimizer.variables),
        bits(variables),
        (optimizer.loss_scale, optimizer.growth_counter) if scaled else None,
        optimizer.calls,
    )


def constructed(case: Case) -> tuple[Any, list[Array], GivenRate | None]:
    rate = None if case.learning_rate_calls is None else GivenRate()
    optimizer: Any = SGD.from_config(case.config, rate)
    if case.loss_scaling is not None:
        scaling = case.loss_scaling
        optimizer = LossScaleOptimizer(optimizer, scaling.initial_scale, scaling.dynamic_growth_steps)
    optimizer.exclude_from_weight_decay(var_names=list(case.excluded_from_weight_decay))
    variables = [np.array(variable) for variable in case.variables]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer.build(variables, list(case.names))
    return optimizer, variables, rate


def run(
    case: Case,
    optimizer: Any,
    variables: list[Array],
    rate: GivenRate | None,
    first: int,
    interrupt: Callable[..., tuple[Any, list[Array]]] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Make the calls from the `first` one on, and yield everything after each of them."""
    for call in range(first, len(case.gradients)):
        if rate is not None:
            rate.value = case.learning_rate_calls[call]  # type: ignore[index]
        optimizer.apply(list(case.gradients[call]))
        if interrupt is not None:
            optimizer, variables = interrupt(optimizer, variables, rate)
        yield everything(optimizer, variables)
    if case.finalize:
        optimizer.finalize_variable_values(variables)
        yield everything(optimizer, variables)


def blank(variables: Sequence[Array]) -> list[Array]:
    return [np.full(variable.shape, 7, variable.dtype) for variable in variables]


def restored(path: Path, variables: Sequence[Array], rate: Any = None) -> tuple[Any, list[Array]]:
    fresh = blank(variables)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load(path, fresh, learning_rate=rate), fresh


OFTEN = 12
"""Without ``--sweep``, one call in so many is followed by a checkpoint."""


@pytest.mark.filterwarnings("ignore:no update was made yet")
def test_every_case_goes_on_from_checkpoints_in_its_midst(tmp_path: Path, sweep: Any) -> None:
    path = tmp_path / "checkpoint.npz"

    def interrupt(optimizer: Any, variables: list[Array], rate: Any) -> tuple[Any, list[Array]]:
        if not sweep.complete and sweep.generator.integers(OFTEN):
            return optimizer, variables
        save(path, optimizer, variables)
        return restored(path, variables, rate)

    cases = conformance.cases()
    for index in sweep.generator.permutation(len(cases))[: sweep.count(len(cases), 4)]:
        case = cases[index]
        uninterrupted = list(run(case, *constructed(case), 0))
        assert list(run(case, *constructed(case), 0, interrupt)) == uninterrupted, case.id


@pytest.mark.filterwarnings("ignore:no update was made yet")
def test_from_a_checkpoint_after_any_call_a_case_goes_on_to_its_end(tmp_path: Path, sweep: Any) -> None:
    path = tmp_path / "checkpoint.npz"
    cases = conformance.cases()
    for index in sweep.generator.permutation(len(cases))[: sweep.count(len(cases), 40)]:
        case = cases[index]
        uninterrupted = list(run(case, *constructed(case), 0))
        optimizer, variables, rate = constructed(case)
        for call, _ in enumerate(run(case, optimizer, variables, rate, 0)):
            if call == len(case.gradients):
                break
            save(path, optimizer, variables)
            loaded, fresh = restored(path, variables, rate)
            assert list(run(case, loaded, fresh, rate, call + 1)) == uninterrupted[call + 1 :], case.id


class Example(NamedTuple):
    """An optimizer and its variables."""

    optimizer: Any
    variables: list[Array]


def example(**changes: Any) -> Example:
    """An optimizer with state of every kind, in the middle of a window of accumulation."""
    settings: dict[str, Any] = {
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.01,
        "use_ema": True,
        "gradient_accumulation_steps": 2,
    }
    generator = np.random.default_rng(3)
    optimizer: Any = LossScaleOptimizer(SGD(**(settings | changes)), 8.0, dynamic_growth_steps=2)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    variables = [generator.normal(size=(3, 2)).astype("float32"), generator.normal(size=3).astype("float16")]
    optimizer.build(variables, ["dense/kernel", "dense/bias"])
    for _ in range(3):
        optimizer.apply([generator.normal(size=v.shape).astype(v.dtype) for v in variables])
    return Example(optimizer, variables)


DTYPES: list[Any] = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_every_bit_pattern_survives(tmp_path: Path, dtype: Any) -> None:
    size = np.dtype(dtype).itemsize
    generator = np.random.default_rng(5)
    patterns = generator.integers(0, 256, 65536 * size, np.uint8).view(f"u{size}")
    if size == 2:
        patterns = np.arange(65536, dtype=np.uint16)
    ones = (1 << 8 * size) - 1
    # Among them both zeros, the smallest subnormals and NaN with every payload bit set or one.
    special = [0, 1, 1 << (8 * size - 1), (1 << (8 * size - 1)) + 1, ones, ones >> 1, ones - 1]
    patterns[-len(special) :] = special
    w = patterns.view(dtype).reshape(256, 256).copy()
    optimizer = SGD(0.5, momentum=0.5, use_ema=True)
    optimizer.build([w])
    weights = optimizer.get_weights()
    optimizer.set_weights([*weights[:2], w.T.copy(), w[::-1].copy()])
    save(tmp_path / "checkpoint", optimizer, [w])
    loaded, fresh = restored(tmp_path / "checkpoint", [w])
    assert everything(loaded, fresh) == everything(optimizer, [w])


def test_variables_of_any_shape_and_layout(tmp_path: Path) -> None:
    variables = [
        np.array(1.5, "float32"),
        np.zeros((0, 3), "float16"),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(24, dtype="float32").reshape(4, 6)[::2, ::-1],
        np.arange(3, dtype="float64").astype(ml_dtypes.bfloat16),
        np.memmap(tmp_path / "memory", "float32", "w+", shape=(5,)),
    ]
    optimizer = SGD(0.5, momentum=0.5)
    optimizer.apply([np.ones(v.shape, v.dtype) for v in variables], variables)
    save(tmp_path / "checkpoint", optimizer, variables)
    fresh = [np.full((*v.shape, 3), 9, v.dtype)[..., 1] for v in variables]
    loaded = load(tmp_path / "checkpoint", fresh)
    assert everything(loaded, fresh) == everything(optimizer, variables)
    assert (fresh[2].base[..., ::2] == 9).all()  # type: ignore[index]


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        save(tmp_path / name, *example())
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_the_file_is_an_ordinary_archive_of_integers(tmp_path: Path) -> None:
    optimizer, variables = example()
    save(tmp_path / "checkpoint.npz", optimizer, variables)
    with np.load(tmp_path / "checkpoint.npz", allow_pickle=False) as archive:
        manifest = json.loads(archive["manifest"].tobytes())
        assert all(archive[key].dtype.kind == "u" for key in archive)
        assert archive["momentum_1"].view("float16").tobytes() == optimizer.velocities[1].tobytes()
    assert manifest["format"] == "sgd-ref checkpoint"
    assert manifest["version"] == 1
    assert manifest["optimizer"]["config"] == optimizer.get_config()
    assert manifest["variables"][1] == {
        "name": "dense/bias",
        "dtype": "float16",
        "shape": [3],
        "decayed": False,
    }


def test_a_loaded_optimizer_warns_of_nothing_that_was_said_before(tmp_path: Path) -> None:
    w = np.ones(2, "float16")
    optimizer = SGD(1e-9, momentum=0.5)
    optimizer.exclude_from_weight_decay(var_names=["no such name"])
    with pytest.warns(UserWarning, match=r"learning_rate=.* becomes 0 in float16|is part of no name"):
        optimizer.build([w])
    save(tmp_path / "checkpoint", optimizer, [w])
    loaded, fresh = restored(tmp_path / "checkpoint", [w])
    assert everything(loaded, fresh) == everything(optimizer, [w])


SCHEDULES = [
    schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True),
    schedules.PiecewiseConstantDecay([2, 5], [0.5, 0.25, 0.1]),
    schedules.PolynomialDecay(0.1, 10, power=2.0, cycle=True),
    schedules.InverseTimeDecay(0.1, 10, 0.5),
    schedules.CosineDecay(0.1, 10, warmup_target=0.2, warmup_steps=3),
    schedules.CosineDecayRestarts(0.1, 3),
]


@pytest.mark.parametrize("rate", SCHEDULES, ids=lambda rate: type(rate).__name__)
def test_schedules_are_saved(tmp_path: Path, rate: Any) -> None:
    optimizer, variables = example(learning_rate=rate)
    save(tmp_path / "checkpoint", optimizer, variables)
    loaded, fresh = restored(tmp_path / "checkpoint", variables)
    assert everything(loaded, fresh) == everything(optimizer, variables)
    assert loaded.inner_optimizer.rate_source == rate
    loaded, _ = restored(tmp_path / "checkpoint", variables, 0.25)
    assert loaded.learning_rate == 0.25


@pytest.mark.parametrize("rate", [GivenRate(), Harmonic()], ids=lambda rate: type(rate).__name__)
def test_a_rate_that_cannot_be_saved_has_to_be_given_again(tmp_path: Path, rate: Any) -> None:
    path = tmp_path / "checkpoint"
    optimizer, variables = example(learning_rate=rate)
    save(path, optimizer, variables)
    fresh = blank(variables)
    with pytest.raises(ValueError, match=r"checkpoint cannot be loaded: .* give it as learning_rate"):
        load(path, fresh)
    assert bits(fresh) == bits(blank(variables))
    loaded, fresh = restored(path, variables, rate)
    assert everything(loaded, fresh) == everything(optimizer, variables)
    assert loaded.learning_rate == optimizer.learning_rate
    loaded, fresh = restored(path, variables, 0.5)
    assert loaded.learning_rate == 0.5
    assert bits(fresh) == bits(variables)
    with pytest.raises(TypeError, match=r"^learning_rate must be"):
        load(path, fresh, learning_rate="0.5")  # type: ignore[arg-type]


def test_a_number_that_was_set_after_construction_is_the_one_saved(tmp_path: Path) -> None:
    optimizer, variables = example()
    optimizer.learning_rate = np.float32(1) / 3
    save(tmp_path / "checkpoint", optimizer, variables)
    assert restored(tmp_path / "checkpoint", variables)[0].learning_rate == np.float32(1) / 3


class Own(SGD):
    """A subclass that load could not construct."""


def unbuilt() -> SGD:
    return SGD()


def subclass() -> SGD:
    optimizer = Own()
    optimizer.build([np.zeros(2)])
    return optimizer


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda e: ("SGD", e.variables),
            TypeError,
            "optimizer must be an SGD optimizer or a LossScaleOptimizer",
        ),
        (lambda e: (unbuilt(), e.variables), RuntimeError, "has no variables yet"),
        (lambda e: (subclass(), e.variables), TypeError, "optimizer must be one of SGD, LossScaleOptimizer"),
        (
            lambda e: (LossScaleOptimizer(subclass()), e.variables),
            TypeError,
            "optimizer must be one of SGD, Loss",
        ),
        (lambda e: (e.optimizer, e.variables[0]), TypeError, "variables must be a list of ndarrays"),
        (lambda e: (e.optimizer, e.variables[:1]), ValueError, "variables must be all 2 arrays"),
        (
            lambda e: (e.optimizer, e.variables[::-1]),
            ValueError,
            "variables must be all 2 arrays .* in their order",
        ),
        (
            lambda e: (e.optimizer, blank(e.variables)),
            ValueError,
            r"variables\[0\] must be one of the 2 arrays",
        ),
        (
            lambda e: (e.optimizer, [*e.variables, e.variables[0]]),
            ValueError,
            "variables must hold each array once",
        ),
    ],
)
def test_saving_something_else_fails_before_anything_is_written(
    tmp_path: Path, change: Callable[..., Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        save(tmp_path / "checkpoint", *change(example()))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("where", ["numpy.savez", "os.fsync", "pathlib.Path.replace"])
def test_a_save_that_fails_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException
) -> None:
    path = tmp_path / "checkpoint"
    optimizer, variables = example()
    save(path, optimizer, variables)
    before = everything(optimizer, variables)
    optimizer.apply([np.ones(v.shape, v.dtype) for v in variables])

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as context:
        context.setattr(where, fail)
        with pytest.raises(type(error)):
            save(path, optimizer, variables)
    assert list(tmp_path.iterdir()) == [path]
    assert everything(*restored(path, variables)) == before


def test_the_contents_reach_the_disk_before_the_name_and_the_name_before_save_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer, variables = example()
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recording_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(status.st_mode)
        order.append("folder" if is_folder else f"{status.st_size} bytes")
        fsync(descriptor)

    def recording_replace(self: Path, target: Path) -> Path:
        order.append("replace")
        assert zipfile.is_zipfile(self)
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(Path, "replace", recording_replace)
    save(tmp_path / "checkpoint", optimizer, variables)
    assert order == [f"{(tmp_path / 'checkpoint').stat().st_size} bytes", "replace", "folder"]


def test_what_a_link_points_to_is_replaced_and_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    optimizer, variables = example()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "target")
    for _ in range(2):
        save(tmp_path / "link", optimizer, variables)
    assert (tmp_path / "link").is_symlink()
    target = tmp_path / "elsewhere" / "target"
    (tmp_path / "ordinary").touch()
    assert target.stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert everything(*restored(target, variables)) == everything(optimizer, variables)


@pytest.mark.parametrize("function", ["open", "fsync"])
def test_a_folder_that_cannot_be_flushed_does_not_turn_success_into_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    optimizer, variables = example()
    original, refused = getattr(os, function), []

    def refuse_folders(file: Any, *arguments: Any) -> Any:
        is_folder = stat.S_ISDIR(os.fstat(file).st_mode) if function == "fsync" else Path(file).is_dir()
        if is_folder:
            refused.append(file)
            raise PermissionError(13, "Permission denied")
        return original(file, *arguments)

    # The mode 0333 would do for other users than root.
    with monkeypatch.context() as context:
        context.setattr(os, function, refuse_folders)
        save(tmp_path / "checkpoint", optimizer, variables)
    assert len(refused) == 1
    assert everything(*restored(tmp_path / "checkpoint", variables)) == everything(optimizer, variables)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere files have no mode")
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o666], ids=oct)
def test_the_mode_of_an_overwritten_file_is_kept_from_the_first_byte_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    path = tmp_path / "checkpoint"
    optimizer, variables = example()
    save(path, optimizer, variables)
    path.chmod(mode)
    inode, created, written = path.stat().st_ino, [], []
    chmod, savez = Path.chmod, np.savez

    def recording_chmod(self: Path, *arguments: Any) -> None:
        created.append(stat.S_IMODE(self.stat().st_mode))
        chmod(self, *arguments)

    def recording_savez(file: Any, **arrays: Any) -> None:
        written.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode))
        savez(file, **arrays)

    with monkeypatch.context() as context:
        context.setattr(Path, "chmod", recording_chmod)
        context.setattr(np, "savez", recording_savez)
        save(path, optimizer, variables)
    assert path.stat().st_ino != inode
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert written == [mode]
    assert [permissions & ~mode for permissions in created] == [0]


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    optimizer, variables = example()
    path = tmp_path / ("c" * 255)
    for _ in range(2):
        save(path, optimizer, variables)
    assert list(tmp_path.iterdir()) == [path]
    assert everything(*restored(path, variables)) == everything(optimizer, variables)


def test_a_count_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    w = np.ones(2, "float32")
    optimizer = SGD(0.5)
    optimizer.build([w])
    optimizer.set_weights([2**63 - 1, np.float32(0.5)])
    save(path, optimizer, [w])
    before = everything(optimizer, [w])
    optimizer.apply([np.ones(2, "float32")])
    message = rf"^the number of calls must be at most {2**63 - 1}, the largest int64, got {2**63}$"
    with pytest.raises(ValueError, match=message):
        save(path, optimizer, [w])
    with pytest.raises(ValueError, match=message):
        save(tmp_path / "other", optimizer, [w])
    assert list(tmp_path.iterdir()) == [path]
    loaded, fresh = restored(path, [w])
    assert loaded.calls == 2**63 - 1
    assert before == everything(loaded, fresh)


def test_a_growth_counter_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    w = np.ones(2, "float32")
    optimizer = LossScaleOptimizer(SGD(0.5), dynamic_growth_steps=2**64)
    optimizer.build([w])
    values = optimizer.get_weights()
    optimizer.set_weights([*values[:2], np.array(2**63 - 1), *values[3:]])
    optimizer.apply([np.ones(2, "float32")])
    with pytest.raises(ValueError, match=rf"^the growth counter must be at most .*, got {2**63}$"):
        save(tmp_path / "checkpoint", optimizer, [w])
    assert not list(tmp_path.iterdir())


# For each line that it is sent it starts a process that saves until it is killed.
SAVER = """
import os
import sys
import numpy as np
from sgd_ref import SGD, save

def save_on_and_on(parent):
    variables = [np.zeros(4096, "float32") for _ in range(16)]
    optimizer = SGD(1.0, momentum=0.5)
    while os.getppid() == parent:
        optimizer.apply([np.full(4096, -1, "float32") for _ in variables], variables)
        for array in [*variables, *optimizer.velocities]:
            array[...] = optimizer.calls
        save(sys.argv[1], optimizer, variables)
        if optimizer.calls == 1:
            print(os.getpid(), flush=True)

parent = os.getpid()
for _ in sys.stdin:
    process = os.fork()
    if process == 0:
        save_on_and_on(parent)
        os._exit(0)
    os.waitpid(process, 0)
    print("killed", flush=True)
"""


def test_a_process_that_is_killed_while_it_saves_leaves_a_complete_state(tmp_path: Path, sweep: Any) -> None:
    path = tmp_path / "checkpoint"
    interrupted = 0
    with subprocess.Popen(
        [sys.executable, "-c", SAVER, str(path)],
        cwd=Path(sgd_ref.__file__).parent.parent,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as saver:
        assert saver.stdin is not None
        assert saver.stdout is not None
        for _ in range(sweep.count(1000)):
            saver.stdin.write("start\n")
            process = int(saver.stdout.readline())
            time.sleep(sweep.generator.uniform(0, 0.03))
            os.kill(process, signal.SIGKILL)
            assert saver.stdout.readline() == "killed\n"
            variables = [np.zeros(4096, "float32") for _ in range(16)]
            optimizer = load(path, variables)
            assert optimizer.calls >= 1
            assert all((array == optimizer.calls).all() for array in [*variables, *optimizer.velocities])
            leftovers = [file for file in tmp_path.iterdir() if file != path]
            interrupted += len(leftovers)
            for file in leftovers:
                assert file.name.startswith(".sgd-ref-")
                assert file.name.endswith(".tmp")
                file.unlink()
        saver.stdin.close()
    # Otherwise no process was killed at work.
    assert interrupted > 0


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, list[Array], tuple[Any, ...]]:
    """A checkpoint, variables like those in it, and what it holds."""
    optimizer, variables = example()
    save(tmp_path / "checkpoint.npz", optimizer, variables)
    return tmp_path / "checkpoint.npz", variables, everything(optimizer, variables)


def check_refused_or_identical(path: Path, variables: Sequence[Array], expected: tuple[Any, ...]) -> bool:
    """Load, and return whether it was refused, with a clear error and nothing changed."""
    fresh = blank(variables)
    error = None
    try:
        optimizer = load(path, fresh)
    except ValueError as caught:
        error = str(caught)
    if error is None:
        assert everything(optimizer, fresh) == expected
        return False
    assert error.startswith(f"{path} cannot be loaded: ")
    assert bits(fresh) == bits(blank(variables))
    return True


def test_a_truncated_file_is_refused(saved: Any, sweep: Any) -> None:
    path, variables, expected = saved
    content = path.read_bytes()
    lengths = sweep.generator.permutation(len(content))[: sweep.count(len(content))]
    for length in [0, 1, len(content) - 1, *lengths.tolist()]:
        path.write_bytes(content[:length])
        assert check_refused_or_identical(path, variables, expected), length


def test_a_flipped_bit_is_noticed_or_harmless(saved: Any, sweep: Any) -> None:
    path, variables, expected = saved
    content = bytearray(path.read_bytes())
    count = 8 * len(content)
    refused = 0
    positions = sweep.generator.permutation(count)[: sweep.count(count)].tolist()
    for position in positions:
        content[position // 8] ^= 1 << position % 8
        path.write_bytes(content)
        refused += check_refused_or_identical(path, variables, expected)
        content[position // 8] ^= 1 << position % 8
    assert refused > len(positions) / 2


def test_overwritten_and_exchanged_stretches_are_noticed_or_harmless(saved: Any, sweep: Any) -> None:
    path, variables, expected = saved
    content = path.read_bytes()
    for _ in range(sweep.count(4000)):
        start, end = np.sort(sweep.generator.integers(0, len(content) + 1, 2)).tolist()
        other = int(sweep.generator.integers(0, len(content) + 1))
        stretch = [
            bytes(end - start),
            content[other : other + end - start],
            sweep.generator.bytes(end - start),
        ]
        path.write_bytes(content[:start] + stretch[_ % 3] + content[end:])
        check_refused_or_identical(path, variables, expected)


class Trap:
    """What betrays that it was unpickled."""

    sprung = False

    def __reduce__(self) -> tuple[Any, ...]:
        return spring, ()


def spring() -> Trap:
    Trap.sprung = True
    return Trap()


class Contents(NamedTuple):
    """What is in a checkpoint."""

    manifest: dict[str, Any]
    arrays: dict[str, Any]


def contents(path: Path) -> Contents:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive}
    return Contents(json.loads(arrays.pop("manifest").tobytes()), arrays)


def write(path: Path, manifest: bytes, arrays: Mapping[str, Any]) -> None:
    np.savez(path, manifest=np.frombuffer(manifest, np.uint8), **arrays)


def check_refused(path: Path, variables: Sequence[Array], message: str) -> None:
    fresh = blank(variables)
    with pytest.raises(ValueError, match=message) as caught:
        load(path, fresh)
    assert str(caught.value).startswith(f"{path} cannot be loaded: ")
    assert bits(fresh) == bits(blank(variables))
    assert not Trap.sprung


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe{", "codec can't decode"),
        (b"{", "Expecting property name"),
        (b"[]", "its manifest does not name the format"),
        (b"[" * 10**6, "RecursionError"),
    ],
    ids=["noise", "no JSON", "a list", "too deep"],
)
def test_a_manifest_that_cannot_be_understood_is_refused(saved: Any, text: bytes, message: str) -> None:
    path, variables, _ = saved
    write(path, text, contents(path).arrays)
    check_refused(path, variables, message)


def test_an_archive_without_manifest_is_refused(saved: Any) -> None:
    path, variables, _ = saved
    np.savez(path, **contents(path).arrays)
    check_refused(path, variables, "it is no checkpoint, since it has no manifest")


def config_of(contents: Contents) -> dict[str, Any]:
    config: dict[str, Any] = contents.manifest["optimizer"]["config"]["inner_optimizer"]["config"]
    return config


CHANGES: dict[str, tuple[Callable[[Contents], Any], str]] = {
    "pickled array": (
        lambda c: c.arrays.update(variable_0=np.array([Trap()], object)),
        "Object arrays cannot be loaded",
    ),
    "pickled extra": (
        lambda c: c.arrays.update(more=np.array([Trap()], object)),
        "Object arrays cannot be load",
    ),
    "another format": (
        lambda c: c.manifest.update(format="other"),
        "does not name the format 'sgd-ref checkpoint'",
    ),
    "newer version": (lambda c: c.manifest.update(version=2), "it has the format version 2, known is 1"),
    "no version": (lambda c: c.manifest.pop("version"), "it has the format version None"),
    "missing key": (lambda c: c.manifest.pop("calls"), "its manifest must have the keys"),
    "unknown key": (lambda c: c.manifest.update(more=1), "its manifest must have the keys"),
    "unknown class": (
        lambda c: c.manifest["optimizer"].update(class_name="Adam"),
        "the unknown class 'Adam'",
    ),
    "class no name": (lambda c: c.manifest["optimizer"].update(class_name=[]), "unhashable"),
    "no optimizer": (lambda c: c.manifest.update(optimizer=None), "NoneType"),
    "unknown inner class": (
        lambda c: c.manifest["optimizer"]["config"]["inner_optimizer"].update(class_name="Adam"),
        "must be a serialized SGD",
    ),
    "unknown setting": (lambda c: config_of(c).update(beta=1), "unknown keys"),
    "bad setting": (lambda c: config_of(c).update(momentum=1.5), "momentum must be a real number in"),
    "setting not normal": (lambda c: config_of(c).update(clipnorm=1e-30), "clipnorm must be finite and n"),
    "unknown schedule": (
        lambda c: config_of(c).update(learning_rate={"class_name": "Mine", "config": {}}),
        "class_name must be one of",
    ),
    "no learning rate": (lambda c: config_of(c).update(learning_rate=None), "give it as learning_rate"),
    "another feature": (lambda c: config_of(c).update(momentum=0.0), "it must hold the arrays"),
    "fewer variables": (lambda c: c.manifest["variables"].pop(), "it has 1 variables, while 2 were given"),
    "variables no list": (lambda c: c.manifest.update(variables=3), "object of type 'int' has no len"),
    "variable without dtype": (lambda c: c.manifest["variables"][0].pop("dtype"), "KeyError"),
    "same name twice": (lambda c: c.manifest["variables"][1].update(name="dense_kernel"), "names must "),
    "name no text": (lambda c: c.manifest["variables"][1].update(name=3), "name must be a string, got 3"),
    "decayed no flag": (
        lambda c: c.manifest["variables"][1].update(decayed="no"),
        "decayed must be True or False",
    ),
    "negative calls": (lambda c: c.manifest.update(calls=-1), "integer of at least 0, got -1"),
    "calls no integer": (lambda c: c.manifest.update(calls=1.0), "integer of at least 0, got 1.0"),
    "calls true": (lambda c: c.manifest.update(calls=True), "integer of at least 0, got True"),
    "too many calls": (lambda c: c.manifest.update(calls=2**63), "the largest int64"),
    "scale of zero": (
        lambda c: c.manifest.update(loss_scale=0.0),
        "the loss scale, must be a real number that is p",
    ),
    "scale no number": (
        lambda c: c.manifest.update(loss_scale=None),
        "the loss scale, must be a real number",
    ),
    "scale infinite": (lambda c: c.manifest.update(loss_scale=1e39), "the loss scale, must be a real number"),
    "negative growth": (lambda c: c.manifest.update(growth_counter=-1), "growth counter, must be an integer"),
    "missing array": (lambda c: c.arrays.pop("average_1"), "it must hold the arrays"),
    "additional array": (
        lambda c: c.arrays.update(average_2=c.arrays["average_1"]),
        "it must hold the arrays",
    ),
    "array of floats": (
        lambda c: c.arrays.update(average_0=np.zeros((3, 2), "float32")),
        r"'average_0' must be unsigned integers of 4 bytes of shape \(3, 2\), got float32",
    ),
    "array of wide integers": (
        lambda c: c.arrays.update(average_0=np.zeros((3, 2), "uint64")),
        "'average_0' must be unsigned integers of 4 bytes",
    ),
    "array of another shape": (
        lambda c: c.arrays.update(average_0=np.zeros((2, 3), "uint32")),
        r"'average_0' must be unsigned integers of 4 bytes of shape \(3, 2\), got uint32 of shape \(2, 3\)",
    ),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_file_with_other_contents_is_refused(saved: Any, change: Any, message: str) -> None:
    path, variables, _ = saved
    changed = contents(path)
    change(changed)
    write(path, json.dumps(changed.manifest).encode(), changed.arrays)
    check_refused(path, variables, message)


def test_writing_the_same_contents_again_is_no_change(saved: Any) -> None:
    path, variables, expected = saved
    manifest, arrays = contents(path)
    write(path, json.dumps(manifest, indent=1).encode(), arrays)
    assert not check_refused_or_identical(path, variables, expected)


def test_the_trap_would_be_sprung() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], object))
    buffer.seek(0)
    np.load(buffer, allow_pickle=True)
    sprung, Trap.sprung = Trap.sprung, False
    assert sprung


def npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"PK\x03\x04", pickle.dumps(Trap()), npy(np.zeros(3)), os.urandom(5000)],
    ids=["nothing", "text", "magic number", "pickle", "npy", "noise"],
)
def test_a_file_of_another_kind_is_refused(saved: Any, content: bytes) -> None:
    path, variables, expected = saved
    path.write_bytes(content)
    assert check_refused_or_identical(path, variables, expected)
    assert not Trap.sprung


def test_what_cannot_be_opened_is_an_error_of_the_system(tmp_path: Path) -> None:
    w = np.zeros(2)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere", [w])
    with pytest.raises(IsADirectoryError):
        load(tmp_path, [w])
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "nowhere" / "checkpoint", *example())


def readonly(array: Array) -> Array:
    array.flags.writeable = False
    return array


SHARED = np.zeros(6, "float32")


@pytest.mark.parametrize(
    ("variables", "error", "message"),
    [
        (np.zeros(3), TypeError, "^variables must be a list of ndarrays"),
        ([np.zeros((3, 2), "f4"), [0.0]], TypeError, r"^variables\[1\] must be an ndarray"),
        (
            [np.zeros((3, 2), "f4"), np.zeros(3, "i2")],
            TypeError,
            r"^variables\[1\] must have one of the dtypes",
        ),
        (
            [np.zeros((3, 2), "f4"), readonly(np.zeros(3, "f2"))],
            ValueError,
            r"^variables\[1\] must be writable",
        ),
        ([SHARED.reshape(3, 2), SHARED], ValueError, r"^variables\[1\] must not share memory"),
        ([np.zeros((3, 2), "f4")], ValueError, "it has 2 variables, while 1 were given"),
        (
            [np.zeros((3, 2), "f4"), np.zeros(4, "f2")],
            ValueError,
            r"'dense/bias' is float16 of shape \(3,\), ",
        ),
        (
            [np.zeros((2, 3), "f4"), np.zeros(3, "f2")],
            ValueError,
            r"variables\[0\] is float32 of shape \(2, 3\)",
        ),
        (
            [np.zeros((3, 2), "f4"), np.zeros(3, ml_dtypes.bfloat16)],
            ValueError,
            r"checkpoint.npz cannot be loaded: .* while variables\[1\] is bfloat16",
        ),
    ],
)
def test_variables_that_do_not_fit_are_refused_before_any_changes(
    saved: Any, variables: Any, error: type[Exception], message: str
) -> None:
    path = saved[0]
    before = [np.array(variable) for variable in variables]
    with pytest.raises(error, match=message):
        load(path, variables)
    for variable, old in zip(variables, before, strict=True):
        assert np.array_equal(variable, old)
