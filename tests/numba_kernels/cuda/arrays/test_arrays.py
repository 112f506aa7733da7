"""Where arrays on the device lie, of libraries made up here and of real ones that were led to believe in one.

No real array on a device was seen here: Numba's have a pointer that is made up, CuPy's memory that is not
there, PyTorch's lie on the host, and the simulator's are NumPy's. A header that were read would end the
process, since nothing is mapped at its address; a process of its own makes sure of that.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba_cuda", reason="numba_kernels.cuda needs numba-cuda")

from numba_kernels.cuda.arrays import arrays
from numba_kernels.cuda.arrays.arrays import UNKNOWN_DEVICE, Expected, View, header, overlap, view
from numba_kernels.cuda.toolkit import IS_SIMULATED
from numba_kernels.shared import dlpack
from sgd_ref.base.aliasing import OccupiedMemory, is_same_memory, overlaps_itself
from sgd_ref.base.exclusion import Exclusion
from sgd_ref.base.state import State
from sgd_ref.base.variables import (
    Target,
    check_gradients,
    check_no_alias,
    check_rebuilt,
    check_variables,
    check_writable,
    positions,
    warn_of_missing,
)

WILD = 0x200000000000
FLOAT32 = np.dtype(np.float32)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(np.float16), BFLOAT16, FLOAT32, np.dtype(np.float64)]


class Watched(dict[str, Any]):
    """An interface whose stream nobody may look at."""

    def _check(self, key: str) -> None:
        assert key != "stream", "whoever reads the stream is to synchronise with it"

    def __getitem__(self, key: str) -> Any:
        self._check(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._check(key)
        return super().get(key, default)


class Interface:
    """An array with `__cuda_array_interface__`, of a library that tells no device."""

    def __init__(self, **entries: Any) -> None:
        plain = {"version": 3, "shape": (2, 3), "typestr": "<f4", "data": (WILD, False), "stream": 7}
        self.__cuda_array_interface__ = Watched(plain | entries)

    def __repr__(self) -> str:
        raise AssertionError("to print an array is to read it")


class WithDevice(Interface):
    """An array of a library that tells the device, too."""

    device: tuple[int, int] = (dlpack.CUDA, 2)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A driver that knows the memory at WILD, and nothing else."""

    class Driver(types.ModuleType):
        asked: list[int] = []  # noqa: RUF012
        CUresult = types.SimpleNamespace(CUDA_SUCCESS=0)
        CUpointer_attribute = types.SimpleNamespace(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL=9)

        def cuPointerGetAttribute(self, attribute: int, address: int) -> Any:  # noqa: N802
            assert attribute == 9
            self.asked.append(address)
            return (
                (0, 3) if address == WILD else (types.SimpleNamespace(name="CUDA_ERROR_INVALID_VALUE"), None)
            )

    made = Driver("driver")
    made.asked = []
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", made)
    return made


# __cuda_array_interface__


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({}, View(WILD, (2, 3), (12, 4), FLOAT32, 3, False)),
        ({"strides": None}, View(WILD, (2, 3), (12, 4), FLOAT32, 3, False)),
        ({"strides": (48, 8)}, View(WILD, (2, 3), (48, 8), FLOAT32, 3, False)),
        ({"strides": (-12, 4)}, View(WILD, (2, 3), (-12, 4), FLOAT32, 3, False)),
        ({"strides": (0, 4)}, View(WILD, (2, 3), (0, 4), FLOAT32, 3, False)),
        ({"shape": (), "strides": None}, View(WILD, (), (), FLOAT32, 3, False)),
        ({"shape": [4]}, View(WILD, (4,), (4,), FLOAT32, 3, False)),
        ({"data": (WILD, True)}, View(WILD, (2, 3), (12, 4), FLOAT32, 3, True)),
        ({"typestr": "<f8"}, View(WILD, (2, 3), (24, 8), np.dtype(np.float64), 3, False)),
        ({"typestr": "<i4"}, View(WILD, (2, 3), (12, 4), np.dtype(np.int32), 3, False)),
        ({"typestr": ">f4"}, View(WILD, (2, 3), (12, 4), np.dtype(">f4"), 3, False)),
        ({"mask": None}, View(WILD, (2, 3), (12, 4), FLOAT32, 3, False)),
        ({"shape": (0, 3), "data": (0, False)}, View(0, (0, 3), (12, 4), FLOAT32, UNKNOWN_DEVICE, False)),
        ({"shape": (0,), "data": (None, False)}, View(0, (0,), (4,), FLOAT32, UNKNOWN_DEVICE, False)),
    ],
)
def test_the_interface_of_cuda_arrays(version: int, entries: Any, expected: View) -> None:
    assert view("w", Interface(version=version, **entries)) == expected


