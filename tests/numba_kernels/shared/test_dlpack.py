"""DLPack's capsules and its function in C, from libraries made up here, and from PyTorch on the host.

No real array on a device was exported here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from numba_kernels.shared import dlpack
from numba_kernels.shared.dlpack import Export, describing_function, exported
from numba_kernels.shared.dlpack_specs import ArraySpecs

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
WILD = 0x7F0000000000

_Deleter = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_Describe = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(dlpack.Tensor))
_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)


def tensor(
    shape: tuple[int, ...] = (2, 3),
    strides: tuple[int, ...] | None = (3, 1),
    code: int = 2,
    bits: int = 32,
    lanes: int = 1,
    data: int = WILD,
    device_type: int = dlpack.CUDA,
    device: int = 1,
    byte_offset: int = 0,
) -> dlpack.Tensor:
    """Return DLPack's description of an array that nobody has."""
    made = dlpack.Tensor(data, device_type, device, len(shape), code, bits, lanes, None, None, byte_offset)
    made.lengths = (ctypes.c_int64 * len(shape))(*shape)
    if strides is not None:
        made.strides = (ctypes.c_int64 * len(shape))(*strides)
    return made


class Exporter:
    """An array that exports a tensor, and counts how often it is given back."""

    def __init__(
        self, described: dlpack.Tensor, is_versioned: bool = True, flags: int = 0, major: int = 1
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        self.deletions = 0
        self.name = b"dltensor_versioned" if is_versioned else b"dltensor"
        self.capsule: Any = None

        def delete(address: int) -> None:
            assert address == ctypes.addressof(self.managed)
            self.deletions += 1

        self._delete = _Deleter(delete)
        deleter = ctypes.cast(self._delete, ctypes.c_void_p)
        self.managed: Any
        if is_versioned:
            self.managed = dlpack.VersionedManaged(major, 0, None, deleter, flags, described)
        else:
            self.managed = dlpack.Managed(described, None, deleter)

    def __dlpack__(self, **request: Any) -> Any:
        self.requests.append(request)
        self.capsule = _new_capsule(ctypes.addressof(self.managed), self.name, None)
        return self.capsule

    def assert_given_back_once(self) -> None:
        assert self.deletions == 1
        # The library gives back what nobody has used, and tells it by the name.
        assert _is_valid(self.capsule, b"used_" + self.name)


class OldExporter(Exporter):
    """One from before DLPack 1, which knows one argument."""

    def __dlpack__(self, stream: Any = None) -> Any:
        return super().__dlpack__(stream=stream)


@pytest.mark.parametrize("is_versioned", [True, False])
def test_a_capsule_is_read_and_given_back_once(is_versioned: bool) -> None:
    exporter = Exporter(tensor(byte_offset=64), is_versioned)
    assert exported(exporter) == Export(
        WILD + 64, (2, 3), (12, 4), np.dtype(np.float32), dlpack.CUDA, 1, False
    )
    exporter.assert_given_back_once()


def test_nobody_is_asked_to_synchronise() -> None:
    new, old = Exporter(tensor()), OldExporter(tensor(), is_versioned=False)
    exported(new)
    exported(old)
    assert new.requests == [{"stream": -1, "max_version": (1, 0)}]
    assert old.requests == [{"stream": -1}]
    old.assert_given_back_once()


@pytest.mark.parametrize(
    ("shape", "strides", "in_bytes"),
    [
        ((), (), ()),
        ((4,), (-1,), (-4,)),
        ((0, 3), (3, 1), (12, 4)),
        ((2, 3), (0, 1), (0, 4)),
        ((2, 3, 4), None, (48, 16, 4)),
        ((2, 0, 4), None, (16, 16, 4)),
        ((), None, ()),
    ],
)
def test_strides_count_bytes(
    shape: tuple[int, ...], strides: tuple[int, ...] | None, in_bytes: tuple[int, ...]
) -> None:
    found = exported(Exporter(tensor(shape, strides)))
    assert (found.shape, found.strides) == (shape, in_bytes)


@pytest.mark.parametrize(
    ("code", "bits", "dtype"),
    [
        (2, 16, np.float16),
        (4, 16, BFLOAT16),
        (2, 32, np.float32),
        (2, 64, np.float64),
        (0, 8, np.int8),
        (0, 64, np.int64),
        (1, 32, np.uint32),
        (5, 64, np.complex64),
        (5, 128, np.complex128),
        (6, 8, np.bool_),
        (7, 8, ml_dtypes.float8_e3m4),
        (8, 8, ml_dtypes.float8_e4m3),
        (9, 8, ml_dtypes.float8_e4m3b11fnuz),
        (10, 8, ml_dtypes.float8_e4m3fn),
        (11, 8, ml_dtypes.float8_e4m3fnuz),
        (12, 8, ml_dtypes.float8_e5m2),
        (13, 8, ml_dtypes.float8_e5m2fnuz),
        (14, 8, ml_dtypes.float8_e8m0fnu),
    ],
)
def test_every_type_has_its_dtype(code: int, bits: int, dtype: Any) -> None:
    assert exported(Exporter(tensor(code=code, bits=bits))).dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("code", "bits", "lanes"),
    [
        (3, 64, 1),
        (15, 6, 1),
        (17, 4, 1),
        (4, 32, 1),
        (2, 32, 4),
        (0, 7, 1),
        (2, 8, 1),
        (6, 16, 1),
        (12, 16, 1),
    ],
)
def test_a_type_without_a_dtype_is_refused_and_given_back(code: int, bits: int, lanes: int) -> None:
    exporter = Exporter(tensor(code=code, bits=bits, lanes=lanes))
    with pytest.raises(BufferError, match=f"type {code} of {lanes} times {bits} bits"):
        exported(exporter)
    exporter.assert_given_back_once()


