"""Scripts are run, where they must not find this package; their data have the bits of the case."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sgd_ref import SGD, SparseRows
from sgd_ref.arithmetic.formats import BFLOAT16, Array
from sgd_ref.conformance.catalogue.case import Case, LossScaling, State, Unsupported
from sgd_ref.conformance.catalogue.layouts import LAYOUTS, laid_out, with_layouts
from sgd_ref.conformance.catalogue.tiers import cases
from sgd_ref.conformance.deviations import DEVIATIONS
from sgd_ref.conformance.diagnosis.shrinking import shrink
from sgd_ref.conformance.grading.check import grade
from sgd_ref.conformance.targets.keras import script as keras
from sgd_ref.conformance.targets.keras.launch import BACKENDS
from sgd_ref.conformance.targets.keras.launch import available as keras_available
from sgd_ref.conformance.targets.registry import how_to_run
from sgd_ref.conformance.targets.scripts.script import LAYOUTS as LAYOUTS_OF_SCRIPTS
from sgd_ref.conformance.targets.scripts.script import script_text
from sgd_ref.conformance.targets.torch.launch import Torch
from sgd_ref.conformance.trajectories import reference
from sgd_ref.conformance.trajectories.comparison import compare

on = pytest.mark.parametrize

# An implementation as users have them: it knows neither this package nor its classes.
IMPLEMENTATION = """
import numpy as np

def run(case):
    momentum, rate = (np.float32(case.config[name]) for name in ("momentum", "learning_rate"))
    w = [np.array(array) for array in case.variables]
    v = [np.zeros_like(array) for array in w]
    trajectory = []
    for gradients in case.gradients:
        for i, g in enumerate(gradients):
            v[i] = UPDATE
            w[i] = w[i] + v[i]
        trajectory.append({"variables": [np.array(a) for a in w], "velocities": [np.array(a) for a in v]})
    return trajectory
"""
RIGHT = IMPLEMENTATION.replace("UPDATE", "v[i] * momentum - g * rate")
RATE_OUTSIDE = IMPLEMENTATION.replace("UPDATE", "(v[i] * momentum - g) * rate")
WRONG_SIGN = IMPLEMENTATION.replace("UPDATE", "v[i] * momentum + g * rate")


def implementation(text: str) -> Callable[[Case], list[dict[str, Any]]]:
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    run: Callable[[Case], list[dict[str, Any]]] = namespace["run"]
    return run


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script for a wrong implementation, in a folder in which this package cannot be imported."""
    run = implementation(RATE_OUTSIDE)
    case = next(case for case in cases() if case.id == "axes/momentum")
    small = shrink(case, lambda case: not _is_right(case, run))
    text = script_text(small, reference.run(small), run(small), how_to_run(small, "mine:run"), "mine 1.0")
    (tmp_path / "mine.py").write_text(RATE_OUTSIDE)
    (tmp_path / "sgd_ref.py").write_text("raise ImportError('a script needs this')\n")
    path = tmp_path / "reproduce.py"
    path.write_text(text)
    return path


def _is_right(case: Case, run: Callable[[Case], Any]) -> bool:
    # What shrinking tries may be a case that is too plain for this implementation.
    if not case.config["momentum"] or any(g is None for gradients in case.gradients for g in gradients):
        return True
    return compare(case, reference.run(case), _whole(run(case))).equal


def _whole(trajectory: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"averages": [], "accumulators": [], **record} for record in trajectory]


def started(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *options, str(path)],
        cwd=path.parent,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_wrong_implementation_is_shown_as_it_was_seen(script: Path) -> None:
    done = started(script, "-W", "error")
    assert done.returncode == 1, done.stderr
    assert done.stderr == "the implementation still differs\n"
    first = done.stdout.splitlines()[0]
    assert first.startswith("call 1, variables of ")
    assert "expected 0x" in first
    assert first.endswith(", as it was seen before")