def test_bfloat16_in_the_interface() -> None:
    named = Interface(typestr="<V2")
    named.dtype = BFLOAT16  # type: ignore[attr-defined]
    assert view("w", named).dtype == BFLOAT16
    assert view("w", named).strides == (6, 2)
    # Without the name it may be anything; the caller refuses it.
    assert view("w", Interface(typestr="<V2")).dtype == np.dtype("V2")
    other = Interface(typestr="<f4")
    other.dtype = BFLOAT16  # type: ignore[attr-defined]
    assert view("w", other).dtype == FLOAT32


def test_the_device_that_a_library_tells(driver: Any) -> None:
    assert view("w", WithDevice()).device == 2
    assert view("w", WithDevice(shape=(0,), data=(0, False))).device == 2
    assert driver.asked == []


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"mask": object()}, "got an array with a mask"),
        ({"typestr": "<z9"}, "got an array of typestr '<z9'"),
        (
            {"data": (WILD + 4, False)},
            r"got an array in memory that CUDA does not know \(CUDA_ERROR_INVALID_V",
        ),
    ],
)
def test_an_interface_that_is_refused(entries: Any, message: str) -> None:
    with pytest.raises(TypeError, match=rf"gradients\[3\] must be an array on the device: .* {message}"):
        view("gradients[3]", Interface(**entries))


def test_elements_without_memory_are_refused() -> None:
    with pytest.raises(ValueError, match=r"w must have memory, got an array of shape .* at address 0"):
        view("w", Interface(data=(0, False)))


# DLPack


class Exporter:
    """An array that is exported by DLPack alone; nothing has to be given back."""

    def __init__(self, device: tuple[int, int], **fields: Any) -> None:
        self.device = device
        lengths = (ctypes.c_int64 * 2)(2, 3)
        described = dlpack.Tensor(WILD, *device, 2, 4, 16, 1, lengths, None, 0)
        self.managed = dlpack.VersionedManaged(1, 0, None, None, fields.get("flags", 0), described)
        for name, value in fields.items():
            if name != "flags":
                setattr(self.managed.tensor, name, value)
        self.exports = 0

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, **request: Any) -> Any:
        assert request["stream"] == -1
        self.exports += 1
        new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        make = new(("PyCapsule_New", ctypes.pythonapi))
        return make(ctypes.addressof(self.managed), b"dltensor_versioned", None)

    def __repr__(self) -> str:
        raise AssertionError("to print an array is to read it")


@pytest.mark.parametrize("kind", [dlpack.CUDA, dlpack.CUDA_MANAGED])
def test_an_array_by_dlpack(kind: int) -> None:
    assert view("w", Exporter((kind, 1))) == View(WILD, (2, 3), (6, 2), BFLOAT16, 1, False)
    assert view("w", Exporter((kind, 1), flags=1)).is_read_only


@pytest.mark.parametrize(
    ("kind", "where"), [(1, "the host's memory"), (3, "memory that is not"), (10, "memory that is not")]
)
def test_other_memory_is_refused_before_anything_is_exported(kind: int, where: str) -> None:
    exporter = Exporter((kind, 0))
    with pytest.raises(TypeError, match=rf"w must be .*, got an array in {where}.* type {kind}\)"):
        view("w", exporter)
    assert exporter.exports == 0
    # A library may tell one thing and export another.
    exporter.device = (dlpack.CUDA, 0)
    with pytest.raises(TypeError, match=f"got an array in {where}"):
        view("w", exporter)


def test_what_dlpack_cannot_give_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"w must be an array on the device: .*, got a copy of its elements"):
        view("w", Exporter((dlpack.CUDA, 0), flags=2))
    with pytest.raises(TypeError, match="got elements of DLPack's type 17 of 1 times 4 bits"):
        view("w", Exporter((dlpack.CUDA, 0), code=17, bits=4))