def test_flags() -> None:
    assert not exported(Exporter(tensor(), flags=0)).is_read_only
    assert exported(Exporter(tensor(), flags=1)).is_read_only
    # Padded types of less than a byte have no dtype; that flag alone says nothing of others.
    assert not exported(Exporter(tensor(), flags=4)).is_read_only
    copy = Exporter(tensor(), flags=2)
    with pytest.raises(BufferError, match="a copy of its elements"):
        exported(copy)
    copy.assert_given_back_once()


def test_another_version_is_refused_unread() -> None:
    exporter = Exporter(tensor(code=99), major=2)
    with pytest.raises(BufferError, match=r"version 2\.0 of DLPack"):
        exported(exporter)
    exporter.assert_given_back_once()


def test_a_library_without_a_deleter() -> None:
    exporter = Exporter(tensor())
    exporter.managed.deleter = None
    assert exported(exporter).address == WILD
    assert exporter.deletions == 0


def test_what_is_no_capsule_of_dlpack_is_refused() -> None:
    class Strange:
        def __dlpack__(self, **request: Any) -> Any:
            return 7

    with pytest.raises(BufferError, match="a capsule that is not DLPack's"):
        exported(Strange())
    used = Exporter(tensor())
    exported(used)
    again = type("Again", (), {"__dlpack__": lambda self, **request: used.capsule})
    with pytest.raises(BufferError, match="a capsule that is not DLPack's"):
        exported(again())
    used.assert_given_back_once()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "bool"])
def test_tensors_of_pytorch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    array = torch.zeros(4, 6, dtype=getattr(torch, dtype))[1:, ::2]
    found = exported(array)
    itemsize = array.element_size()
    assert found == Export(
        array.data_ptr(), (3, 3), (6 * itemsize, 2 * itemsize), np.dtype(dtype), dlpack.HOST, 0, False
    )


# Many arrays at once, described by a function in C. A library made up here stands in for one on a device.


class Described:
    """An array of that library: it is described by what it holds."""

    def __init__(self, described: Any) -> None:
        self.described = described