def test_right_implementation_ends_well(script: Path) -> None:
    (script.parent / "mine.py").write_text(RIGHT)
    done = started(script, "-W", "error")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "every expected bit is there\n"


def test_another_mistake_is_not_taken_for_the_one_that_was_seen(script: Path) -> None:
    (script.parent / "mine.py").write_text(WRONG_SIGN)
    done = started(script, "-W", "error")
    assert done.returncode == 1
    assert "as it was seen before" not in done.stdout


def test_too_few_records_and_wrong_dtypes_differ(script: Path) -> None:
    (script.parent / "mine.py").write_text(RIGHT.replace("return trajectory", "return trajectory[1:]"))
    assert "2 records are expected, got 1" in started(script, "-W", "error").stdout
    (script.parent / "mine.py").write_text(
        RIGHT.replace("np.array(a) for a in w", "np.array(a, 'f8') for a in w")
    )
    done = started(script, "-W", "error")
    assert done.returncode == 1
    assert "got float64" in done.stdout


def test_the_script_is_small_and_says_what_it_is(script: Path) -> None:
    text = script.read_text()
    assert text.startswith('"""mine 1.0 differs from what is documented: shrunk/axes/momentum')
    assert "import sgd_ref" not in text
    assert "from sgd_ref" not in text
    assert "ml_dtypes" not in text
    assert "class SparseRows" not in text
    assert len(text.splitlines()) < 170


def special_case() -> Case:
    """Return a case that has everything that is hard to write down."""
    nan = np.array([0x7FC1, 0xFF80, 0x8000, 0x0001, 0x3DCC], np.uint16).view(BFLOAT16)
    table = np.arange(6, dtype=np.float64).reshape(3, 2) / 3
    rows = SparseRows([2, 0, 2], table, (4, 2))
    config = SGD({}.get("rate", 0.1), momentum=0.9, use_ema=True, gradient_accumulation_steps=2).get_config()
    state = State(
        calls=5,
        velocities=(nan, np.ones((4, 2)), np.zeros((0, 3), np.float16)),
        averages=(nan, np.ones((4, 2)), np.zeros((0, 3), np.float16)),
        accumulators=(nan, np.ones((4, 2)), np.zeros((0, 3), np.float16)),
        loss_scale=2.0,
        growth_counter=1,
    )
    return Case(
        "special",
        {**config, "learning_rate": None},
        ("it's", 'a "table"', "nothing"),
        (nan, np.full((4, 2), 0.1), np.zeros((0, 3), np.float16)),
        ((nan, rows, None), (None, np.full((4, 2), -0.0), np.zeros((0, 3), np.float16))),
        state=state,
        excluded_from_weight_decay=("it",),
        loss_scaling=LossScaling(2.0, 3),
        learning_rate_calls=(0.1, 0.25),
        finalize=True,
        notes='a """quoted""" note with a \\ in it',
    )


# Each call is spoilt by itself, and compared with all others.
SMALL = [case for case in cases() if case.made is None and len(case.gradients) <= 20]


@on("case", [special_case(), *SMALL[::16]], ids=lambda case: case.id)
def test_the_script_has_every_bit_of_the_case(case: Case) -> None:
    expected = reference.run(case)
    observed = [
        {**record, "variables": [_other(array) for array in record["variables"]]} for record in expected
    ]
    text = script_text(case, expected, observed, "def run(case):\n    raise NotImplementedError")
    space: dict[str, Any] = {"__name__": "script"}
    exec(text, space)
    with np.errstate(all="ignore"):
        _assert_same_case(case, space["CASE"])
        assert not space["compare"](expected)
        # The sign and the payload of NaN are nobody's business.
        turned = [
            {**record, "variables": [_with_turned_nan(w) for w in record["variables"]]} for record in expected
        ]
        assert not space["compare"](turned)
        assert space["compare"](observed)
        for call, record in enumerate(expected):
            assert space["compare"]([*expected[:call], observed[call], *expected[call + 1 :]])
            for quantity in ("iterations", "learning_rate", "loss_scale"):
                if record.get(quantity) is not None:
                    # A float32 of above 2**24 plus 1 may be what it was.
                    wrong = {**record, quantity: 2 * record[quantity] + 1}
                    assert space["compare"]([*expected[:call], wrong, *expected[call + 1 :]])