# What is no array on a device


class Unprintable(list[Any]):
    """What must not be printed, since it may hold arrays."""

    def __repr__(self) -> str:
        raise AssertionError("to print an array is to read it")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (np.zeros(3), "an ndarray, in the host's memory"),
        (np.ma.MaskedArray(np.zeros(3)), "an MaskedArray, in the host's memory"),
        (np.float32(1), "an float32, in the host's memory"),
        (None, "an object of type NoneType"),
        (1.5, "an object of type float"),
        (Unprintable([1]), "an object of type Unprintable"),
    ],
)
def test_other_things_are_refused(given: Any, shown: str) -> None:
    with pytest.raises(TypeError) as caught:
        view("variables[1]", given)
    accepted = "an array on the device: of Numba, CuPy or PyTorch"
    assert str(caught.value) == f"variables[1] must be {accepted}, got {shown}"


# PyTorch


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """PyTorch, whose tensors on the host count as ones on a device; none of its protocols may be used."""
    module = pytest.importorskip("torch")

    def refused(*arguments: Any, **keywords: Any) -> Any:
        raise AssertionError("this needs no protocol")

    monkeypatch.setattr(module.Tensor, "__dlpack__", refused)
    monkeypatch.setattr(module.Tensor, "__cuda_array_interface__", property(refused))
    monkeypatch.setattr(arrays, "TORCH_DEVICE_TYPE", "cpu")
    monkeypatch.setattr(dlpack, "CUDA", dlpack.HOST)
    return module


HOST_OF_TORCH = -1
"""What PyTorch calls the device of a tensor on the host."""

CHANGES: list[Callable[[Any], Any]] = [
    lambda t: t,
    lambda t: t[1:, ::2],
    lambda t: t.t(),
    lambda t: t[0, 0],
    lambda t: t[:0],
    lambda t: t.expand(2, 4, 6),
    lambda t: t[None],
]


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("change", CHANGES)
def test_tensors(torch: Any, change: Callable[[Any], Any], dtype: Any, requires_grad: bool) -> None:
    tensor = change(torch.zeros(4, 6, dtype=getattr(torch, dtype.name), requires_grad=requires_grad))
    strides = tuple(step * dtype.itemsize for step in tensor.stride())
    expected = View(tensor.data_ptr(), tuple(tensor.shape), strides, dtype, HOST_OF_TORCH, False)
    found = view("w", tensor)
    assert found == expected
    assert type(found.shape) is tuple


def test_parameters_and_other_dtypes(torch: Any) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    assert view("w", parameter).address == parameter.data_ptr()
    for name in ("int64", "bool", "complex64", "float8_e4m3fn"):
        assert view("w", torch.zeros(3, dtype=getattr(torch, name))).dtype.name == name


def test_tensors_that_are_refused(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"w must be .*, got a tensor of layout torch.sparse_coo"):
        view("w", torch.ones(3).to_sparse())
    with pytest.raises(TypeError, match=r"w must be .*, got a tensor on meta"):
        view("w", torch.ones(3, device="meta"))
    with pytest.raises(TypeError, match=r"w must be .*, got a tensor of float4_e2m1fn_x2"):
        view("w", torch.zeros(3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2))
    monkeypatch.undo()
    with pytest.raises(TypeError, match=r"w must be .*, got a tensor on cpu"):
        view("w", torch.ones(3))


def a_gradient_to_be_negated(torch: Any) -> Any:
    """Return a gradient as PyTorch leaves it where a conjugate was taken: its bits have the other sign."""
    real, imaginary = torch.tensor(1.0), torch.tensor(2.0, requires_grad=True)
    (torch.complex(real, imaginary).conj() * (1 + 2j)).real.backward()
    return imaginary.grad


def test_a_tensor_that_is_still_to_be_negated_is_refused(torch: Any) -> None:
    gradient = a_gradient_to_be_negated(torch)
    assert gradient.is_neg()
    with pytest.raises(ValueError, match=r"gradients\[0\] must hold its elements as they are.*resolve_neg"):
        view("gradients[0]", gradient)
    assert view("gradients[0]", gradient.resolve_neg()).shape == ()


# CuPy