class AlsoDescribed(Described):
    """Its other type."""


class Derived(Described):
    """A type that somebody derived."""


@_Describe
def describe(array: Any, out: Any) -> int:
    ctypes.memmove(out, ctypes.byref(array.described), ctypes.sizeof(dlpack.Tensor))
    return 0


def exchange(major: int = 1, function: Any = describe) -> Any:
    """Return a library's functions in a capsule, and what has to outlive it."""
    functions = dlpack.Exchange(major=major, minor=3)
    functions.describe = ctypes.cast(function, ctypes.c_void_p) if function is not None else None
    capsule = _new_capsule(ctypes.addressof(functions), b"dlpack_exchange_api", None)
    return capsule, functions


DESCRIBE = ctypes.cast(describe, ctypes.c_void_p).value
assert DESCRIBE is not None
FORM = {"shape": (2, 3), "strides": (3, 1), "code": 2, "bits": 32, "device": 1}


def addresses(given: list[Any], dtype: Any = np.float32, **form: Any) -> list[int] | None:
    """Return what is found of arrays that are all expected to have one form."""
    expected = FORM | form
    count = len(given)
    specs = ArraySpecs(
        [expected["shape"]] * count,
        [expected["strides"]] * count,
        [np.dtype(dtype)] * count,
        dlpack.CUDA,
        expected["device"],
    )
    assert DESCRIBE is not None
    found = specs.addresses(DESCRIBE, given, (Described, AlsoDescribed))
    return None if found is None else found.tolist()


def test_addresses_of_many_arrays() -> None:
    given: list[Any] = [Described(tensor(data=WILD + 64 * index)) for index in range(5)]
    given.append(AlsoDescribed(tensor(data=WILD, byte_offset=4096)))
    assert addresses(given) == [WILD, WILD + 64, WILD + 128, WILD + 192, WILD + 256, WILD + 4096]


DEVIATIONS: dict[str, Any] = {
    "shape": tensor(shape=(2, 4), strides=(4, 1)),
    "first length": tensor(shape=(1, 3)),
    "more axes": tensor(shape=(2, 3, 1), strides=(3, 1, 1)),
    "fewer axes": tensor(shape=(2,), strides=(3,)),
    "first stride": tensor(strides=(4, 1)),
    "last stride": tensor(strides=(3, 2)),
    "negative stride": tensor(strides=(3, -1)),
    "no strides": tensor(strides=None),
    "code": tensor(code=0),
    "bits": tensor(bits=64),
    "lanes": tensor(lanes=2),
    "device": tensor(device=0),
    "kind of memory": tensor(device_type=dlpack.CUDA_MANAGED),
    "host": tensor(device_type=dlpack.HOST),
}


@pytest.mark.parametrize("deviation", DEVIATIONS)
@pytest.mark.parametrize("place", [0, 2])
def test_whatever_else_an_array_is_needs_a_closer_look(deviation: str, place: int) -> None:
    given = [Described(tensor()) for _ in range(3)]
    assert addresses(given) == [WILD] * 3
    given[place] = Described(DEVIATIONS[deviation])
    assert addresses(given) is None


@pytest.mark.parametrize("stranger", [None, 7, np.zeros((2, 3), np.float32), Derived(tensor()), "a"])
def test_objects_of_other_types_are_not_described(stranger: Any) -> None:
    assert addresses([Described(tensor()), stranger]) is None


def test_an_exception_of_the_library_is_forgotten() -> None:
    # Of Python's own functions, one that fails: nothing can be deleted from that object.
    failing = ctypes.cast(ctypes.pythonapi.PyObject_DelItemString, ctypes.c_void_p).value
    assert failing is not None
    specs = ArraySpecs([(2, 3)], [(3, 1)], [np.dtype(np.float32)], dlpack.CUDA, 1)
    # Were the exception still set, the call would end in a SystemError.
    assert specs.addresses(failing, [Described(tensor())], (Described, AlsoDescribed)) is None