def _other(array: Array) -> Array:
    return np.where(array == 0, array.dtype.type(1), array.dtype.type(0))


def _with_turned_nan(array: Array) -> Array:
    return np.where(np.isnan(array), -array, array)


def _assert_same_case(case: Case, written: Any) -> None:
    for name in (
        "id",
        "kind",
        "config",
        "names",
        "excluded_from_weight_decay",
        "learning_rate_calls",
        "finalize",
    ):
        assert getattr(written, name) == getattr(case, name), name
    _assert_same_bits(case.variables, written.variables)
    for gradients, found in zip(case.gradients, written.gradients, strict=True):
        for gradient, other in zip(gradients, found, strict=True):
            if isinstance(gradient, SparseRows):
                assert gradient.indices.tolist() == other.indices.tolist()
                assert gradient.shape == other.shape
                _assert_same_bits([gradient.values, gradient.to_dense()], [other.values, other.to_dense()])
            else:
                _assert_same_bits([gradient], [other])
    if case.state is None:
        assert written.state is None
    else:
        for name in ("calls", "loss_scale", "growth_counter"):
            assert getattr(written.state, name) == getattr(case.state, name)
        for name in ("velocities", "averages", "accumulators"):
            _assert_same_bits(getattr(case.state, name), getattr(written.state, name))
    if case.loss_scaling is None:
        assert written.loss_scaling is None
    else:
        assert vars(written.loss_scaling) == vars(case.loss_scaling)


def _assert_same_bits(arrays: Any, others: Any) -> None:
    for array, other in zip(arrays, others, strict=True):
        if array is None:
            assert other is None
        else:
            assert (array.dtype, array.shape, array.tobytes()) == (other.dtype, other.shape, other.tobytes())


def test_trajectory_that_does_not_differ_is_refused() -> None:
    case = cases()[0]
    with pytest.raises(ValueError, match="observed must be a trajectory that differs"):
        script_text(case, reference.run(case), reference.run(case), "")


@on("backend", BACKENDS)
@on("mode", ["eager", "compiled"])
def test_code_for_keras_is_python_for_every_case(backend: str, mode: str) -> None:
    if (backend, mode) == ("torch", "compiled"):
        with pytest.raises(ValueError, match="mode must be eager"):
            keras.how_to_run(cases()[0], backend, mode)
        return
    # Many cases have the same code.
    codes: dict[str, str] = {}
    for case in cases():
        has_rows = any(isinstance(g, SparseRows) for gradients in case.gradients for g in gradients)
        if has_rows and backend != "tensorflow":
            with pytest.raises(ValueError, match="no sparse gradients"):
                keras.how_to_run(case, backend, mode)
        else:
            codes.setdefault(keras.how_to_run(case, backend, mode), case.id)
    for code, identifier in codes.items():
        compile(code, identifier, "exec")


def test_code_for_keras_has_no_feature_that_the_case_does_not_use() -> None:
    code = keras.how_to_run(cases()[0], "jax", "eager")
    for word in ("jit", "scaled", "schedules", "given_rate", "_model_variables", "momentums", "finalize"):
        assert word not in code
    assert "keras.optimizers.SGD(learning_rate=0.15625)" in code