def test_arrays_of_cupy() -> None:
    cupy = pytest.importorskip("cupy")
    memory = cupy.cuda.UnownedMemory(WILD, 1 << 20, None, 1)
    array = cupy.ndarray((4, 6), np.float32, cupy.cuda.MemoryPointer(memory, 64))
    assert view("w", array) == View(WILD + 64, (4, 6), (24, 4), FLOAT32, 1, False)
    assert view("w", array[::-1, ::2]) == View(WILD + 64 + 72, (4, 3), (-24, 8), FLOAT32, 1, False)
    assert view("w", array[1, 1:2].reshape(())).shape == ()
    small = cupy.ndarray((3,), BFLOAT16, cupy.cuda.MemoryPointer(memory, 0))
    assert view("w", small) == View(WILD, (3,), (2,), BFLOAT16, 1, False)
    given = [array, array[2:]]
    expected = Expected([view("w", item) for item in given])
    assert found(expected, given) == [WILD + 64, WILD + 112]


class CupyArray:
    """The attributes of a ``cupy.ndarray`` that are read, found in CuPy 14."""

    def __init__(
        self, address: int = WILD, shape: Any = (2, 3), strides: Any = (12, 4), device: int = 1
    ) -> None:
        self.data = types.SimpleNamespace(ptr=address, device_id=device)
        self.shape, self.strides, self.dtype = shape, strides, FLOAT32

    @property
    def __cuda_array_interface__(self) -> Any:
        raise AssertionError("this needs no protocol")


class DerivedCupyArray(CupyArray):
    """A type that somebody derived."""


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(ndarray=CupyArray))  # type: ignore[arg-type]


@pytest.mark.usefixtures("cupy")
def test_arrays_like_those_of_cupy() -> None:
    assert view("w", CupyArray()) == View(WILD, (2, 3), (12, 4), FLOAT32, 1, False)
    assert view("w", DerivedCupyArray(strides=(-12, 4))).strides == (-12, 4)


# Numba


class Pointer:
    """What Numba keeps of memory that was allocated."""

    def __init__(self, address: int) -> None:
        self.device_ctypes_pointer = ctypes.c_void_p(address)
        self.context = types.SimpleNamespace(device=types.SimpleNamespace(id=1))

    def view(self, start: int, stop: int) -> Pointer:
        return Pointer((self.device_ctypes_pointer.value or 0) + start)


def numba_array(shape: Any, strides: Any, dtype: Any = np.float32, address: int = WILD) -> Any:
    if IS_SIMULATED:
        pytest.skip("the simulator's arrays are NumPy's")
    from numba.cuda.cudadrv.devicearray import DeviceNDArray  # noqa: PLC0415

    return DeviceNDArray(shape, strides, dtype, gpu_data=Pointer(address))


@pytest.mark.parametrize(
    ("shape", "strides", "dtype"),
    [
        ((2, 3), (12, 4), np.float32),
        ((2, 3), (6, 2), BFLOAT16),
        ((2, 3), (48, 8), np.float32),
        ((), (), np.float64),
        ((3,), (-4,), np.float32),
        # Numba's interface says of this one that it is in one piece.
        ((2, 3), (0, 4), np.float32),
    ],
)
def test_arrays_of_numba(shape: Any, strides: Any, dtype: Any) -> None:
    found = view("w", numba_array(shape, strides, dtype))
    assert found == View(WILD, shape, strides, np.dtype(dtype), 1, False)


def test_memory_that_numba_maps() -> None:
    numba_array((1,), (4,))
    from numba.cuda.cudadrv.devicearray import MappedNDArray  # noqa: PLC0415

    mapped = np.zeros((2, 3), np.float32).view(MappedNDArray)
    mapped.device_setup(Pointer(WILD))
    assert view("w", mapped) == View(WILD, (2, 3), (12, 4), FLOAT32, 1, False)
    # Numba forgets where a view of it lies on the device.
    with pytest.raises(ValueError, match="w must have memory"):
        view("w", mapped[1:])