@pytest.mark.parametrize(
    ("dtype", "code", "bits"),
    [(np.float16, 2, 16), (BFLOAT16, 4, 16), (np.float32, 2, 32), (np.float64, 2, 64)],
)
def test_each_dtype_is_its_own(dtype: Any, code: int, bits: int) -> None:
    types = [(2, 16), (4, 16), (2, 32), (2, 64)]
    fits = [addresses([Described(tensor(code=c, bits=b))], dtype) is not None for c, b in types]
    assert fits == [(c, b) == (code, bits) for c, b in types]


def test_strides_count_only_where_there_is_more_than_one_element() -> None:
    single = [Described(tensor(shape=(1, 3), strides=(77, 1)))]
    assert addresses(single, shape=(1, 3), strides=(3, 1)) == [WILD]
    assert addresses([Described(tensor(shape=(3, 1), strides=(2, 2)))], shape=(3, 1), strides=(1, 1)) is None
    empty = [Described(tensor(shape=(0, 3), strides=(5, 5)))]
    assert addresses(empty, shape=(0, 3), strides=(3, 1)) == [WILD]
    scalar = [Described(tensor(shape=(), strides=()))]
    assert addresses(scalar, shape=(), strides=()) == [WILD]
    turned = [Described(tensor(shape=(2, 3), strides=(1, 2)))]
    assert addresses(turned, strides=(1, 2)) == [WILD]
    assert addresses(turned) is None


def test_the_function_of_a_library() -> None:
    def of(capsule: Any) -> int:
        return describing_function(type("Array", (), {"__dlpack_c_exchange_api__": capsule}))

    good, later, without = exchange(), exchange(major=2), exchange(function=None)
    assert of(good[0]) == DESCRIBE
    assert of(later[0]) == 0
    assert of(without[0]) == 0
    assert of("no capsule") == 0
    assert describing_function(np.ndarray) == 0


def test_without_a_known_layout_of_lists_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    capsule, _functions = exchange()
    array_type = type("Array", (), {"__dlpack_c_exchange_api__": capsule})
    assert describing_function(array_type)
    monkeypatch.setattr(dlpack, "layout_is_known", lambda: False)
    assert describing_function(array_type) == 0


def made_tensors(torch: Any) -> list[tuple[Any, Callable[[Any], Any]]]:
    plain = torch.zeros(4, 6)
    return [
        (plain, lambda t: t),
        (plain, torch.nn.Parameter),
        (plain, lambda t: t[1:, ::2]),
        (plain.to(torch.bfloat16), lambda t: t),
        (plain, lambda t: t[0, 0]),
        (plain, lambda t: t[:0]),
        (plain, lambda t: t.t()),
        (plain, lambda t: t.expand(2, 4, 6)),
    ]


def test_pytorch_describes_its_tensors() -> None:
    torch = pytest.importorskip("torch")
    function = describing_function(torch.Tensor)
    assert function
    for base, change in made_tensors(torch):
        given = change(base)
        dtype = np.dtype(str(given.dtype).removeprefix("torch."))
        specs = ArraySpecs([tuple(given.shape)], [given.stride()], [dtype], dlpack.HOST, 0)
        found = specs.addresses(function, [given], (torch.Tensor, torch.nn.Parameter))
        assert found is not None
        assert found.tolist() == [given.data_ptr()]


def test_pytorch_does_not_describe_what_has_no_strides() -> None:
    torch = pytest.importorskip("torch")
    specs = ArraySpecs([(2, 3)], [(3, 1)], [np.dtype(np.float32)], dlpack.HOST, 0)
    types = (torch.Tensor, torch.nn.Parameter)
    function = describing_function(torch.Tensor)
    assert specs.addresses(function, [torch.ones(2, 3)], types) is not None
    for other in (torch.ones(2, 3).to_sparse(), torch.ones(2, 3, device="meta")):
        assert specs.addresses(function, [other], types) is None