def test_keras_in_a_process_without_this_package(tmp_path: Path) -> None:
    _need(keras_available("jax"), "Keras on JAX")
    case = next(case for case in cases() if case.id == "named/averages-while-accumulating")
    deviation = DEVIATIONS["averages-on-every-call"].optimizer

    def still(case: Case) -> bool:
        return not compare(case, reference.run(case), reference.run(case, deviation)).equal

    small = shrink(case, still)
    observed = reference.run(small, deviation)
    done = _run_alone(
        tmp_path, script_text(small, reference.run(small), observed, how_to_run(small, "keras"))
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"averages of \w+\[0\]: expected 0x00000000 \(0\), got 0x", done.stdout)
    assert "as it was seen before" in done.stdout


def test_torch_in_a_process_without_this_package(tmp_path: Path) -> None:
    _need(importlib.util.find_spec("torch") is not None, "PyTorch")
    case = next(case for case in cases() if case.id == "axes/momentum/decay")
    # What the process of the target runs; here PyTorch is imported already.
    _, run = importlib.import_module("sgd_ref.conformance.targets.torch.worker").prepare("loop")

    def still(case: Case) -> bool:
        try:
            return grade(run, case).grade == "diverges"
        except Unsupported:
            return False

    small = shrink(case, still, most_runs=100)
    observed = run(small)
    assert [w.size for w in small.variables] == [1]
    done = _run_alone(
        tmp_path, script_text(small, reference.run(small), observed, how_to_run(small, "torch"))
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "variables of " in done.stdout
    assert "as it was seen before" in done.stdout


def test_optax_in_a_process_without_this_package(tmp_path: Path) -> None:
    _need(importlib.util.find_spec("optax") is not None, "Optax")
    case = shrink(cases()[0], lambda case: any((g != 0).any() for g in case.gradients[0]))
    expected = reference.run(case)
    observed = [{**record, "variables": [w + 1 for w in record["variables"]]} for record in expected]
    for record in observed:
        # Of these Optax has none without a schedule.
        del record["iterations"], record["calls"]
    done = _run_alone(tmp_path, script_text(case, expected, observed, how_to_run(case, "optax")))
    assert done.returncode == 0, done.stdout + done.stderr


def _run_alone(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "sgd_ref.py").write_text("raise ImportError('a script needs this')\n")
    path = folder / "reproduce.py"
    path.write_text(text)
    return started(path)


def _need(is_there: bool, name: str) -> None:
    if not is_there:
        missing = f"{name} is not installed"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)


@on(
    ("target", "values"),
    [("torch", ("loop", "foreach", "fused", "compiled")), ("optax", ("eager", "jitted"))],
)
def test_code_for_torch_and_optax_is_python_for_every_case(target: str, values: tuple[str, ...]) -> None:
    alone = 0
    codes: dict[str, str] = {}
    for case in cases():
        for value in values:
            option = {"variant" if target == "torch" else "mode": value}
            code = how_to_run(case, target, **option)
            codes.setdefault(code, case.id)
            alone += "sgd_ref" not in code
    for code, identifier in codes.items():
        compile(code, identifier, "exec")
    assert alone > 60 * len(values)


def test_what_cannot_be_written_down_says_that_it_needs_this_package() -> None:
    case = next(case for case in cases() if "/cosine/" in case.id and case.loss_scaling is None)
    expected = reference.run(case)
    observed = [{**record, "variables": [_other(w) for w in record["variables"]]} for record in expected]
    text = script_text(case, expected, observed, how_to_run(case, "torch"))
    assert "It needs sgd_ref" in text.split('"""')[1]
    assert "It needs sgd_ref" not in script_text(case, expected, observed, "run = None")