SIMULATED = """
import json
import numpy as np
from numba import cuda
from numba_kernels.cuda.arrays.arrays import Expected, view
host = np.arange(12, dtype=np.float32).reshape(3, 4)
array = cuda.to_device(host)
read_only = cuda.to_device(host)
read_only._ary.flags.writeable = False
results = []
for given in (array, array[1:, ::2], array[0, :0], array.T, read_only):
    seen = view("w", given)
    numpy = given._ary
    assert type(seen.shape) is tuple
    assert seen.address == numpy.ctypes.data
    results.append([seen.shape, seen.strides, seen.dtype.name, seen.device, seen.is_read_only])
expected = Expected([view("w", array)])
assert expected.addresses([array]).tolist() == [array._ary.ctypes.data]
assert expected.addresses([array[:2]]) is None
assert expected.addresses([host]) is None
try:
    view("w", host)
except TypeError:
    print(json.dumps(results))
"""


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | environment,
    )


def test_arrays_of_the_simulator() -> None:
    finished = run(SIMULATED, NUMBA_ENABLE_CUDASIM="1")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == [
        [[3, 4], [16, 4], "float32", 0, False],
        [[2, 2], [16, 8], "float32", 0, False],
        [[0], [4], "float32", 0, False],
        [[4, 3], [4, 16], "float32", 0, False],
        [[3, 4], [16, 4], "float32", 0, True],
    ]


# Headers


def nowhere(
    shape: tuple[int, ...] = (2, 3),
    dtype: Any = np.float32,
    address: int = WILD,
    strides: tuple[int, ...] | None = None,
    is_read_only: bool = False,
) -> Any:
    """Return the header of an array that is not there."""
    dtype = np.dtype(dtype)
    if strides is None:
        strides = dlpack.contiguous_strides(shape, dtype.itemsize)
    return header(View(address, shape, strides, dtype, 0, is_read_only))


@pytest.mark.parametrize(
    "reading", ["numpy.array(array)", "array[0, 0] + 1", "array.tolist()", "numpy.ndarray.__repr__(array)"]
)
def test_to_read_a_header_would_end_the_process(reading: str) -> None:
    script = f"""
import numpy
from numba_kernels.cuda.arrays.arrays import View, header
array = header(View({WILD}, (2, 3), (12, 4), numpy.dtype(numpy.float32), 0, False))
print(array, flush=True)
{reading}
print("read")
"""
    finished = run(script)
    assert finished.stdout == "<float32 of shape (2, 3) on the device>\n"
    assert finished.returncode == -signal.SIGSEGV


@pytest.mark.parametrize("is_read_only", [False, True])
@pytest.mark.parametrize(
    "dtype", [*DTYPES, np.int32, np.bool_, ml_dtypes.float8_e4m3fn, ">f4", np.complex128]
)
@pytest.mark.parametrize(
    ("shape", "strides"),
    [((), ()), ((4,), (-16,)), ((2, 3), None), ((2, 3), (0, 16)), ((3, 1, 2), (64, -8, 16)), ((7,), (24,))],
)
def test_a_header_has_the_form_of_the_array(shape: Any, strides: Any, dtype: Any, is_read_only: bool) -> None:
    array = nowhere(shape, dtype, WILD, strides, is_read_only)
    assert isinstance(array, np.ndarray)
    assert array.__array_interface__["data"] == (WILD, is_read_only)
    assert array.flags.writeable is not is_read_only
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.strides == (strides or dlpack.contiguous_strides(shape, np.dtype(dtype).itemsize))
    assert array.flags.aligned


def test_contiguity_and_alignment_of_headers() -> None:
    assert nowhere().flags.c_contiguous
    assert not nowhere(strides=(24, 8)).flags.c_contiguous
    assert not nowhere(address=WILD + 2).flags.aligned
    assert not nowhere(dtype=BFLOAT16, address=WILD + 1).flags.aligned
    assert nowhere(dtype=BFLOAT16, address=WILD + 2).flags.aligned


@pytest.mark.parametrize("address", [0, WILD])
def test_a_header_without_elements(address: int) -> None:
    array = nowhere((0, 3), address=address)
    assert (array.shape, array.size, array.strides) == ((0, 3), 0, (12, 4))
    assert array.flags.c_contiguous


