"""The peers make the step of the reference, as far as that can be seen without a device.

The compositions of PyTorch and Optax run on the processor, the kernels in the simulator, and the capture of a
graph with what stands in for PyTorch.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import sgd_ref
from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.device.peers import NotOffered, kernels_peer, prepare, tensors
from numba_kernels.benchmarks.workload import SETTINGS, Workload
from numba_kernels.selfcheck.device.availability import is_simulated, why_no_device

STEPS = 3


simulated = pytest.mark.skipif(
    why_no_device() is not None or not is_simulated(), reason="numba-cuda is missing, or has a real device"
)


def needs(library: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(library) is None
    return pytest.mark.skipif(missing, reason=f"{library} is not installed")


@pytest.mark.share(2)
@simulated
@pytest.mark.parametrize(("settings", "dtype"), [("momentum", "float32"), ("everything", "bfloat16")])
def test_the_kernels_give_the_same_bits(settings: str, dtype: str) -> None:
    assert kernels_peer.first_difference(Workload("3 x 41", settings, dtype), False) == ""


@simulated
def test_wrong_bits_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = kernels_peer._expected

    def one_bit_off(workload: Workload) -> Any:
        arrays = expected(workload)
        arrays["velocities"][1].view(np.int32)[40] ^= 1
        return arrays

    monkeypatch.setattr(kernels_peer, "_expected", one_bit_off)
    monkeypatch.setattr(kernels_peer, "CHECKED_MODEL", "2 x 43")
    with pytest.raises(NotOffered, match=r"wrong bits: velocities\[1\] of 2 x 43, momentum, float32 are not"):
        prepare("kernels", Workload("1 x 50", "momentum"))


@simulated
def test_the_timed_steps_are_those_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels_peer, "CHECKED_MODEL", "2 x 41")
    workload = Workload("2 x 50", "momentum")
    made: list[kernels_peer.Model] = []
    model = kernels_peer.Model

    def kept(workload: Workload) -> kernels_peer.Model:
        made.append(model(workload))
        return made[-1]

    monkeypatch.setattr(kernels_peer, "Model", kept)
    prepared = prepare("kernels", workload)
    variables, gradients = workloads.variables(workload), workloads.gradients(workload)
    optimizer = sgd_ref.SGD(**SETTINGS["momentum"])
    optimizer.build(variables)
    for _ in range(STEPS):
        prepared.step()
        optimizer.apply(gradients)
    prepared.synchronise()
    for found, wanted in zip(made[-1].on_host()["variables"], variables, strict=True):
        assert found.tobytes() == wanted.tobytes()


PREAMBLE = """
import numpy as np, sgd_ref
from numba_kernels.benchmarks import workload as workloads
from numba_kernels.benchmarks.workload import SETTINGS, Workload

def check(workload, step, arrays):
    expected, gradients = workloads.variables(workload), workloads.gradients(workload)
    optimizer = sgd_ref.SGD(**SETTINGS[workload.settings])
    optimizer.build(expected)
    for _ in range(3):
        step()
        optimizer.apply(gradients)
    for found, wanted in zip(arrays(), expected, strict=True):
        np.testing.assert_allclose(np.asarray(found), wanted, rtol=1e-6, atol=1e-9)
"""

# Three steps on one block of 400 and one of 70,000, which is longer than what is repeated.
TORCH = """
import torch
from numba_kernels.benchmarks.device.peers import tensors, torch_peer

made = []
fill = tensors.variables
def kept(workload, device):
    made[:] = fill(workload, device)
    return made
tensors.variables = kept

class Unchanged:
    # PyTorch clips gradients in place, and with foreach adds the Nesterov momentum to them.
    def __init__(self, workload, prepare, *arguments):
        self.made = []
        gradients = tensors.gradients
        tensors.gradients = lambda *given: self.made.extend(gradients(*given)) or self.made
        self.step = prepare(workload, "cpu", *arguments).step
        tensors.gradients = gradients
        self.before = [gradient.clone() for gradient in self.made]
    def __call__(self):
        for gradient, before in zip(self.made, self.before, strict=True):
            gradient.copy_(before)
        self.step()

for model in ("3 x 400", "1 x 70000"):
    for settings in ("momentum", "everything"):
        workload = Workload(model, settings)
        for prepare, *arguments in (
            (torch_peer.fused,), (torch_peer.foreach,), (torch_peer.compiled, "aot_eager")
        ):
            check(workload, Unchanged(workload, prepare, *arguments), lambda: [v.detach() for v in made])

for dtype in ("float32", "bfloat16"):
    workload = Workload("1 x 70000", "momentum", dtype)
    for tensor, array in zip(fill(workload, "cpu"), workloads.variables(workload), strict=True):
        assert tensor.view(torch.uint8).numpy().tobytes() == array.tobytes()

workload = Workload("3 x 1000", "everything", "bfloat16")
copied = []
empty_like = torch.empty_like
torch.empty_like = lambda source: copied.append((source, empty_like(source).zero_())) or copied[0][1]
torch_peer.roof(workload, "cpu").step()
((source, target),) = copied
assert 2 * source.nbytes == workload.bytes_moved and torch.equal(source, target)
"""

OPTAX = """
import jax
from numba_kernels.benchmarks.device.peers import NotOffered, optax_peer

first = optax_peer.first_state
held = []
def kept(*arguments):
    held.append(first(*arguments))
    return held[-1]
optax_peer.first_state = kept
for model, settings in (("3 x 400", "everything"), ("1 x 70000", "momentum")):
    workload = Workload(model, settings)
    prepared = optax_peer.jitted(workload, ("cpu",))
    check(workload, prepared.step, lambda: held[-1][0])
    prepared.synchronise()
try:
    optax_peer.jitted(workload)
except NotOffered as reason:
    assert str(reason) == "JAX finds no device"
else:
    assert jax.default_backend() in optax_peer.GPU
"""


def run(program: str) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[4]), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PREAMBLE + program],
        env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


@needs("torch")
def test_the_compositions_of_pytorch_make_the_step() -> None:
    run(TORCH)


@needs("optax")
def test_optax_makes_the_step() -> None:
    run(OPTAX)


class Recorder:
    """Stands in for PyTorch: what is called stands in a list, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.Stream = lambda: SimpleNamespace(synchronize=lambda: self.events.append("stream waited for"))
        self.CUDAGraph = lambda: SimpleNamespace(replay=lambda: self.events.append("replay"))

    def synchronize(self) -> None:
        self.events.append("device waited for")

    def is_initialized(self) -> bool:
        return False

    @contextmanager
    def stream(self, stream: Any) -> Any:
        self.events.append("on stream")
        yield
        self.events.append("off stream")

    @contextmanager
    def graph(self, graph: Any, stream: Any) -> Any:
        self.events.append("capture")
        yield
        self.events.append("captured")


def test_a_step_is_made_on_the_stream_before_it_is_captured_there(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=recorder))
    replay = tensors.captured(lambda: recorder.events.append("step"), 2)
    replay()
    assert recorder.events == [
        "device waited for",
        *("on stream", "step", "step", "off stream", "stream waited for"),
        *("capture", "step", "captured"),
        "replay",
    ]


def test_what_is_not_installed_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "jax", None)
    for peer, library in (("torch compiled", "torch"), ("roof torch", "torch"), ("optax", "jax")):
        with pytest.raises(NotOffered, match=f"{library} is not installed"):
            prepare(peer, Workload("1 x 9", "momentum"))