@on("name", ["torch", "optax"])
def test_the_mapping_of_the_kit_runs_where_it_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a script has for sparse rows is a class of its own.
    rows: Any = SimpleNamespace(indices=np.array([1, 1]), values=np.ones((2, 1), np.float32), shape=(2, 1))
    dense = np.ones((2, 1), np.float32)
    state = State(calls=1)
    case = Case("resumed", SGD(0.5).get_config(), ("w",), (dense,), ((rows,), (dense,)), state=state)
    worker = ModuleType("worker")
    vars(worker)["prepare"] = lambda argument: (argument, lambda case: [case.gradients, argument])
    monkeypatch.setitem(sys.modules, f"sgd_ref.conformance.targets.{name}.worker", worker)
    space: dict[str, Any] = {}
    exec(how_to_run(case, name), space)
    (((given,), _), argument) = space["run"](SimpleNamespace(**vars(case)))
    assert isinstance(given, SparseRows)
    assert given.indices.tolist() == [1, 1]
    assert argument == {"torch": "loop", "optax": "eager"}[name]


IN_ORDER_OF_MEMORY = """
import numpy as np

def run(case):
    w = [np.array(array) for array in case.variables]
    rate = np.float32(case.config["learning_rate"])
    trajectory = []
    for gradients in case.gradients:
        for i, g in enumerate(gradients):
            read = g.ravel("K").reshape(g.shape) if g.size == READ else g
            w[i] = w[i] - rate * read
        trajectory.append({"variables": [np.array(a) for a in w]})
    return trajectory
"""


@on("layout", [layout for layout in LAYOUTS if layout != "contiguous"])
def test_the_arrays_of_a_script_lie_in_memory_as_those_of_the_case(layout: str) -> None:
    namespace: dict[str, Any] = {"np": np}
    exec(LAYOUTS_OF_SCRIPTS, namespace)
    for array in (np.arange(12.0).reshape(3, 4), np.ones((2, 3), np.float32), np.ones(5), np.float64(1)):
        given = np.asarray(array)
        found, wanted = namespace["laid_out"](given, layout), laid_out(given, layout)
        assert (found.strides, found.dtype, found.flags.writeable) == (
            wanted.strides,
            wanted.dtype,
            wanted.flags.writeable,
        )
        assert found.tobytes() == wanted.tobytes()
        assert (found.base is None) == (wanted.base is None)


@on("name", ["transposed", "strided", "reversed", "offset", "broadcast"])
def test_a_script_shows_what_depends_on_layouts(name: str, tmp_path: Path) -> None:
    case = next(case for case in cases() if case.id == f"structure/layout-{name}/plain/float32")
    text = IN_ORDER_OF_MEMORY.replace("READ", "-1")
    right = implementation(text)(case)
    # Wrong for what is transposed, and by hand for the others, whose elements are in order.
    wrong_text = (
        text if name.startswith("transposed") else text.replace("rate * read", "rate * (read + (LOOK))")
    )
    wrong_text = wrong_text.replace("g.size == -1", "True").replace(
        "LOOK", "0 if g.flags.c_contiguous and (g.base is None or g.base.size == g.size) else 1"
    )
    observed = implementation(wrong_text)(with_layouts(case))
    assert compare(case, reference.run(case), _whole(right)).equal
    expected = reference.run(case)
    assert not compare(case, expected, _whole(observed)).equal
    (tmp_path / "reproduce.py").write_text(script_text(case, expected, observed, "from mine import run"))
    (tmp_path / "mine.py").write_text(wrong_text)
    wrong = started(tmp_path / "reproduce.py")
    assert wrong.returncode == 1, wrong.stderr
    assert "as it was seen before" in wrong.stdout
    (tmp_path / "mine.py").write_text(text)
    assert started(tmp_path / "reproduce.py").returncode == 0


@pytest.mark.sweep
def test_a_script_for_a_framework_keeps_the_layouts(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    case = next(case for case in cases() if case.id == "structure/layout-transposed/plain/float32")
    with Torch("fused") as run:
        observed = run(case)
    expected = reference.run(case)
    assert not compare(case, expected, observed).equal
    path = tmp_path / "reproduce.py"
    path.write_text(script_text(case, expected, observed, how_to_run(case, "torch", variant="fused")))
    shown = started(path)
    assert shown.returncode == 1, shown.stderr
    assert "as it was seen before" in shown.stdout