def test_what_numpy_lets_a_header_refuse() -> None:
    array, other = nowhere(), nowhere(address=WILD + 400)
    shown = "<float32 of shape (2, 3) on the device>"
    assert f"{array} {array!r} {[array]}" == f"{shown} {shown} [{shown}]"
    for computation in (
        lambda: array == other,
        lambda: array + 1,
        lambda: np.add(array, 1),
        lambda: np.isnan(array),
        lambda: np.array_equal(array, other),
        lambda: np.concatenate([array, other]),
        lambda: np.sum(array),
        lambda: np.zeros_like(array),
    ):
        with pytest.raises(TypeError):
            computation()


def test_variables_are_checked_by_their_headers() -> None:
    variables = [nowhere(dtype=dtype, address=WILD + 1024 * i) for i, dtype in enumerate(DTYPES)]
    variables += [nowhere((), address=WILD + 8192), nowhere((0, 3), address=0)]
    assert [id(array) for array in check_variables(variables)] == [id(array) for array in variables]
    assert positions(variables[::-1], variables) == [5, 4, 3, 2, 1, 0]
    # Other headers of the same memory, as each call makes them.
    again = [nowhere(dtype=dtype, address=WILD + 1024 * i) for i, dtype in enumerate(DTYPES)]
    assert positions(again[::-1], variables) == [3, 2, 1, 0]
    assert is_same_memory(again[0], variables[0])
    check_writable([("w", variables[0])])
    check_rebuilt(variables[:4], list("abcd"), again, None)


@pytest.mark.parametrize(
    ("variables", "error", "message"),
    [
        ([nowhere(dtype=np.int32)], TypeError, r"variables\[0\] must have one of the dtypes .*, got int32"),
        ([nowhere(dtype="V2")], TypeError, r"variables\[0\] must have one of the dtypes .*, got \|V2"),
        ([nowhere(dtype=">f4")], TypeError, r"variables\[0\] must have one of the dtypes .*, got >f4"),
        ([nowhere(is_read_only=True)], ValueError, r"variables\[0\] must be writable"),
        ([nowhere(strides=(0, 4))], ValueError, r"must not overlap itself, got strides \(0, 4\)"),
        ([nowhere(), nowhere()], ValueError, r"variables\[1\] must not share memory"),
        ([nowhere(), nowhere(address=WILD + 20)], ValueError, r"overlaps variables\[0\]"),
        ([nowhere((8,)), nowhere((8,), np.float16, WILD + 30)], ValueError, r"overlaps variables\[0\]"),
    ],
)
def test_variables_are_refused_by_their_headers(variables: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_variables(variables)


def test_overlap_of_interleaved_headers() -> None:
    even, odd = nowhere((8,), strides=(8,)), nowhere((8,), address=WILD + 4, strides=(8,))
    backwards = nowhere((8,), address=WILD + 60, strides=(-8,))
    assert not np.shares_memory(even, odd)
    assert np.shares_memory(odd, backwards)
    assert len(check_variables([even, odd])) == 2
    memory = OccupiedMemory([("even", even)])
    assert memory.owner(odd) is None
    assert memory.owner(nowhere((8,), address=WILD + 4)) == "even"
    assert OccupiedMemory([("odd", odd)]).owner(backwards) == "odd"
    assert not overlaps_itself(backwards)
    with pytest.raises(ValueError, match=r"gradients\[1\] must not share memory .* overlaps even"):
        check_no_alias([odd, even, None], memory)


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (
            nowhere(dtype=np.float64),
            TypeError,
            "must have a dtype that float32, the dtype of w, holds exactly",
        ),
        (nowhere(dtype=np.int8), TypeError, r"gradients\[0\] must have one of the dtypes .* got int8"),
        (nowhere((3, 2)), ValueError, r"must have the shape \(2, 3\) of w, got \(3, 2\)"),
        (nowhere(()), ValueError, r"must have the shape \(2, 3\) of w, got \(\)"),
    ],
)
def test_gradients_are_refused_by_their_headers(gradient: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check_gradients([gradient], [Target("w", nowhere())])


def test_gradients_are_checked_by_their_headers() -> None:
    targets = [Target("w", nowhere()), Target("b", nowhere((), np.float64))]
    for dtype in (np.float16, BFLOAT16, np.float32):
        check_gradients([nowhere(dtype=dtype), None], targets)
    with pytest.raises(ValueError, match="one entry for each of the 2 variables, got 1"):
        check_gradients([nowhere()], targets)
    with pytest.raises(TypeError, match="gradients must be a list"):
        check_gradients(nowhere(), targets)
    with pytest.warns(UserWarning, match=r"no gradient was given for the variables \['b'\]"):
        warn_of_missing([nowhere(), None], targets)


def test_state_and_exclusion_of_headers() -> None:
    variables, velocities = [nowhere()], [nowhere(address=WILD + 256)]
    state = State(["w"], variables, [True], velocities, [], [])
    state.check_forms()
    assert state.memory.owner(nowhere((1,), address=WILD + 256 + 20)) == "the velocity of w"
    assert state.memory.owner(nowhere((1,), address=WILD + 256 + 24)) is None
    assert Exclusion.checked([nowhere()], None).decayed(variables, ["w"]) == [False]
    with pytest.raises(ValueError, match=r"var_list\[0\] must be one of the 1 variables, got another array"):
        Exclusion.checked([nowhere((6,))], None).decayed(variables, ["w"])
    with pytest.raises(TypeError, match="var_list must be a list of ndarrays, got <float32 of shape"):
        Exclusion.checked(nowhere(), None)
    with pytest.raises(ValueError, match="must be the 1 arrays"):
        check_rebuilt(variables, ["w"], [], None)


# Many arrays


def found(expected: Expected, given: list[Any]) -> list[int] | None:
    addresses = expected.addresses(given)
    return None if addresses is None else addresses.tolist()


@pytest.fixture(params=["compiled", "in Python"])
def way(request: pytest.FixtureRequest, torch: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return, for both ways to look at tensors, the number of the device of those on the host."""
    if request.param == "compiled":
        return 0
    monkeypatch.setattr(dlpack, "describing_function", lambda array_type: 0)
    return HOST_OF_TORCH


def tensors(torch: Any) -> list[Any]:
    return [
        torch.zeros(4, 6),
        torch.nn.Parameter(torch.zeros(3, dtype=torch.bfloat16)),
        torch.zeros((), dtype=torch.float64),
        torch.zeros(0, 3),
        torch.zeros(2, 3, 4, 5, dtype=torch.float16).to(memory_format=torch.channels_last),
        torch.zeros(4, 6)[:, ::2],
        torch.zeros(1),
    ]


def expected_of(given: list[Any], device: int) -> Expected:
    return Expected([view("w", array)._replace(device=device) for array in given])


def test_addresses_of_tensors(torch: Any, way: int) -> None:
    given = tensors(torch)
    expected = expected_of(given, way)
    assert found(expected, given) == [tensor.data_ptr() for tensor in given]
    others = tensors(torch)
    assert found(expected, others) == [tensor.data_ptr() for tensor in others]
    assert found(expected, others[::-1]) is None
    assert found(expected, others[1:]) is None
    assert found(expected, []) is None
    assert found(Expected([]), []) is None


STRANGERS: dict[str, Callable[[Any], Any]] = {
    "None": lambda torch: None,
    "ndarray": lambda torch: np.zeros((4, 6), np.float32),
    "interface": lambda torch: WithDevice(shape=(4, 6)),
    "shape": lambda torch: torch.zeros(6, 4),
    "axes": lambda torch: torch.zeros(4, 6, 1),
    "strides": lambda torch: torch.zeros(6, 4).t(),
    "dtype": lambda torch: torch.zeros(4, 6, dtype=torch.float64),
    "integers": lambda torch: torch.zeros(4, 6, dtype=torch.int32),
    "sparse": lambda torch: torch.ones(4, 6).to_sparse(),
    "sparse rows": lambda torch: torch.ones(4, 6).to_sparse_csr(),
    "device": lambda torch: torch.zeros(4, 6, device="meta"),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("place", [0, 1])
def test_whatever_else_is_among_tensors_needs_a_closer_look(
    torch: Any, way: int, stranger: str, place: int
) -> None:
    given = [torch.zeros(4, 6), torch.zeros(4, 6)]
    expected = expected_of(given, way)
    assert found(expected, given) is not None
    given[place] = STRANGERS[stranger](torch)
    assert found(expected, given) is None


def test_derived_types_of_tensors_need_a_closer_look(torch: Any, way: int) -> None:
    given = [torch.zeros(4, 6), torch.zeros(4, 6)]
    expected = expected_of(given, way)
    for base in (torch.Tensor, torch.nn.Parameter):
        given[1] = torch.zeros(4, 6).as_subclass(type("Derived", (base,), {}))
        assert found(expected, given) is None


def test_a_tensor_without_memory_needs_a_closer_look(torch: Any, way: int) -> None:
    given = [torch.zeros(4, 6), torch.zeros(4, 6)]
    expected = expected_of(given, way)
    given[1].untyped_storage().resize_(0)
    assert found(expected, given) is None
    with pytest.raises(ValueError, match="w must have memory"):
        view("w", given[1])


def test_another_device_needs_a_closer_look(torch: Any, way: int) -> None:
    given = [torch.zeros(4, 6)] * 2
    assert found(expected_of(given, way + 1), given) is None
    views = [view("w", array)._replace(device=way + index) for index, array in enumerate(given)]
    assert found(Expected(views), given) is None


def test_tensors_to_be_negated_need_a_closer_look(torch: Any, way: int) -> None:
    gradient = a_gradient_to_be_negated(torch)
    expected = expected_of([torch.tensor(0.0)], way)
    assert found(expected, [gradient]) is None
    assert found(expected, [gradient.resolve_neg()]) is not None
    strided = torch.zeros(3, 4)[:, ::2]
    imaginary = torch.ones(3, 2, dtype=torch.complex64).conj().imag
    assert imaginary.is_neg()
    assert imaginary.stride() == strided.stride()
    assert found(expected_of([strided], way), [imaginary]) is None


def test_tensors_that_are_not_aligned_need_a_closer_look(torch: Any, way: int) -> None:
    aligned = torch.zeros(3)
    shifted = torch.frombuffer(bytearray(64), dtype=torch.float32, offset=aligned.data_ptr() % 4 + 2, count=3)
    assert shifted.data_ptr() % 4 == 2
    expected = expected_of([aligned], way)
    assert found(expected, [aligned]) is not None
    assert found(expected, [shifted]) is None


@pytest.mark.usefixtures("cupy")
def test_addresses_of_arrays_like_those_of_cupy() -> None:
    given: list[Any] = [CupyArray(WILD + 256 * index) for index in range(3)]
    expected = Expected([view("w", array) for array in given])
    assert found(expected, given) == [WILD, WILD + 256, WILD + 512]
    for other in (
        CupyArray(shape=(3, 2)),
        CupyArray(strides=(4, 8)),
        CupyArray(device=0),
        CupyArray(WILD + 2),
        DerivedCupyArray(),
        None,
        np.zeros((2, 3), np.float32),
    ):
        assert found(expected, [given[0], given[1], other]) is None
    other = CupyArray()
    other.dtype = np.dtype(np.float64)
    assert found(expected, [given[0], given[1], other]) is None
    assert found(expected, given[:2]) is None


def test_addresses_of_arrays_of_other_libraries() -> None:
    given = [WithDevice(), WithDevice(shape=(), data=(WILD + 64, False))]
    expected = Expected([view("w", array) for array in given])
    assert found(expected, given) == [WILD, WILD + 64]
    for other in (
        WithDevice(shape=(1,), data=(WILD + 64, False)),
        WithDevice(shape=(), typestr="<f8"),
        WithDevice(shape=(), data=(WILD + 66, False)),
        WithDevice(shape=(), mask=1),
        WithDevice(shape=(), data=(0, False)),
        Interface(shape=()),
        None,
        np.float32(1),
    ):
        assert found(expected, [given[0], other]) is None


@settings(max_examples=300, print_blob=True)
@given(st.data())
def test_overlap_is_that_of_all_pairs(data: Any) -> None:
    bounds = sorted(data.draw(st.sets(st.integers(0, 60), max_size=8)))
    occupied = np.array(bounds[: len(bounds) // 2 * 2], np.int64)
    pieces = data.draw(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 6)), max_size=4))
    starts = np.array([start for start, _ in pieces], np.int64)
    sizes = np.array([size for _, size in pieces], np.int64)
    taken = {byte for first, end in occupied.reshape(-1, 2) for byte in range(first, end)}
    touched = any(byte in taken for start, size in pieces for byte in range(start, start + size))
    assert overlap(starts, sizes, occupied) == touched
